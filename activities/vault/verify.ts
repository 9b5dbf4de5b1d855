import type { KeyObject } from 'node:crypto';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import type { Receipt, SnapshotCounts, SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import { Users } from '../contacts/users.ts';
import type { Keyring } from '../settings.ts';
import { ahead } from './ahead.ts';
import { damaged } from './bytes.ts';
import { readReceipt } from './catalog.ts';
import { LOCK_MS, linked } from './generation.ts';
import { manifestKey, receiptKey, type Manifest, type SignedManifest } from './manifest.ts';
import { readManifest } from './open.ts';
import { noteOpened, openedWithin } from './opened.ts';
import { fetchPack, openStored, type PackRef } from './pack-reader.ts';
import type { Entry, Footer } from './pack.ts';
import type { Vault } from './port.ts';
import { count, noCounts, type UserRecord } from './record.ts';
import { SetHash } from './set-hash.ts';
import { seal } from './signed.ts';
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
 * `key-missing`, `key-wrong`, `signature-invalid`, `snapshot-format`, `no-recovery-point`, `clock-wrong`.
 */
export async function verifySnapshot(request: VerifyRequest): Promise<Receipt> {
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
  if (tally.setHash !== manifest.setHash) throw damaged(where, 'its users are not those its manifest says');
  const counted = tally.remembered === 0 ? tally.counts : { users: tally.users };
  const differs = countsThatDiffer(manifest.counts, counted);
  if (differs.length > 0) throw damaged(where, `counts differ from its manifest: ${differs.join(', ')}`);
  const suspect = (await request.judge?.(manifest)) ?? null;
  const { customer, gen, seq } = id;
  return keepReceipt(request, {
    format: 1,
    snapshot: { customer, site: id.site, gen, seq },
    manifest: summary.manifest,
    point: manifest.point,
    site,
    verifiedAt: new Date().toISOString(),
    counts: manifest.counts,
    ...(suspect !== null && { suspect }),
  });
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

/** What the packs of a snapshot say together, newest first: the first that knows a user decides. */
class Tally {
  /** Of the users whose records were opened. */
  readonly counts = noCounts();
  /** Users in the snapshot, by its footers. */
  users = 0;
  /** Packs of which only the footer was opened. */
  remembered = 0;
  private readonly set = new SetHash();
  private readonly settled = new Users();

  get setHash(): string {
    return this.set.toString();
  }

  forget(userKey: Buffer): void {
    if (this.settled.find(userKey) < 0) this.settled.add(userKey, 0, userKey.length);
  }

  add({ userKey, recordId }: Entry, record?: UserRecord): void {
    if (this.settled.find(userKey) >= 0) return;
    this.forget(userKey);
    this.set.add(userKey, recordId);
    this.users += 1;
    if (record) count(this.counts, record.bytes);
  }
}

async function openPacks(request: VerifyRequest, manifest: Manifest): Promise<Tally> {
  const { vault, database, keys, signal } = request;
  const recent = await openedWithin(database, manifest, RECENT_MS);
  const tally = new Tally();
  const where = (ref: PackRef): string =>
    `vault ${vault.site}: pack ${ref.sha256.slice(0, 16)} of ${manifestKey(manifest)}`;
  const fetch = (ref: PackRef): Promise<Fetched> =>
    noting(request, manifest, ref, async () =>
      recent.has(ref.sha256)
        ? { ref, footer: (await openStored(vault, manifest, ref, keys, signal)).footer }
        : { ref, bytes: await fetchPack(vault, manifest, ref, signal) },
    );
  let packs = 0;
  for await (const { ref, footer, bytes } of ahead(manifest.packs, fetch, AHEAD)) {
    signal.throwIfAborted();
    if (footer) {
      for (const gone of footer.tombstones) tally.forget(gone);
      for (const entry of footer.entries) tally.add(entry);
      tally.remembered += 1;
    } else {
      await noting(request, manifest, ref, () =>
        openWholePack(
          { bytes, where: where(ref) },
          { place: manifest, ref, keys },
          (entry, record) => tally.add(entry, record),
          (gone) => tally.forget(gone),
        ),
      );
      await noteOpened(database, manifest, ref.sha256, null);
    }
    packs += 1;
    request.heartbeat({ packs, users: tally.users });
  }
  return tally;
}

type Fetched = { ref: PackRef; footer: Footer; bytes?: never } | { ref: PackRef; bytes: Buffer; footer?: never };

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
