import { keyEnded } from '../../workflows/model/approvals.ts';
import { whyUnsigned } from '../../workflows/model/sshsig.ts';
import type { Approver } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import type { Admission, Operator } from '../settings.ts';

/**
 * Who counts as an operator. Configurations are files, and whoever can edit one must not be able to make himself an
 * approver: those who were there when a database was first prepared count, and those whom two of them have admitted.
 */

/** Between the clock of who signs and of who reads. */
const CLOCK_SLACK_MS = 60_000;
const NEEDED = 2;

/** One that a database has taken for good, until he leaves. */
export interface Anchored extends Approver {
  removedAt: Timestamp | null;
}

export interface Judged {
  admitted: Approver[];
  notAdmitted: { operator: string; because: string }[];
  /** Admitted by signatures for the first time. */
  fresh: Operator[];
  /** Those who are in no configuration any more. */
  gone: string[];
}

/** What two operators sign to admit one, or a change of his key, roles or expiry. */
export function admissionText(o: Approver, { by, at }: Pick<Admission, 'by' | 'at'>): string {
  return [
    'tandem/1 admit-operator',
    `operator: ${o.id}`,
    `key: ${keyLine(o.key)}`,
    `roles: ${o.roles.toSorted().join(', ')}`,
    `expires: ${o.expires ?? 'never'}`,
    `by: ${by}`,
    `at: ${at}`,
    '',
  ].join('\n');
}

/** As it stands in the configuration, so that people can compare it. */
function keyLine(hex: string): string {
  const part = (bytes: Buffer): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  return `ssh-ed25519 ${Buffer.concat([part(Buffer.from('ssh-ed25519')), part(Buffer.from(hex, 'hex'))]).toString('base64')}`;
}

const plain = ({ id, key, roles, expires }: Approver): Approver => ({
  id,
  key,
  roles: roles.toSorted(),
  ...(expires !== undefined && { expires }),
});
const same = (a: Approver, b: Approver): boolean => JSON.stringify(plain(a)) === JSON.stringify(plain(b));
const approves = ({ roles }: Approver): boolean => roles.includes('approve') || roles.includes('commander');

/** Reads a configuration against what the database has taken. Changes nothing. `now` in ms. */
export function judgeOperators(anchored: readonly Anchored[], configured: readonly Operator[], now: number): Judged {
  const standing = configured.filter((o) => anchored.some((a) => a.removedAt === null && same(a, o))).map(plain);
  const fresh: Operator[] = [];
  // Who was just admitted may admit the next.
  for (let more = true; more;) {
    const next = configured.filter(
      (o) => !standing.some((s) => s.id === o.id) && whyNot(o, standing, anchored, now) === null,
    );
    standing.push(...next.map(plain));
    fresh.push(...next);
    more = next.length > 0;
  }
  const notAdmitted = configured
    .filter((o) => !standing.some((s) => s.id === o.id))
    .map((o) => ({ operator: o.id, because: whyNot(o, standing, anchored, now) ?? '' }));
  const admitted = standing.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return { admitted, notAdmitted, fresh, gone: goneFrom(anchored, configured, admitted) };
}

/**
 * Who left. Nobody has, when those who stay could admit nobody: a wrong file, started once, would else lock everybody out.
 * One whose entry was changed has not left: what he was before still counts, and a slip of the pen costs no admission.
 */
function goneFrom(
  anchored: readonly Anchored[],
  configured: readonly Operator[],
  admitted: readonly Approver[],
): string[] {
  const may = admitted.filter(approves);
  if (may.length < NEEDED || !may.some((o) => o.roles.includes('commander'))) return [];
  const named = new Set(configured.map((o) => o.id));
  return [...new Set(anchored.filter((a) => a.removedAt === null && !named.has(a.id)).map((a) => a.id))];
}

/** Why an entry does not count; null when two operators, one of them a commander, have admitted it as it stands. */
function whyNot(o: Operator, standing: readonly Approver[], anchored: readonly Anchored[], now: number): string | null {
  const proofs = o.admitted ?? [];
  const left = anchored.filter((a) => a.id === o.id || a.key === o.key).flatMap((a) => a.removedAt ?? []);
  const since = Math.max(0, ...left.map((at) => Date.parse(at)));
  const own = anchored.find((a) => a.removedAt === null && a.id === o.id);
  const faults: string[] = [];
  const good: Approver[] = [];
  for (const proof of proofs) {
    // For a change of his own entry his present key counts, not the one to come.
    const signer = proof.by === o.id ? own : standing.find((s) => s.id === proof.by);
    const why = signer ? whyUncounted(o, proof, signer, { since, now }) : 'is no admitted operator';
    if (why !== null || !signer) faults.push(`${proof.by} ${why}`);
    else if (!good.some((g) => g.id === signer.id || g.key === signer.key)) good.push(signer);
  }
  if (good.length >= NEEDED && good.some((g) => g.roles.includes('commander'))) return null;
  const seen = good.length === 0 ? 'nobody' : good.map((g) => g.id).join(', ');
  const more = faults.length === 0 ? '' : ` (${faults.join('; ')})`;
  return `admitted by ${seen}${more}; it takes two operators, one of them a commander`;
}

function whyUncounted(
  o: Operator,
  { by, at, signature }: Admission,
  signer: Approver,
  { since, now }: { since: number; now: number },
): string | null {
  const moment = Date.parse(at);
  if (!(moment <= now + CLOCK_SLACK_MS)) return `signed at ${at}, which is to come`;
  if (moment <= since) return `signed at ${at}, before ${o.id} or his key left`;
  if (!approves(signer)) return 'lacks the role approve or commander';
  if (keyEnded(signer, Math.max(now, moment))) return `has a key that expired at ${signer.expires}`;
  return whyUnsigned(signature, admissionText(o, { by, at }), signer.key) && 'did not sign this entry as it stands';
}
