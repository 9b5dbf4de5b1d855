import type { ConflictRule } from '../../workflows/model/planned-move.ts';
import { apart, Lookup } from '../vault/diff.ts';
import type { OpenRecords } from '../vault/open.ts';
import { encodeRecord, UserRecord, type UserRows } from '../vault/record.ts';
import type { SnapshotIndex } from '../vault/snapshot-index.ts';
import { batches } from './batches.ts';
import { mergeUser, type Merged } from './merge.ts';
import { withoutRemovals } from './suspect-salvage.ts';
import type { MergeDifference } from './merge-rows.ts';

/** Users as they stand where they are served now. */
export interface Survivor {
  /** Whether a user of the base may be other here; he is not when it is false. To be asked once `open` has ended. */
  mayDiffer: (user: number) => boolean;
  /** Rows of these users; null for whom he does not know. */
  read: (usernames: readonly string[]) => Promise<Map<string, UserRows | null>>;
  /** Users whom the base does not have. */
  others: () => AsyncIterable<string>;
  /** Users who are known here, and not meant: passed over wherever they are found. */
  elsewhere?: readonly string[];
}

export interface ThreeWayRequest {
  /** The snapshot that the move restored. */
  base: OpenRecords;
  /** Null when nothing was salvaged. */
  salvage: OpenRecords | null;
  /** Nobody knows whether what is missing from the salvage was removed: then it was not. */
  suspect?: boolean;
  survivor: (base: SnapshotIndex) => Promise<Survivor>;
  rule: ConflictRule;
  heartbeat: (progress: { users: number }) => void;
  signal: AbortSignal;
}

/** One user who is not the same in all three. His name and the keys of the differences are personal data. */
export interface UserMerge extends Merged {
  username: string;
  /** The survivor's rows are not what is to be. Who is not known there has none, and gets none. */
  changes: boolean;
  /** The survivor knows him. */
  known: boolean;
  /** The salvage has a word about him: rows that are not those of the base. */
  salvaged: boolean;
  /** The same against rows of the survivor that were read later; null when there is nothing to tell any more. */
  again: (survivor: UserRows | null) => UserMerge | null;
}

const BATCH_USERS = 500;

/**
 * Users who are not the same in base, survivor and salvage, and what is to become of them; in no order. Ids are compared
 * first, and only users who differ somewhere are read: it holds indexes, the names of new users, and one batch.
 */
export async function* diffThreeWays(request: ThreeWayRequest): AsyncGenerator<UserMerge> {
  const { base, salvage, signal } = request;
  const [b, v] = await Promise.all([base.index(), salvage?.index() ?? null]);
  const survivor = await request.survivor(b);
  const met = new Uint8Array(v?.capacity ?? 0);
  const lookup = v && new Lookup(v);
  let users = 0;
  const passed = new Uint8Array(b.capacity);
  for (const name of survivor.elsewhere ?? []) {
    const [from, there] = [b.findName(name), v?.findName(name) ?? -1];
    if (from >= 0) passed[from] = 1;
    if (there >= 0) met[there] = 1;
  }
  const differs = (user: number): boolean => {
    if (passed[user] === 1) return false;
    const other = v?.find(b.userKey(user)) ?? -1;
    if (other >= 0) met[other] = 1;
    const salvaged = v !== null && (other < 0 || !v.recordId(other).equals(b.recordId(user)));
    return salvaged || survivor.mayDiffer(user);
  };
  const merge = async function* (batch: readonly Begun[]): AsyncGenerator<UserMerge> {
    signal.throwIfAborted();
    const names = batch.map(({ username }) => username);
    const numbers = names.map((name) => v?.findName(name) ?? -1);
    for (const number of numbers) if (number >= 0) met[number] = 1;
    const [here, there] = await Promise.all([
      survivor.read(names),
      v && lookup ? readSalvaged(v, lookup, batch, numbers) : [],
    ]);
    for (const [i, { username, base: from }] of batch.entries()) {
      const salvaged = there[i] ?? null;
      const versions = { base: from?.bytes ?? null, survivor: here.get(username) ?? null, salvage: salvaged };
      const merged = mergeBytes(username, versions, request);
      if (merged) yield merged;
    }
    users += batch.length;
    request.heartbeat({ users });
  };

  for await (const batch of batches(apart(base.records(differs))))
    yield* merge(batch.map((record) => ({ username: record.username, base: record })));
  const later = new Set<string>();
  if (v && salvage) {
    // Whom only the disk knows: served there since the snapshot, or the base is under another key and has met him above.
    for await (const batch of batches(apart(salvage.records((user) => met[user] === 0)))) {
      const unknown = batch.filter(({ username }) => b.findName(username) < 0);
      for (const { username } of unknown) later.add(username);
      yield* merge(unknown.map(({ username }) => ({ username, base: null })));
    }
  }
  for await (const names of inBatches(survivor.others(), (name) => !later.has(name)))
    yield* merge(names.map((username) => ({ username, base: null })));
}

