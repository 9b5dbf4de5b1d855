import type { KeyObject } from 'node:crypto';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import { damagedSeqs } from '../../workflows/model/checks.ts';
import type { Acceptance, Coverage, Receipt, SnapshotId, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { isAccepted, readAcceptances } from './accept.ts';
import { newestCheck, summariseCheck } from './checks.ts';
import { compareIds, manifestId, receiptKey, receiptPrefix, sitePrefix, type SignedManifest } from './manifest.ts';
import { readManifest } from './open.ts';
import { digits } from './pack-reader.ts';
import type { Vault } from './port.ts';
import { oldestValid } from './signed.ts';

/** One direction of one customer: snapshots that `site` took, as they lie in a vault. */
export interface Shelf {
  vault: Vault;
  customer: string;
  /** The site that took the snapshots. */
  site: string;
  publicKeys: ReadonlyMap<string, KeyObject>;
  signal?: AbortSignal;
}

export interface Catalog {
  /** Newest first. */
  snapshots: SnapshotSummary[];
  /** Manifests that no signature vouches for, and why. They are not snapshots. */
  faults: { id: SnapshotId; because: string }[];
}

/** The ids of manifests that a vault holds, newest first, whether they are valid or not. From generation `since` on. */
export async function listIds(shelf: Shelf, since = 0): Promise<SnapshotId[]> {
  const { vault, customer, site, signal } = shelf;
  const prefix = sitePrefix(customer, site);
  const ids: SnapshotId[] = [];
  // A key below a generation begins with its number and a slash, so this stands right before them.
  const after = since > 0 ? `${prefix}${digits(since)}` : undefined;
  for await (const { key } of vault.list(prefix, { ...(after && { after }), ...(signal && { signal }) })) {
    const id = manifestId(customer, site, key);
    if (id) ids.push(id);
  }
  return ids.toSorted((a, b) => compareIds(b, a));
}

/** Snapshots of a site in a vault, newest first, at most `limit`. */
export async function listSnapshots(shelf: Shelf, limit = 500): Promise<Catalog> {
  const catalog: Catalog = { snapshots: [], faults: [] };
  for (const id of (await listIds(shelf)).slice(0, limit)) {
    const found = await validManifest(shelf, id);
    if ('because' in found) catalog.faults.push(found);
    else catalog.snapshots.push(found.summary);
  }
  return catalog;
}

/** The newest snapshot whose manifest holds, of those that are not left out; null when there is none. */
export async function newestSnapshot(
  shelf: Shelf,
  since = 0,
  leftOut: ReadonlySet<number> = new Set(),
): Promise<SignedManifest | null> {
  for (const id of await listIds(shelf, since)) {
    if (leftOut.has(id.seq)) continue;
    const found = await validManifest(shelf, id);
    if (!('because' in found)) return found;
  }
  return null;
}

async function validManifest(
  shelf: Shelf,
  id: SnapshotId,
): Promise<SignedManifest | { id: SnapshotId; because: string }> {
  try {
    return (await readManifest({ ...shelf, id })) ?? { id, because: 'it is not there' };
  } catch (error) {
    const kind = failureKind(error);
    if (kind === 'signature-invalid' || kind === 'snapshot-damaged' || kind === 'snapshot-format') {
      return { id, because: failureText(error) };
    }
    throw error;
  }
}

/** The ids for which a site has written receipts in a vault, newest first, whether they are valid or not. */
export async function receiptIds(shelf: Shelf, coveredBy: string): Promise<SnapshotId[]> {
  const { vault, customer, site, signal } = shelf;
  const prefix = receiptPrefix(customer, coveredBy, site);
  const ids: SnapshotId[] = [];
  for await (const { key } of vault.list(prefix, signal && { signal })) {
    const match = /^(\d{10})-(\d{10})\.json$/.exec(key.slice(prefix.length));
    if (match) ids.push({ customer, site, gen: Number(match[1]), seq: Number(match[2]) });
  }
  return ids.toSorted((a, b) => compareIds(b, a));
}

/**
 * The receipt that a site has signed for a snapshot; null when there is none. A forged one is `signature-invalid`, one of
 * a newer version `snapshot-format`.
 */
export async function readReceipt(shelf: Shelf, coveredBy: string, id: SnapshotId): Promise<Receipt | null> {
  const key = receiptKey(coveredBy, id);
  const versions = await shelf.vault.versions(key, shelf.signal && { signal: shelf.signal });
  const own = new Map([...shelf.publicKeys].filter(([site]) => site === coveredBy));
  const where = `vault ${shelf.vault.site}: ${key}`;
  const receipt = oldestValid<Receipt>('receipt', own, versions, where)?.document;
  if (receipt && receipt.format > 1)
    throw failure('snapshot-format', `${where}: format ${receipt.format}, this Tandem knows 1`);
  if (!receipt || receipt.site !== coveredBy || receipt.format !== 1) return null;
  const { customer, site, gen, seq } = receipt.snapshot;
  return customer === id.customer && site === id.site && gen === id.gen && seq === id.seq ? receipt : null;
}

/** A snapshot that counts: covered by a signed receipt for the very manifest that lies in the same vault. */
export interface Covered {
  receipt: Receipt;
  summary: SnapshotSummary;
}

/**
 * Covered snapshots in the vault of the covering site, newest first. Read as far as they are asked for. Those that its
 * newest check names as damaged do not count, and go to `uncovered`; nor do suspect ones that nobody has accepted, which
 * go to `passed`.
 */
export async function* coveredSnapshots(
  shelf: Shelf,
  coveredBy: string,
  passed: (receipt: Receipt) => void = () => undefined,
  uncovered: (id: SnapshotId) => void = () => undefined,
): AsyncGenerator<Covered> {
  let acceptances: Acceptance[] | undefined;
  const [ids, check] = await Promise.all([receiptIds(shelf, coveredBy), newestCheck(shelf, coveredBy)]);
  const damaged = damagedSeqs(check);
  for (const id of ids) {
    if (damaged.has(id.seq)) {
      uncovered(id);
      continue;
    }
    const receipt = await validReceipt(shelf, coveredBy, id);
    const found = receipt && (await validManifest(shelf, id));
    if (!found || 'because' in found || found.summary.manifest !== receipt.manifest) continue;
    if (receipt.suspect !== undefined) {
      acceptances ??= await readAcceptances(shelf.vault, shelf, coveredBy, shelf.publicKeys, shelf.signal);
      if (!isAccepted(receipt, acceptances)) {
        passed(receipt);
        continue;
      }
    }
    yield { receipt, summary: found.summary };
  }
}

export async function newestCovered(
  shelf: Shelf,
  coveredBy: string,
  passed?: (receipt: Receipt) => void,
  uncovered?: (id: SnapshotId) => void,
): Promise<Covered | null> {
  for await (const covered of coveredSnapshots(shelf, coveredBy, passed, uncovered)) return covered;
  return null;
}

async function validReceipt(shelf: Shelf, coveredBy: string, id: SnapshotId): Promise<Receipt | null> {
  try {
    return await readReceipt(shelf, coveredBy, id);
  } catch (error) {
    // A forged receipt covers nothing; nor does one that cannot be read.
    if (['signature-invalid', 'snapshot-format'].includes(failureKind(error) ?? '')) return null;
    throw error;
  }
}

/**
 * How well users served at `site` are protected, from the vaults that can be reached: `source` is the vault of that
 * site, `cover` its peer's. A vault that does not answer is given as null, and then counts for nothing.
 */
export async function coverage(
  who: { customer: string; site: string; peer: string; publicKeys: ReadonlyMap<string, KeyObject> },
  vaults: { source: Vault | null; cover: Vault | null },
  signal?: AbortSignal,
): Promise<Coverage> {
  const { customer, site, peer, publicKeys } = who;
  const shelf = (vault: Vault): Shelf => ({ vault, customer, site, publicKeys, ...(signal && { signal }) });
  let suspect: Receipt | null = null;
  const covered = vaults.cover && (await newestCovered(shelf(vaults.cover), peer, (receipt) => (suspect ??= receipt)));
  const since = covered?.summary.gen ?? 0;
  const found = await Promise.all(
    [vaults.source, vaults.cover].map(async (vault) => vault && newestSnapshot(shelf(vault), since)),
  );
  const newest = found
    .flatMap((f) => (f ? [f.summary] : []))
    .toSorted((a, b) => compareIds(b, a))
    .at(0);
  const checks = await Promise.all(
    [vaults.source, vaults.cover].flatMap((vault) =>
      vault ? [newestCheck(shelf(vault), vault.site).then((check) => summariseCheck(vault.site, check))] : [],
    ),
  );
  return { customer, site, newest: newest ?? null, covered: covered?.receipt ?? null, suspect, checks };
}
