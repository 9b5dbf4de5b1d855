import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import type { Approver } from '../../workflows/model/plan.ts';
import { keyEnded } from '../../workflows/model/approvals.ts';
import { failure } from '../../workflows/model/failures.ts';
import {
  acceptanceText,
  whyShrunk,
  type Acceptance,
  type Receipt,
  type SnapshotId,
} from '../../workflows/model/snapshots.ts';
import { LOCK_MS } from './generation.ts';
import { digits } from './pack-reader.ts';
import type { Vault } from './port.ts';
import { oldestValid, seal } from './signed.ts';

/** Who may say that a snapshot is as it should be. */
const RIGHT = ['approve', 'commander'];
/** DER of an Ed25519 public key up to its 32 bytes (RFC 8410). */
const SPKI_HEAD = '302a300506032b6570032100';

const prefix = (customer: string, coveredBy: string, source: string): string =>
  `${customer}/${coveredBy}/accepted/${source}/`;

/** Keeps an operator's acceptance in the vault of the covering site, which vouches for having checked it. */
export async function keepAcceptance(
  at: { vault: Vault; site: string; signingKey: KeyObject; operators: readonly Approver[] },
  acceptance: Acceptance,
): Promise<void> {
  const { snapshot } = acceptance;
  const { operator, operatorSignature: signature } = acceptance;
  const refusal = whyRefused(at.operators, { operator, text: acceptanceText(acceptance), signature });
  if (refusal !== null) throw failure('signature-invalid', `acceptance of snapshot ${snapshot.seq}: ${refusal}`);
  const key = `${prefix(snapshot.customer, at.site, snapshot.site)}${digits(snapshot.seq)}-${acceptance.operator}.json`;
  const body = seal('acceptance', at.site, at.signingKey, acceptance);
  // Given twice, the first one stands.
  await at.vault.put(key, body, { lockUntil: new Date(Date.now() + LOCK_MS) });
}

/** Why an operator's signed word does not count; null when it does. */
export function whyRefused(
  operators: readonly Approver[],
  { operator: id, text, signature }: { operator: string; text: string; signature: string },
): string | null {
  const operator = operators.find((o) => o.id === id);
  if (!operator) return `${JSON.stringify(id)} is no operator: ${operators.map((o) => o.id).join(', ')}`;
  if (!operator.roles.some((role) => RIGHT.includes(role))) return `${id} lacks the role ${RIGHT.join(' or ')}`;
  if (keyEnded(operator, Date.now())) return `the key of ${id} expired at ${operator.expires}`;
  const key = createPublicKey({ key: Buffer.from(SPKI_HEAD + operator.key, 'hex'), format: 'der', type: 'spki' });
  const good = verify(null, Buffer.from(text), key, Buffer.from(signature, 'hex'));
  return good ? null : `the signature does not hold under the key of ${id}`;
}

/** The acceptances that a covering site has kept for snapshots of a source. */
export async function readAcceptances(
  vault: Vault,
  of: Omit<SnapshotId, 'gen' | 'seq'>,
  coveredBy: string,
  publicKeys: ReadonlyMap<string, KeyObject>,
  signal?: AbortSignal,
): Promise<Acceptance[]> {
  const options = signal && { signal };
  const own = new Map([...publicKeys].filter(([site]) => site === coveredBy));
  const found: Acceptance[] = [];
  for await (const { key } of vault.list(prefix(of.customer, coveredBy, of.site), options)) {
    const kept = oldestValid<Acceptance>('acceptance', own, await vault.versions(key, options), key)?.document;
    if (kept && kept.format > 1) throw failure('snapshot-format', `${key}: format ${kept.format}, this Tandem knows 1`);
    if (kept?.snapshot.customer === of.customer && kept.snapshot.site === of.site) found.push(kept);
  }
  return found;
}

/** Whether a suspect snapshot counts all the same: an operator accepted it, or one before it that held no more. */
export function isAccepted(receipt: Receipt, acceptances: readonly Acceptance[]): boolean {
  return acceptances.some((a) =>
    a.snapshot.seq === receipt.snapshot.seq
      ? a.manifest === receipt.manifest
      : a.snapshot.seq < receipt.snapshot.seq && whyShrunk(a.counts, receipt.counts) === null,
  );
}