/** A user, and what the base has of him. */
interface Begun {
  username: string;
  base: UserRecord | null;
}

/** What the disk has of each of these; read only where it is not what the base has, which most of them are. */
async function readSalvaged(
  index: SnapshotIndex,
  lookup: Lookup,
  batch: readonly Begun[],
  numbers: readonly number[],
): Promise<(Buffer | null)[]> {
  const same = (base: UserRecord | null, number: number): boolean =>
    base !== null && number >= 0 && index.recordId(number).equals(base.recordId);
  const read = await lookup.records(numbers.filter((n, i) => n >= 0 && !same(batch[i]?.base ?? null, n)));
  return batch.map(({ base }, i) => {
    const number = numbers[i] ?? -1;
    return same(base, number) ? (base?.bytes ?? null) : (read.get(number) ?? null);
  });
}

async function* inBatches(names: AsyncIterable<string>, wanted: (name: string) => boolean): AsyncGenerator<string[]> {
  let batch: string[] = [];
  for await (const name of names) {
    if (!wanted(name)) continue;
    batch.push(name);
    if (batch.length >= BATCH_USERS) yield batch.splice(0);
  }
  if (batch.length > 0) yield batch;
}

interface Bytes {
  base: Buffer | null;
  survivor: UserRows | null;
  salvage: Buffer | null;
}

/** Null when there is nothing to tell. */
function mergeBytes(
  username: string,
  versions: Bytes,
  how: Pick<ThreeWayRequest, 'rule' | 'suspect'>,
): UserMerge | null {
  const { base, survivor, salvage } = versions;
  const here = survivor && encodeRecord(username, survivor);
  const same = (a: Buffer | null, b: Buffer | null): boolean => (a && b ? a.equals(b) : a === b);
  const salvaged = salvage !== null && !same(base, salvage);
  if (same(base, here) && !salvaged) return null;
  const rowsOf = (bytes: Buffer | null): UserRows | null => bytes && new UserRecord(username, bytes, bytes).rows;
  const [from, found] = [rowsOf(base), rowsOf(salvage)];
  const there = how.suspect && from && found ? withoutRemovals(from, found) : found;
  const merged = mergeUser({ base: from, survivor, salvage: there }, how.rule);
  if (merged.differences.length === 0) return null;
  return {
    username,
    ...merged,
    changes: survivor !== null && !same(merged.rows && encodeRecord(username, merged.rows), here),
    known: survivor !== null,
    salvaged,
    again: (now) => mergeBytes(username, { base, survivor: now, salvage }, how),
  };
}

/** Numbers only: for histories, reports and logs. Each user is counted once under each reason that he has. */
export interface ThreeWayCounts {
  /** Users who are not the same in all three. */
  users: number;
  /** Of them, those whose rows at the survivor are not what is to be. */
  changes: number;
  byReason: Record<MergeDifference['why'], number>;
}

export const noThreeWayCounts = (): ThreeWayCounts => ({
  users: 0,
  changes: 0,
  byReason: { 'one-sided': 0, alike: 0, conflict: 0, open: 0, 'deny-kept': 0, gone: 0, 'not-salvaged': 0 },
});

export function countMerge(counts: ThreeWayCounts, { differences, changes }: UserMerge): void {
  counts.users += 1;
  counts.changes += Number(changes);
  for (const why of new Set(differences.map((d) => d.why))) counts.byReason[why] += 1;
}
