import type { KeyObject } from 'node:crypto';
import { totalsOf, type GenerationFate, type RetentionResult } from '../../workflows/model/retention.ts';
import type { Database } from '../contacts/database.ts';
import type { Shelf } from './catalog.ts';
import type { Cleaner, Lock } from './cleaner.ts';
import { deleteJournals } from './delete-journals.ts';
import { deleteSalvages } from './delete-salvages.ts';
import type { WholeFates } from './delete-whole.ts';
import { receiptPrefix, sitePrefix } from './manifest.ts';
import { digits } from './pack-reader.ts';
import { liveMove, pinsOf, points, settledGeneration } from './pins.ts';
import type { Vault } from './port.ts';
import { judge, partsOf, placeOf, Survey, type Facts, type Generation, type Version } from './retention.ts';

export interface RetentionRequest {
  mode: RetentionResult['mode'];
  /** Of this site's own vault; looks, and deletes where the mode is `delete`. */
  cleaner: Cleaner;
  /** The same vault, to read manifests and receipts. */
  vault: Vault;
  /** The peer's, which tells what of this site it has covered; null when it is not to be asked. */
  peer: Vault | null;
  database: Database;
  customer: string;
  site: string;
  sites: readonly string[];
  publicKeys: ReadonlyMap<string, KeyObject>;
  now?: () => number;
  heartbeat: (progress: { objects: number; deleted: number }) => void;
  signal: AbortSignal;
}

/** Questions and deletions on their way at once. */
const BATCH = 16;
/** Three parts, each of which may have to be looked at once more, and a last look that finds nothing. */
const LOOKS = 7;

/**
 * Deletes from this site's own vault what is past its keeping, oldest first, generation by generation: the manifests, then
 * the receipts for them, then the packs. Safe to repeat, and to kill: see `partsOf`. Needs this site's database, which
 * knows of moves. Copies of the peer's journals go after their own time, salvages after the way home. `clock-wrong`, `vault-refused` when the credentials may not delete.
 */
export async function deleteExpired(
  request: RetentionRequest,
): Promise<RetentionResult & { journals: WholeFates; salvages: WholeFates }> {
  const { customer, site, cleaner, mode, signal } = request;
  const now = (request.now ?? Date.now)();
  const survey = new Survey(request);
  const progress = { objects: 0, deleted: 0 };
  for await (const page of cleaner.versions(`${customer}/`, signal)) {
    for (const version of page) survey.add(version);
    progress.objects += page.length;
    request.heartbeat(progress);
  }
  cleaner.checkClock();
  const sources: RetentionResult['sources'] = [];
  let heldBy: string | null = null;
  for (const [source, shelved] of survey.sources) {
    const shelf: Shelf = { ...request, site: source };
    const settled = await settledGeneration(shelf, shelved, now);
    const pins = await pinsOf(request, shelf, shelved);
    const generations: GenerationFate[] = [];
    for (const generation of [...shelved.generations.values()].toSorted((a, b) => a.gen - b.gen)) {
      // Asked anew each time: a move may begin at any moment.
      heldBy = await liveMove(request);
      const facts: Facts = { now, settled, pins, heldBy };
      generations.unshift(await treat({ ...request, source, shelf, progress }, generation, facts));
    }
    sources.push({ site: source, generations });
  }
  heldBy = await liveMove(request);
  const journals = await deleteJournals({ ...request, now, heldBy, progress }, survey.journals);
  const salvages = await deleteSalvages({ ...request, now, heldBy, progress }, survey.salvages);
  const totals = totalsOf(sources.flatMap(({ generations }) => generations));
  const at = new Date(now).toISOString();
  return {
    customer,
    site,
    at,
    mode,
    heldBy,
    sources,
    totals,
    journals,
    salvages,
    unknown: survey.unknown,
  };
}

interface Treatment extends RetentionRequest {
  /** The site that took the snapshots. */
  source: string;
  shelf: Shelf;
  progress: { objects: number; deleted: number };
}

