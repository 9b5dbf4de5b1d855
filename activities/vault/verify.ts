import type { KeyObject } from 'node:crypto';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import type { Receipt, SnapshotCounts, SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import type { Keyring } from '../settings.ts';
import { ahead } from './ahead.ts';
import { damaged } from './bytes.ts';
import { readReceipt } from './catalog.ts';
import { LOCK_MS, linked } from './generation.ts';
import { manifestKey, receiptKey, type Manifest, type SignedManifest } from './manifest.ts';
import { readManifest } from './open.ts';
import { noteOpened, openedWithin } from './opened.ts';
import { fetchPack, framesOnDemand, openStored, type OpenPack, type PackRef } from './pack-reader.ts';
import type { Entry, Footer } from './pack.ts';
import type { Vault } from './port.ts';
import { count, noCounts } from './record.ts';
import { SetHash } from './set-hash.ts';
import { seal } from './signed.ts';
import { SnapshotIndex } from './snapshot-index.ts';
import { openWholePack } from './whole-pack.ts';

export interface VerifyRequest {
  /** This site's own vault. */
  vault: Vault;
  /** This site, which signs the receipt. */
  site: string;
  /** Remembers which packs were opened when. */
  database: Database;
  id: SnapshotId;
  keys: Keyring;
  signingKey: KeyObject;
  publicKeys: ReadonlyMap<string, KeyObject>;
  /** Why the snapshot is not believed; null when nothing speaks against it. */
  judge?: (manifest: Manifest) => Promise<string | null>;
  heartbeat: (progress: { packs: number; users: number }) => void;
  signal: AbortSignal;
}

/** A time later than this machine's own by more is not believed (VAULT, rule 6). */
const CLOCK_TOLERANCE_MS = 120_000;
/** What was opened whole within this time needs only its footer: the rotation opens every byte once a day. */
const RECENT_MS = 24 * 3_600_000;
/** Packs that are fetched while one is opened; each is up to 4 MiB. */
const AHEAD = 3;

/**
 * Proves a snapshot in this vault and leaves a signed receipt: opens whole every pack that was not opened here within a
 * day, so that the cost is that of the change, and the footers of the others. The set of users and records is always
 * recomputed. Rows are counted when every pack was opened whole; else old records would have to be read for it: the number
 * of users is checked, the rest is the source's signed word until the rotation opens the generation again.
 * Repeated, it answers with the receipt that stands. What does not hold is `snapshot-damaged` and named; also
 * `key-missing`, `key-wrong`, `signature-invalid`, `snapshot-format`, `no-recovery-point`, `clock-wrong`. `index`: who was found in
 * it, so that whoever goes on to read the snapshot need not open its packs again.
 */
export async function verifySnapshot(request: VerifyRequest): Promise<{ receipt: Receipt; index: SnapshotIndex }> {
  const { vault, site, id, signal } = request;
  const found = await readManifest({ vault, id, publicKeys: request.publicKeys, signal });
  const where = `vault ${vault.site}: ${manifestKey(id)}`;
  if (!found) throw failure('no-recovery-point', `${where} is not there`);
  const { manifest, summary } = found;
  const aheadMs = Date.parse(manifest.point) - Date.now();
  if (aheadMs > CLOCK_TOLERANCE_MS) {
    throw failure('clock-wrong', `${where}: its recovery point is ${Math.round(aheadMs / 1000)} s ahead, limit 120 s`);
  }
  await checkChain(request, found);
  const tally = await openPacks(request, manifest);
  if (tally.set.toString() !== manifest.setHash) throw damaged(where, 'its users are not those its manifest says');
  const counted = tally.remembered === 0 ? tally.counts : { users: tally.index.length };
  const differs = countsThatDiffer(manifest.counts, counted);
  if (differs.length > 0) throw damaged(where, `counts differ from its manifest: ${differs.join(', ')}`);
  const suspect = (await request.judge?.(manifest)) ?? null;
  const { customer, gen, seq } = id;
  const receipt = await keepReceipt(request, {
    format: 1,
    snapshot: { customer, site: id.site, gen, seq },
    manifest: summary.manifest,
    point: manifest.point,
    site,
    verifiedAt: new Date().toISOString(),
    counts: manifest.counts,
    ...(suspect !== null && { suspect }),
  });
  return { receipt, index: tally.index };
}

/** Names of the counts that a manifest has otherwise. */
export function countsThatDiffer(said: SnapshotCounts, counted: Partial<SnapshotCounts>): string[] {
  return Object.entries(counted).flatMap(([k, n]) => (n === said[k as keyof SnapshotCounts] ? [] : [k]));
}

/** The manifest before it, where this vault holds that, must be the one it was linked to. */
async function checkChain({ vault, publicKeys, signal }: VerifyRequest, { manifest }: SignedManifest): Promise<void> {
  const { previous } = manifest;
  if (!previous) return;
  const before = await readManifest({ vault, id: linked(manifest, previous), publicKeys, signal });
  if (before && before.summary.manifest !== previous.manifest) {
    throw damaged(
      `vault ${vault.site}: ${manifestKey(manifest)}`,
      `it follows another manifest than number ${previous.seq}`,
    );
  }
}

/** What the packs of a snapshot say together. */
interface Tally {
  /** Who is in it. */
  index: SnapshotIndex;
  set: SetHash;
  /** Of the users whose records were opened. */
  counts: SnapshotCounts;
  /** Packs of which only the footer was opened. */
  remembered: number;
}

async function openPacks(request: VerifyRequest, manifest: Manifest): Promise<Tally> {
  const { vault, database, keys, signal } = request;
  const recent = await openedWithin(database, manifest, RECENT_MS);
  const index = SnapshotIndex.begin(manifest, keys);
  const tally: Tally = { index, set: new SetHash(), counts: noCounts(), remembered: 0 };
  const stored = (ref: PackRef): Promise<OpenPack> => openStored(vault, manifest, ref, keys, signal);
  const fetch = (ref: PackRef): Promise<Fetched> =>
    noting(request, manifest, ref, async () =>
      recent.has(ref.sha256)
        ? { ref, open: await stored(ref) }
        : { ref, bytes: await fetchPack(vault, manifest, ref, signal) },
    );
  const settles = ({ userKey, recordId }: Entry): void => tally.set.add(userKey, recordId);
  let packs = 0;
  for await (const { ref, open, bytes } of ahead(manifest.packs, fetch, AHEAD)) {
    signal.throwIfAborted();
    if (open) {
      index.take(open.footer, open, settles);
      tally.remembered += 1;
    } else {
      const footer = await noting(request, manifest, ref, () => openWhole(request, { manifest, ref, bytes }, tally));
      index.take(
        footer,
        framesOnDemand(footer.frames.length, () => stored(ref)),
        settles,
      );
      await noteOpened(database, manifest, ref.sha256, null);
    }
    packs += 1;
    request.heartbeat({ packs, users: index.length });
  }
  return tally;
}

/** Counts what it holds of users whom no newer pack knows. */
function openWhole(
  { vault, keys }: VerifyRequest,
  { manifest, ref, bytes }: { manifest: Manifest; ref: PackRef; bytes: Buffer },
  { index, counts }: Tally,
): Promise<Footer> {
  const where = `vault ${vault.site}: pack ${ref.sha256.slice(0, 16)} of ${manifestKey(manifest)}`;
  const gone = new Set<string>();
  return openWholePack(
    { bytes, where },
    { place: manifest, ref, keys },
    ({ userKey }, record) => {
      if (!index.knows(userKey) && !gone.has(userKey.toString('latin1'))) count(counts, record.bytes);
    },
    (userKey) => gone.add(userKey.toString('latin1')),
  );
}

type Fetched = { ref: PackRef; open: OpenPack; bytes?: never } | { ref: PackRef; bytes: Buffer; open?: never };

/** Damage is remembered: such a pack is opened whole again the next time, however recently it was good. */
async function noting<T>(request: VerifyRequest, place: Manifest, ref: PackRef, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (failureKind(error) === 'snapshot-damaged') {
      await noteOpened(request.database, place, ref.sha256, failureText(error));
    }
    throw error;
  }
}

async function keepReceipt(request: VerifyRequest, receipt: Receipt): Promise<Receipt> {
  const { vault, site, id, signingKey, publicKeys, signal } = request;
  const key = receiptKey(site, id);
  const body = seal('receipt', site, signingKey, receipt);
  const options = { lockUntil: new Date(Date.now() + LOCK_MS), signal };
  if ((await vault.put(key, body, options)) !== 'taken') return receipt;
  const shelf = { vault, customer: id.customer, site: id.site, publicKeys, signal };
  const standing = await readReceipt(shelf, site, id).catch((error: unknown) => {
    if (failureKind(error) === 'signature-invalid') return null;
    throw error;
  });
  if (standing?.manifest === receipt.manifest) return standing;
  if (standing) throw damaged(`vault ${vault.site}: ${key}`, 'a receipt for another manifest stands there');
  // What stands there nobody signed, or for another snapshot.
  await vault.mend(key, body, options);
  return receipt;
}
