import type { KeyObject } from 'node:crypto';
import { Users } from '../contacts/users.ts';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import type { SnapshotCounts, SnapshotId, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import type { Keyring } from '../settings.ts';
import { linked } from './generation.ts';
import { manifestKey, type Manifest, type SignedManifest } from './manifest.ts';
import { readManifest } from './open.ts';
import { openPack, packKey, rangesOf, type OpenPack, type PackRef } from './pack-reader.ts';
import type { Entry } from './pack.ts';
import type { Vault } from './port.ts';
import { count, noCounts } from './record.ts';
import { SetHash } from './set-hash.ts';
import { sha256 } from './signed.ts';

export interface ExamineRequest {
  vault: Vault;
  id: SnapshotId;
  keys: Keyring;
  publicKeys: ReadonlyMap<string, KeyObject>;
  heartbeat: (progress: { packs: number; of: number; users: number }) => void;
  signal: AbortSignal;
}

export interface Damage {
  /** The key of the object that is not as it was stored, or of the manifest that does not fit. */
  object: string;
  because: string;
}

export interface Examination {
  snapshot: SnapshotSummary;
  /** All that was found; none: the snapshot is whole. */
  damage: Damage[];
  /** What can be read of it; equal to the counts of a whole snapshot. */
  readable: SnapshotCounts;
  /** Changes are lost whose users nobody can name: some of what can be read may be from before them. */
  stale: boolean;
  /** Packs that were opened without damage. */
  packs: number;
}

/** A time later than this machine's own by more is not believed (VAULT, rule 6). */
const CLOCK_TOLERANCE_MS = 120_000;

/**
 * Opens every byte of a snapshot in a vault, and goes on past damage to find all of it. Writes nothing. Holds one pack at
 * a time. Fails where nothing can be said: `no-recovery-point`, `signature-invalid`, `key-missing`, `key-wrong`,
 * `vault-unreachable`; `snapshot-damaged` and `snapshot-format` when no version of the manifest holds.
 */
export async function examineSnapshot(request: ExamineRequest): Promise<Examination> {
  const { vault, id, publicKeys, signal } = request;
  const found = await readManifest({ vault, id, publicKeys, signal });
  if (!found) throw failure('no-recovery-point', `vault ${vault.site}: ${manifestKey(id)} is not there`);
  const { manifest, summary } = found;
  const work: Work = { request, manifest, damage: [], users: new Users(), set: new SetHash(), readable: noCounts() };
  checkClock(work);
  await checkLinks(work, found);
  let whole = 0;
  const closed: number[] = [];
  for (const [index, ref] of manifest.packs.entries()) {
    signal.throwIfAborted();
    const before = work.damage.length;
    if (!(await examinePack(work, ref))) closed.push(index);
    if (work.damage.length === before) whole += 1;
    request.heartbeat({ packs: index + 1, of: manifest.packs.length, users: work.readable.users });
  }
  // What a damaged pack held is missing from the sums; that is no damage of its own.
  if (closed.length === 0 && work.set.toString() !== manifest.setHash) {
    note(work, manifestKey(manifest), 'its users are not those its manifest says');
  }
  if (whole === manifest.packs.length) checkCounts(work);
  const stale = closed.some((index) => !isOfBase(manifest, index));
  return { snapshot: summary, damage: work.damage, readable: work.readable, stale, packs: whole };
}

/** Nothing stands below a base, so what is lost of it is lost, and nothing older takes its place. */
const isOfBase = ({ packs, base }: Manifest, index: number): boolean =>
  packs.slice(index).reduce((sum, pack) => sum + pack.bytes, 0) <= base.bytes;

interface Work {
  request: ExamineRequest;
  manifest: Manifest;
  damage: Damage[];
  /** Users whom a newer pack has settled, by userKey. */
  users: Users;
  set: SetHash;
  readable: SnapshotCounts;
}

const note = ({ damage }: Work, object: string, because: string): void => void damage.push({ object, because });

/** Remembers what says that bytes are not as they were stored; all else says nothing of the snapshot, and ends it. */
function noteFault(work: Work, object: string, error: unknown): void {
  const kind = failureKind(error);
  if (kind !== 'snapshot-damaged' && kind !== 'snapshot-format' && kind !== 'signature-invalid') throw error;
  // Its object is named already.
  note(work, object, failureText(error).replace(`vault ${work.request.vault.site}: ${object}: `, ''));
}

function checkClock(work: Work): void {
  const aheadMs = Date.parse(work.manifest.point) - Date.now();
  if (aheadMs <= CLOCK_TOLERANCE_MS) return;
  note(work, manifestKey(work.manifest), `its recovery point is ${Math.round(aheadMs / 1000)} s ahead, limit 120 s`);
}

function checkCounts(work: Work): void {
  const { manifest, readable } = work;
  const differs = (Object.keys(readable) as (keyof SnapshotCounts)[]).filter((k) => readable[k] !== manifest.counts[k]);
  for (const kind of differs) {
    note(work, manifestKey(manifest), `${readable[kind]} ${kind}, its manifest says ${manifest.counts[kind]}`);
  }
}

/** The manifest before it, where the vault holds that, must be the one it was linked to. */
async function checkLinks(work: Work, { manifest }: SignedManifest): Promise<void> {
  const { previous } = manifest;
  if (!previous) return;
  const { vault, publicKeys, signal } = work.request;
  const id = linked(manifest, previous);
  try {
    const before = await readManifest({ vault, id, publicKeys, signal });
    if (before && before.summary.manifest !== previous.manifest) {
      note(work, manifestKey(manifest), `it follows another manifest than number ${previous.seq}, which stands here`);
    }
  } catch (error) {
    noteFault(work, manifestKey(id), error);
  }
}

/**
 * Whether the footer could be read. Bytes that are not those stored are opened all the same: what of them is unharmed
 * tells how many users are.
 */
async function examinePack(work: Work, ref: PackRef): Promise<boolean> {
  const { request, manifest } = work;
  const key = packKey(manifest, ref.sha256);
  const versions = await request.vault.versions(key, { signal: request.signal });
  const good = versions.find((bytes) => sha256(bytes) === ref.sha256);
  const bytes = good ?? versions[0];
  if (!bytes) {
    note(work, key, 'it is not there');
    return false;
  }
  if (!good) note(work, key, `${bytes.length} bytes of another hash, ${ref.bytes} expected`);
  else if (bytes.length !== ref.bytes) note(work, key, `${bytes.length} bytes, its manifest says ${ref.bytes}`);
  const where = `vault ${request.vault.site}: ${key}`;
  // A wrong key and damaged bytes look alike; the hash tells which it is.
  const source = { ...rangesOf(bytes, ref.footer, where), intact: () => Promise.resolve(good !== undefined) };
  let pack: OpenPack;
  try {
    pack = await openPack(source, request.keys, manifest, ref.keyId);
  } catch (error) {
    noteFault(work, key, error);
    return false;
  }
  await examineRecords(work, key, pack);
  return true;
}

/** Every frame, and every record in it, also those that a newer pack has replaced. */
async function examineRecords(work: Work, key: string, pack: OpenPack): Promise<void> {
  const { entries, frames, tombstones } = pack.footer;
  const byFrame = new Map<number, Entry[]>([...frames.keys()].map((number) => [number, []]));
  for (const entry of entries) {
    const of = byFrame.get(entry.frame);
    if (of) of.push(entry);
    else note(work, key, `a user’s record is in frame ${entry.frame} of ${frames.length}`);
  }
  for (const [number, some] of byFrame) {
    const frame = await tried(work, key, () => pack.frame(number));
    let lost = 0;
    for (const entry of some) {
      const record = frame && (await tried(work, key, () => pack.record(entry, frame)));
      if (!record) lost += 1;
      if (settled(work, entry.userKey)) continue;
      work.set.add(entry.userKey, entry.recordId);
      if (record) count(work.readable, record.bytes);
    }
    if (!frame && lost > 0) note(work, key, `with frame ${number} the records of ${lost} users cannot be read`);
  }
  for (const gone of tombstones) settled(work, gone);
}

async function tried<T>(work: Work, key: string, read: () => Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    noteFault(work, key, error);
    return null;
  }
}

/** Whether a newer pack has the user; from now on one has. */
function settled({ users }: Work, userKey: Buffer): boolean {
  if (users.find(userKey) >= 0) return true;
  users.add(userKey, 0, userKey.length);
  return false;
}