async function treat(on: Treatment, generation: Generation, facts: Facts): Promise<GenerationFate> {
  const { gen, manifests, packs, objects, bytes } = generation;
  const told = { gen, snapshots: manifests.size, packs, objects, bytes };
  const first = judge(generation, facts);
  if (first.fate === 'kept') return { ...told, ...first };
  // A recovery point that is later than its manifest seems to be keeps it: by no clock alone is anything old.
  const youngest = Math.max(generation.youngest, ...(await points(on.shelf, generation)));
  const { fate, because } = judge({ gen, youngest }, facts);
  if (fate !== 'expired') return { ...told, fate, because };
  const lock = await firstLock(on, partsOf(await versionsOf(on, gen), on));
  if (lock) return { ...told, fate: 'locked', because: lockText(lock) };
  if (on.mode !== 'delete') return { ...told, fate, because };
  const left = await remove(on, generation);
  if (left === null) return { ...told, fate: 'deleted', because };
  return typeof left === 'string'
    ? { ...told, fate: 'expired', because: left }
    : { ...told, fate: 'locked', because: lockText(left) };
}

const lockText = ({ until }: Lock): string =>
  until ? `Object Lock holds it until ${until.toISOString()}` : 'a legal hold is on it';

/**
 * Deletes the first part of a generation that has anything left, then looks again: only what the vault no longer lists
 * is gone, whatever it answered. Null when all is; else what stands against it.
 */
async function remove(on: Treatment, { gen, youngest }: Generation): Promise<Lock | string | null> {
  const { cleaner, signal, progress, heartbeat } = on;
  for (let look = 0; look < LOOKS; look += 1) {
    const versions = await versionsOf(on, gen);
    if (versions.some(({ at }) => at > youngest)) return 'something was written to it while it was being deleted';
    const part = partsOf(versions, on).find(({ length }) => length > 0);
    if (!part) return null;
    for (const batch of batches(byKey(part))) {
      const locks = await Promise.all(
        batch.map(async (key) => {
          // One after the other: versitygw forgets to delete when two versions of one key go at once.
          for (const version of key) {
            const lock = await cleaner.remove(version, signal);
            if (lock) return lock;
            progress.deleted += 1;
          }
          return null;
        }),
      );
      heartbeat(progress);
      const lock = locks.find((held) => held !== null);
      if (lock) return lock;
    }
  }
  return 'some of it is listed still, after it was deleted; the next run tries again';
}

const byKey = (versions: Version[]): Version[][] => [...Map.groupBy(versions, ({ key }) => key).values()];

/** The longest lock of the first part that has one: manifests are locked last, and there are few of them. */
async function firstLock(
  { cleaner, signal, progress, heartbeat }: Treatment,
  parts: Version[][],
): Promise<Lock | null> {
  for (const part of parts) {
    let longest: Lock | null = null;
    for (const batch of batches(part)) {
      for (const lock of await Promise.all(batch.map((version) => cleaner.lock(version, signal)))) {
        if (lock && (!longest?.until || (lock.until && lock.until > longest.until))) longest = lock;
      }
      heartbeat(progress);
    }
    if (longest) return longest;
  }
  return null;
}

function* batches<T>(all: T[]): Generator<T[]> {
  for (let at = 0; at < all.length; at += BATCH) yield all.slice(at, at + BATCH);
}

/** All of a generation as it lies there now. What has a name that says nothing is left out, and left alone. */
async function versionsOf(on: Treatment, gen: number): Promise<Version[]> {
  const { cleaner, customer, site, source, signal } = on;
  const found: Version[] = [];
  const prefixes = [
    `${sitePrefix(customer, source)}${digits(gen)}/`,
    `${receiptPrefix(customer, site, source)}${digits(gen)}-`,
  ];
  for (const prefix of prefixes) for await (const page of cleaner.versions(prefix, signal)) found.push(...page);
  return found.filter(({ key }) => 'gen' in placeOf(key, on));
}
