import type { KeyObject } from 'node:crypto';
import { failure, failureKind } from '../../workflows/model/failures.ts';
import { whyShrunk, type SalvageSummary } from '../../workflows/model/snapshots.ts';
import { findReadable, type Readable } from '../contacts/damaged-pages.ts';
import type { Database } from '../contacts/database.ts';
import { readServed } from '../contacts/reader.ts';
import { noteSalvaged, readUnsalvaged, type Unsalvaged } from '../contacts/salvaged.ts';
import type { Keyring } from '../settings.ts';
import { newestSnapshot } from './catalog.ts';
import type { PackRecord } from './frames.ts';
import { LOCK_MS } from './generation.ts';
import {
  readSalvage,
  salvageKey,
  salvagePlace,
  type RestoredFrom,
  type Salvage,
  type SignedSalvage,
} from './open-salvage.ts';
import { storePacks } from './pack-store.ts';
import type { Vault } from './port.ts';
import { SetHash } from './set-hash.ts';
import { seal, sha256 } from './signed.ts';
import { MAX_AGE_MS } from './snapshot.ts';

export interface SalvageRequest {
  vault: Vault;
  database: Database;
  customer: string;
  site: string;
  keys: Keyring;
  signingKey: KeyObject;
  publicKeys: ReadonlyMap<string, KeyObject>;
  maxAgeMs: number;
  /** As of what this site began a half that it served under an epoch, by its journal; null when nothing was restored. */
  restored: (half: string, epoch: number) => Promise<RestoredFrom | null>;
  heartbeat: (progress: { users: number; packs: number; bytes: number }) => void;
  signal: AbortSignal;
}

/**
 * Writes what this site served under older epochs, and nobody has taken a copy of since, into its own vault. Reads in one
 * repeatable-read transaction that is read only, and writes nothing to the database but that it is done. What was done is
 * answered, and not done again; a run that dies leaves packs that nothing names.
 */
export async function salvageHalves(request: SalvageRequest): Promise<SalvageSummary[]> {
  const { database, customer, site } = request;
  const done: SalvageSummary[] = [];
  for (const due of await readUnsalvaged(database, customer, site)) {
    const salvage = (await standing(request, due.epoch)) ?? (await storeSalvage(request, due));
    const summary = summarise(salvage);
    // What it does not hold stays due.
    const halves = due.halves.filter((half) => salvage.salvage.halves.includes(half));
    await noteSalvaged(database, customer, { epoch: due.epoch, halves }, summary.manifest);
    done.push(summary);
  }
  return done;
}

function summarise({ salvage, bytes }: SignedSalvage): SalvageSummary {
  const { customer, site, epoch, halves, point, counts, packs, suspect } = salvage;
  const size = packs.reduce((sum, pack) => sum + pack.bytes, 0);
  return {
    customer,
    site,
    epoch,
    halves,
    point,
    counts,
    packs: packs.length,
    bytes: size,
    suspect,
    manifest: sha256(bytes),
  };
}

async function storeSalvage(request: SalvageRequest, due: Unsalvaged): Promise<SignedSalvage> {
  const { customer, site, vault, signingKey, signal } = request;
  const { epoch } = due;
  const salvage = await readDisk(request, due);
  const key = salvageKey(customer, site, epoch);
  const bytes = seal('salvage', site, signingKey, salvage);
  const options = { lockUntil: new Date(Date.now() + LOCK_MS), signal };
  const result = await vault.put(key, bytes, options);
  // What no signature vouches for stands in nobody's way.
  if (result === 'taken' && !(await standing(request, epoch))) await vault.mend(key, bytes, options);
  // Another run may have been first: then its word stands, and what was stored here is nobody's.
  const stands = await standing(request, epoch);
  if (!stands) throw failure('vault-unreachable', `vault ${vault.site}: ${key} was stored, and is not there`);
  return stands;
}

/**
 * Of a disk that was damaged what can still be read: nobody has removed what cannot, so that it is suspect. A database that
 * cannot even tell whose users these are is `database-damaged`, and they stay due.
 */
async function readDisk(request: SalvageRequest, due: Unsalvaged): Promise<Salvage> {
  try {
    return await readHalves(request, due);
  } catch (error) {
    if (failureKind(error) !== 'database-damaged') throw error;
    const beat = (): void => request.heartbeat({ users: 0, packs: 0, bytes: 0 });
    return readHalves(request, due, await findReadable(request.database, request.signal, beat));
  }
}

async function readHalves(
  request: SalvageRequest,
  { epoch, halves }: Unsalvaged,
  readable?: Readable,
): Promise<Salvage> {
  const { customer, site } = request;
  const maxAgeMs = Math.min(request.maxAgeMs, MAX_AGE_MS);
  return readServed({ ...request, halves, maxAgeMs, ...(readable && { readable }) }, async (reading) => {
    const clock = new Date().toISOString();
    const read = await reading.all();
    const set = new SetHash();
    const packs = await storePacks({
      ...request,
      place: salvagePlace(customer, site, epoch),
      records: hashed(read.records, set),
      gone: () => [],
      epoch,
      signal: reading.signal,
    });
    const { epoch: closedBy, point, database, wal, schema, postgres, ownerless } = reading.point;
    const { counts } = read;
    const world = { closedBy, point, clock, database, wal, schema, postgres, ownerless };
    const suspect = readable?.missing ?? (await whySuspect(request, { database, counts, halves }));
    const restored = await restoredOf(request, { epoch, halves });
    const begun = Object.keys(restored).length > 0 && { restored };
    const held = { setHash: set.toString(), counts, suspect, ...begun, packs };
    return { format: 1, customer, site, epoch, halves, ...world, ...held };
  });
}

/** A journal that a damaged disk does not give stands in nobody's way: then what both sides began with is not known. */
async function restoredOf(
  { restored }: SalvageRequest,
  { epoch, halves }: Unsalvaged,
): Promise<Record<string, RestoredFrom>> {
  const found: Record<string, RestoredFrom> = {};
  try {
    for (const half of halves) {
      const from = await restored(half, epoch);
      if (from) found[half] = { snapshot: from.snapshot, manifest: from.manifest };
    }
  } catch (error) {
    if (failureKind(error) !== 'database-damaged') throw error;
  }
  return found;
}

async function* hashed(records: AsyncIterable<{ record: PackRecord }>, set: SetHash): AsyncGenerator<PackRecord> {
  for await (const { record } of records) {
    set.add(record.userKey, record.recordId);
    yield record;
  }
}

/** A disk that was emptied, or is another one, has not "changed" what is missing from it. Nobody could tell later. */
async function whySuspect(
  request: SalvageRequest,
  { database, counts, halves }: Pick<Salvage, 'database' | 'counts' | 'halves'>,
): Promise<string | null> {
  const last = await newestSnapshot(request);
  if (!last) return null;
  if (last.manifest.database !== database)
    return 'it was read from another database than the last snapshot of this site';
  // Only when the two are of the same users can they be measured against each other.
  return halves.length > 0 ? whyShrunk(last.manifest.counts, counts) : null;
}

/** The same for whoever writes: what lies there and is no salvage is none. */
async function standing(request: SalvageRequest, epoch: number): Promise<SignedSalvage | null> {
  try {
    return await readSalvage(request, epoch);
  } catch (error) {
    const kind = failureKind(error);
    if (kind === 'signature-invalid' || kind === 'snapshot-damaged') return null;
    throw error;
  }
}
