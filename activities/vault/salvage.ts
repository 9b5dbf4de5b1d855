import type { KeyObject } from 'node:crypto';
import { failure, failureKind } from '../../workflows/model/failures.ts';
import {
  whyShrunk,
  type SalvageSummary,
  type SnapshotCounts,
  type Timestamp,
} from '../../workflows/model/snapshots.ts';
import { findReadable, type Readable } from '../contacts/damaged-pages.ts';
import type { Database } from '../contacts/database.ts';
import { readServed } from '../contacts/reader.ts';
import { noteSalvaged, readUnsalvaged, type Unsalvaged } from '../contacts/salvaged.ts';
import type { Keyring } from '../settings.ts';
import { damaged } from './bytes.ts';
import { newestSnapshot } from './catalog.ts';
import type { PackRecord } from './frames.ts';
import { LOCK_MS } from './generation.ts';
import { sitePrefix } from './manifest.ts';
import { openRecords, type OpenRecords } from './open.ts';
import { storePacks } from './pack-store.ts';
import { digits, type PackRef, type PackSet } from './pack-reader.ts';
import type { PackPlace } from './pack.ts';
import type { Vault } from './port.ts';
import { SetHash } from './set-hash.ts';
import { seal, sha256, unseal } from './signed.ts';
import { MAX_AGE_MS } from './snapshot.ts';

/**
 * What a site that came back has on its disk and no snapshot has: its *unsent changes*. It lies apart from snapshots, under a
 * name of its own, and is signed as another kind of document: nothing that looks for recovery points can find it.
 */
export interface Salvage {
  format: 1;
  customer: string;
  /** The site whose disk it is, and which signs. */
  site: string;
  /** Under which it served these halves last. One salvage for each. */
  epoch: number;
  halves: string[];
  /** The newest epoch that the site knew: by this it was closed, or by an earlier one. */
  closedBy: number;
  /** Start of the read transaction, by the database's clock. */
  point: Timestamp;
  clock: Timestamp;
  /** The id of the database it was read from. */
  database: string;
  wal: string;
  schema: string;
  postgres: number;
  setHash: string;
  counts: SnapshotCounts;
  ownerless: number;
  /** Why its rows may not be what people left there; null when nothing speaks against it. */
  suspect: string | null;
  packs: PackRef[];
}

export interface SalvageRequest {
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

/** Packs of a salvage open at no other place: neither as those of a snapshot, nor the other way round. */
export const salvagePlace = (customer: string, site: string, epoch: number): PackPlace => ({
  customer,
  site: `${site}/salvage`,
  gen: epoch,
});

export const salvagePrefix = (customer: string, site: string, epoch: number): string =>
  `${sitePrefix(customer, site)}salvage/${digits(epoch)}/`;

export const salvageKey = (customer: string, site: string, epoch: number): string =>
  `${salvagePrefix(customer, site, epoch)}salvage.json`;

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

interface Signed {
  salvage: Salvage;
  bytes: Buffer;
}

function summarise({ salvage, bytes }: Signed): SalvageSummary {
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

async function storeSalvage(request: SalvageRequest, due: Unsalvaged): Promise<Signed> {
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
    return { format: 1, customer, site, epoch, halves, ...world, setHash: set.toString(), counts, suspect, packs };
  });
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
async function standing(request: SalvageRequest, epoch: number): Promise<Signed | null> {
  try {
    return await readSalvage(request, epoch);
  } catch (error) {
    const kind = failureKind(error);
    if (kind === 'signature-invalid' || kind === 'snapshot-damaged') return null;
    throw error;
  }
}

/** The salvage of a site under an epoch, as its own signature vouches for it; null when there is none. */
export async function readSalvage(
  {
    vault,
    customer,
    site,
    publicKeys,
    signal,
  }: Pick<SalvageRequest, 'vault' | 'customer' | 'site' | 'publicKeys'> & {
    signal?: AbortSignal;
  },
  epoch: number,
): Promise<Signed | null> {
  const key = salvageKey(customer, site, epoch);
  const where = `vault ${vault.site}: ${key}`;
  const own = new Map([...publicKeys].filter(([name]) => name === site));
  let fault: unknown;
  for (const bytes of await vault.versions(key, signal && { signal })) {
    try {
      return { salvage: openDocument(bytes, { customer, site, epoch }, own, where), bytes };
    } catch (error) {
      fault ??= error;
    }
  }
  if (fault instanceof Error) throw fault;
  return null;
}

function openDocument(
  bytes: Buffer,
  { customer, site, epoch }: Pick<Salvage, 'customer' | 'site' | 'epoch'>,
  own: ReadonlyMap<string, KeyObject>,
  where: string,
): Salvage {
  const { document: salvage } = unseal<Salvage>('salvage', own, bytes, where);
  const { format } = salvage as { format: number };
  if (format > 1) throw failure('snapshot-format', `${where}: format ${format}, this Tandem knows 1`);
  if (salvage.customer !== customer || salvage.site !== site || salvage.epoch !== epoch)
    throw damaged(where, `it is the salvage of ${salvage.customer}/${salvage.site} under epoch ${salvage.epoch}`);
  return salvage;
}

/**
 * Opens a salvage for reading, from the vault of its site. `no-recovery-point` when there is none, `snapshot-damaged` when it is
 * not the one expected, by the SHA-256 of its document.
 */
export async function openSalvage(
  request: Pick<SalvageRequest, 'vault' | 'customer' | 'site' | 'publicKeys' | 'keys'> & {
    signal?: AbortSignal;
    expectDocument?: string;
  },
  epoch: number,
): Promise<OpenRecords & { salvage: Salvage }> {
  const { customer, site, vault } = request;
  const found = await readSalvage(request, epoch);
  if (!found)
    throw failure('no-recovery-point', `vault ${vault.site}: ${salvageKey(customer, site, epoch)} is not there`);
  const { salvage, bytes } = found;
  const { expectDocument = sha256(bytes) } = request;
  if (sha256(bytes) !== expectDocument)
    throw damaged(
      `vault ${vault.site}: ${salvageKey(customer, site, epoch)}`,
      `document ${sha256(bytes).slice(0, 16)}, expected was ${expectDocument.slice(0, 16)}`,
    );
  const packs: PackSet = { ...salvagePlace(customer, site, epoch), packs: salvage.packs };
  return { salvage, ...openRecords(request, packs) };
}
