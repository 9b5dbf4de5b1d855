import type { KeyObject } from 'node:crypto';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import { duration } from '../../workflows/model/rto.ts';
import type { SnapshotId, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import { raiseHighWater, readHighWater } from '../contacts/high-water.ts';
import { appliedSnapshot } from '../contacts/applied.ts';
import { pullJournals } from '../journal/pull.ts';
import type { PullResult } from '../types.ts';
import { damaged } from './bytes.ts';
import { listIds, newestCovered, newestSnapshot, receiptIds, type Shelf } from './catalog.ts';
import { LOCK_MS, linked, type Link } from './generation.ts';
import { compareIds, manifestKey, type SignedManifest } from './manifest.ts';
import { readManifest } from './open.ts';
import { fetchPack } from './pack-reader.ts';
import { keepPack, storedPacks } from './pack-store.ts';
import type { Vault } from './port.ts';
import { limitReads, type RateLimit } from './rate-limit.ts';
import { pullReceipts } from './test-receipts.ts';

export interface PullRequest {
  /** This site's vault and database. */
  own: Vault;
  database: Database;
  site: string;
  customer: string;
  /** The peer's vault, with rights to read. */
  peer: Vault;
  publicKeys: ReadonlyMap<string, KeyObject>;
  /** What it may take of the link; all of it when there is none. */
  limit?: RateLimit | null;
  /** After this time it ends with its cause; the next one goes on where it was. */
  budgetMs?: number;
  heartbeat: (progress: { snapshots: number; packs: number }) => void;
  signal: AbortSignal;
}

/** The newest come first, so that coverage comes soonest; older ones than these are not worth the link any more. */
const NEWEST = 3;

/**
 * Copies what is new in the peer's vault into this one, byte for byte under the same keys: its journals and test receipts, then its
 * snapshots, manifest last, newest first.
 * A peer that does not answer is an answer. A newest number below what this site has seen before is a rollback, and
 * `snapshot-damaged`; a damaged snapshot, and a link too slow for the time there is (`pull-too-slow`), are named in
 * `because`, and fail the pull when there is nothing else to go on with.
 */
export async function pullSnapshots(request: PullRequest): Promise<PullResult> {
  const { customer, peer, own, publicKeys, signal } = request;
  const shelf: Shelf = { vault: own, customer, site: peer.site, publicKeys, signal };
  const pulled: SnapshotSummary[] = [];
  const faults: Error[] = [];
  let reached: PullResult['peer'] = 'reached';
  try {
    await inTime(request, async (bounded) => {
      // They are small, and what a lost site did last is wanted most.
      const alive = (): void => bounded.heartbeat({ snapshots: 0, packs: 0 });
      faults.push(...(await pullJournals({ ...bounded, alive })), ...(await pullReceipts({ ...bounded, alive })));
      await copyNewest(bounded, { ...shelf, signal: bounded.signal }, pulled, faults);
    });
  } catch (error) {
    const silent = failureKind(error) === 'vault-unreachable' && failureText(error).startsWith(`vault ${peer.site}:`);
    if (!silent && failureKind(error) !== 'pull-too-slow') throw error;
    if (silent) reached = 'unreachable';
    faults.push(error as Error);
  }
  const rest = await leftToDo(request, shelf);
  const [first] = faults;
  if (first && reached === 'reached' && pulled.length === 0 && !rest.unverified && !rest.unapplied) throw first;
  const because = faults.map(failureText).join('; ') || `${pulled.length} new at ${peer.site}`;
  return { peer: reached, because, pulled, ...rest };
}

/** Ends the copying with its cause when its time is over, and keeps it to its share of the link. */
async function inTime(request: PullRequest, copy: (bounded: PullRequest) => Promise<void>): Promise<void> {
  const { peer, limit, budgetMs, signal } = request;
  const late = budgetMs === undefined ? null : AbortSignal.timeout(budgetMs);
  const bounded = late ? AbortSignal.any([signal, late]) : signal;
  let progress = { snapshots: 0, packs: 0 };
  const heartbeat: PullRequest['heartbeat'] = (now) => request.heartbeat((progress = now));
  const limited = limit ? limitReads(peer, limit, bounded, () => heartbeat(progress)) : peer;
  try {
    await copy({ ...request, peer: limited, heartbeat, signal: bounded });
  } catch (error) {
    if (!late?.aborted || signal.aborted) throw error;
    const { snapshots, packs } = progress;
    throw failure(
      'pull-too-slow',
      `vault ${peer.site}: whole snapshots copied: ${snapshots}, packs of the next: ${packs}, limit ${duration(budgetMs ?? 0)}; the next pull goes on from there`,
    );
  }
}

async function copyNewest(
  request: PullRequest,
  shelf: Shelf,
  pulled: SnapshotSummary[],
  faults: Error[],
): Promise<void> {
  const { customer, peer, publicKeys, database, signal } = request;
  const seen = await highWater(request, shelf);
  const there = await listIds({ ...shelf, vault: peer }, seen?.gen);
  const held = await listIds(shelf, seen?.gen);
  const good: SnapshotId[] = [];
  for (const id of there) {
    if (good.length === NEWEST) break;
    try {
      const found = await readManifest({ vault: peer, id, publicKeys, signal });
      if (!found) continue;
      good.push(id);
      // What stands under its key and holds is it.
      if (held.some(({ seq }) => seq === id.seq) && (await readOrNone(() => readManifest({ ...shelf, id })))) {
        // A run that died right after it stored this one has not remembered it.
        if (!seen || compareIds(id, seen) > 0) await raiseHighWater(database, id);
        continue;
      }
      const after = held.find(({ seq }) => seq === id.seq + 1);
      await checkNeighbours(request, found, after);
      await copySnapshot(request, found, pulled.length);
      await raiseHighWater(database, id);
      pulled.push(found.summary);
      request.heartbeat({ snapshots: pulled.length, packs: 0 });
    } catch (error) {
      if (!isFault(error)) throw error;
      faults.push(error);
    }
  }
  if (seen && !good.some((id) => compareIds(id, seen) >= 0)) {
    throw damaged(
      `vault ${peer.site}: ${customer}/${peer.site}`,
      `rolled back: number ${seen.seq} has been seen, and neither it nor a newer one is there`,
    );
  }
}

/** Something is wrong with a snapshot itself, and not with the way to it. */
function isFault(error: unknown): error is Error {
  const kind = failureKind(error);
  return kind === 'snapshot-damaged' || kind === 'signature-invalid' || kind === 'snapshot-format';
}

/** The newest snapshot of the peer that this site has ever seen: by its database, and by its own receipts. */
async function highWater({ database, customer, site, peer }: PullRequest, shelf: Shelf): Promise<SnapshotId | null> {
  const marks = [await readHighWater(database, customer, peer.site), (await receiptIds(shelf, site))[0] ?? null];
  return marks.flatMap((mark) => mark ?? []).toSorted((a, b) => compareIds(b, a))[0] ?? null;
}

async function copySnapshot(request: PullRequest, found: SignedManifest, snapshots: number): Promise<void> {
  const { own, peer, signal } = request;
  const { manifest } = found;
  const there = await storedPacks(own, manifest, signal);
  for (const [index, ref] of manifest.packs.entries()) {
    signal.throwIfAborted();
    // Of an older snapshot of its generation, or of a pull that was ended.
    if (there.get(ref.sha256) === ref.bytes) continue;
    const pack = await fetchPack(peer, manifest, ref, signal);
    await keepPack(own, manifest, { sha256: ref.sha256, bytes: pack }, signal);
    request.heartbeat({ snapshots, packs: index + 1 });
  }
  await keepManifest(request, found);
}

/** Stores a manifest, locked. What no signature vouches for stands in nobody's way. */
async function keepManifest(
  { own, peer, publicKeys, signal }: PullRequest,
  { manifest, bytes }: SignedManifest,
): Promise<void> {
  const key = manifestKey(manifest);
  const options = { lockUntil: new Date(Date.now() + LOCK_MS), signal };
  if ((await own.put(key, bytes, options)) !== 'taken') return;
  const stands = await readOrNone(() => readManifest({ vault: own, id: manifest, publicKeys, signal }));
  if (!stands) await own.mend(key, bytes, options);
  else if (!stands.bytes.equals(bytes))
    throw damaged(`vault ${own.site}: ${key}`, `other bytes stand there than in vault ${peer.site}`);
}

/**
 * Links to the manifests right before and after it. Newest come first, so the one before is mostly not held here yet: it
 * is then read from the peer, else a broken link would be noticed late, and blamed on the good one before it.
 */
async function checkNeighbours(
  { own, peer, publicKeys, signal }: PullRequest,
  { manifest, summary }: SignedManifest,
  afterId: SnapshotId | undefined,
): Promise<void> {
  const { previous } = manifest;
  const read = (vault: Vault, link: Link): Promise<SignedManifest | null> =>
    readManifest({ vault, id: linked(manifest, link), publicKeys, signal });
  const before = previous && ((await read(own, previous)) ?? (await readOrNone(() => read(peer, previous))));
  const after = afterId && (await readManifest({ vault: own, id: afterId, publicKeys, signal }));
  const broken =
    (before && before.summary.manifest !== previous?.manifest) ||
    (after && after.manifest.previous?.manifest !== summary.manifest);
  if (broken) throw damaged(`vault of ${manifest.site}: ${manifestKey(manifest)}`, 'it breaks the chain of manifests');
}

/** A neighbour that no signature vouches for says nothing about this one; it is named when its own turn comes. */
async function readOrNone(read: () => Promise<SignedManifest | null>): Promise<SignedManifest | null> {
  try {
    return await read();
  } catch (error) {
    if (isFault(error)) return null;
    throw error;
  }
}

/** What this vault holds of the peer's and still has to be verified, or applied. */
async function leftToDo(
  { database, customer, site, peer }: PullRequest,
  shelf: Shelf,
): Promise<Pick<PullResult, 'unverified' | 'unapplied'>> {
  let suspect: SnapshotId | null = null;
  let broken: SnapshotId | null = null;
  const covered = await newestCovered(
    shelf,
    site,
    (receipt) => (suspect ??= receipt.snapshot),
    (id) => (broken ??= id),
  );
  const newest = await newestSnapshot(shelf, covered?.summary.gen);
  // A suspect one has been verified too: it waits for an operator; a damaged one for the next check.
  const verified: (SnapshotId | null | undefined)[] = [suspect, broken, covered?.summary];
  const newer = (id: SnapshotId): boolean => verified.every((v) => !v || compareIds(id, v) > 0);
  const unverified = newest && newer(newest.manifest) ? newest.summary : null;
  const applied = await appliedSnapshot(database, customer, peer.site);
  const [row] = await database.query<{ number: string }>('select number::text from tandem.epoch where customer = $1', [
    customer,
  ]);
  // A snapshot from before a move will never be applied: there is no use in offering it again and again.
  const current = covered && covered.summary.epoch >= Number(row?.number ?? 0);
  const unapplied = covered && (!applied || compareIds(covered.summary, applied) > 0);
  return { unverified, unapplied: current && unapplied ? covered.receipt.snapshot : null };
}
