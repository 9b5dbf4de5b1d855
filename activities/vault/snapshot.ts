import type { KeyObject } from 'node:crypto';
import { failure } from '../../workflows/model/failures.ts';
import type { SnapshotCounts, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import { readHighWater, raiseHighWater } from '../contacts/high-water.ts';
import { readServed, type ReadPoint } from '../contacts/reader.ts';
import type { Keyring } from '../settings.ts';
import { listIds, newestSnapshot, type Shelf } from './catalog.ts';
import { keyOf, recordKeys } from './keys.ts';
import { MANIFEST_FORMAT, chooseManifest, manifestKey, setHash, summarise, type Manifest } from './manifest.ts';
import { packKey, type PackRef } from './pack-reader.ts';
import { buildPacks, type BuiltPack } from './pack-writer.ts';
import type { PackPlace } from './pack.ts';
import type { Vault } from './port.ts';
import type { UserRecord } from './record.ts';
import { seal } from './signed.ts';

export interface SnapshotRequest {
  vault: Vault;
  database: Database;
  customer: string;
  site: string;
  keys: Keyring;
  signingKey: KeyObject;
  publicKeys: ReadonlyMap<string, KeyObject>;
  maxAgeMs: number;
  heartbeat: (progress: { users: number; packs: number; bytes: number }) => void;
  signal: AbortSignal;
}

/** 35 days of keeping, and 7 during which a generation grows: what hangs on this object may be that much younger. */
export const LOCK_MS = 42 * 24 * 3_600_000;
/** Packs on their way at once; each is held in memory. */
const UPLOADS = 3;
/** A read transaction never lasts longer, whatever the customer's budget is (VAULT, "Snapshot"). */
const MAX_AGE_MS = 600_000;

/**
 * Takes a full snapshot of all users served here into this site's own vault, as a generation of its own. The manifest
 * comes last and only when its number is free: an attempt that ends before leaves packs that nothing refers to.
 * `snapshot-superseded` when another run has written the number first.
 */
export async function takeSnapshot(request: SnapshotRequest): Promise<SnapshotSummary> {
  const { database, vault, customer, site, keys } = request;
  const recordIds = recordKeys(keyOf(keys, keys.current, `snapshot of ${customer}`));
  const { number, previous } = await nextNumber(request);
  const place = { customer, site, gen: number };
  const read = await readServed(
    {
      database,
      customer,
      site,
      keys: recordIds,
      maxAgeMs: Math.min(request.maxAgeMs, MAX_AGE_MS),
      signal: request.signal,
    },
    async (point, records, counts, signal) => ({
      point,
      counts,
      clock: new Date().toISOString(),
      ...(await storePacks(request, place, records, counts, point.epoch, signal)),
    }),
  );
  const manifest = makeManifest(place, previous, read);
  const bytes = seal('manifest', site, request.signingKey, manifest);
  await commit(vault, manifest, bytes, request);
  await raiseHighWater(database, manifest);
  return summarise(manifest, bytes);
}

/** One more than the newest number anybody has seen: the vault, or the database, which may remember more. */
async function nextNumber(request: SnapshotRequest): Promise<{ number: number; previous: string | null }> {
  const { vault, customer, site, publicKeys, signal } = request;
  const shelf: Shelf = { vault, customer, site, publicKeys, signal };
  const highWater = await readHighWater(request.database, customer, site);
  const ids = await listIds(shelf, highWater?.gen);
  const since = ids.length > 0 ? highWater?.gen : 0;
  const newest = await newestSnapshot(shelf, since);
  const number = Math.max(ids[0]?.seq ?? 0, newest?.manifest.seq ?? 0, highWater?.seq ?? 0) + 1;
  return { number, previous: newest?.summary.manifest ?? null };
}

interface Stored {
  packs: PackRef[];
  ids: Buffer[];
}

/** Stores packs while the next are read; a slow vault slows the reading down, and ends it when its time is over. */
async function storePacks(
  request: SnapshotRequest,
  place: PackPlace,
  records: AsyncIterable<UserRecord>,
  counts: SnapshotCounts,
  epoch: number,
  signal: AbortSignal,
): Promise<Stored> {
  const stored: Stored = { packs: [], ids: [] };
  const uploads = new Set<Promise<void>>();
  let bytes = 0;
  try {
    for await (const pack of buildPacks(records, request.keys, place, epoch)) {
      stored.packs.push({ sha256: pack.sha256, bytes: pack.bytes.length, footer: pack.footer, keyId: pack.keyId });
      stored.ids.push(...pack.ids);
      const store = async (): Promise<void> => {
        await storePack(request.vault, place, pack, signal);
        bytes += pack.bytes.length;
        uploads.delete(upload);
        request.heartbeat({ users: counts.users, packs: stored.packs.length, bytes });
      };
      const upload = store();
      upload.catch(() => undefined); // It is awaited here below, which is where it fails.
      uploads.add(upload);
      if (uploads.size >= UPLOADS) await Promise.race(uploads);
    }
  } finally {
    await Promise.all(uploads);
  }
  stored.packs.reverse(); // Newest first, as deltas will stand before their base.
  return stored;
}

async function storePack(vault: Vault, place: PackPlace, pack: BuiltPack, signal: AbortSignal): Promise<void> {
  const key = packKey(place, pack.sha256);
  const result = await vault.put(key, pack.bytes, { lockUntil: new Date(Date.now() + LOCK_MS), signal });
  if (result === 'taken')
    throw failure('snapshot-damaged', `vault ${vault.site}: ${key}: other bytes stand under this hash`);
}

function makeManifest(
  place: PackPlace,
  previous: string | null,
  read: Stored & { point: ReadPoint; counts: SnapshotCounts; clock: string },
): Manifest {
  const { epoch, point, wal, schema, postgres, ownerless } = read.point;
  return {
    format: MANIFEST_FORMAT,
    ...place,
    seq: place.gen,
    previous,
    epoch,
    point,
    clock: read.clock,
    wal,
    schema,
    postgres,
    setHash: setHash(read.ids),
    counts: read.counts,
    ownerless,
    packs: read.packs,
  };
}

/** The commit point. Read back: on some servers a key whose newest version is a delete marker counts as free. */
async function commit(vault: Vault, manifest: Manifest, bytes: Buffer, request: SnapshotRequest): Promise<void> {
  const { publicKeys, signal } = request;
  const key = manifestKey(manifest);
  const where = `vault ${vault.site}: ${key}`;
  const result = await vault.put(key, bytes, { lockUntil: new Date(Date.now() + LOCK_MS), signal });
  const first = chooseManifest(await vault.versions(key, { signal }), manifest, publicKeys, where);
  if (result === 'taken' || !first?.bytes.equals(bytes)) {
    throw failure('snapshot-superseded', `${where}: another run has written it`);
  }
}
