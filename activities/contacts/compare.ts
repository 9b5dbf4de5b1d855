import type { SnapshotCounts } from '../../workflows/model/snapshots.ts';
import { count, encodedRows, encodeRecord, noCounts, noRows, type UserRecord } from '../vault/record.ts';
import { batches } from './batches.ts';
import { changedSince, type Brought } from './changed-since.ts';
import type { Database } from './database.ts';
import { asMended, readMended, type Mended } from './mended.ts';
import { readUsers } from './rows.ts';

export interface CompareRequest {
  database: Database;
  records: AsyncIterable<UserRecord>;
  /** Also count rows of users that have no record: true for a database that holds nothing else. */
  whole: boolean;
  /** Expects what a restore has mended as it was left: true where there is schema `tandem`. */
  mended?: boolean;
  /** Users who are served from these rows change them meanwhile: who has, is counted and his rows are no mismatch. */
  brought?: Brought;
  heartbeat: (progress: { users: number; mismatches: number }) => void;
  signal: AbortSignal;
}

export interface Comparison {
  /** Of the database. */
  counts: SnapshotCounts;
  /** Rows that stand in one of the two only. */
  mismatches: number;
  /** Users. */
  changed: number;
}

/** Compares the rows of users with their records, row by row, over all columns that a record has. */
export async function compareSnapshot(request: CompareRequest): Promise<Comparison> {
  const counts = noCounts();
  let [mismatches, changed] = [0, 0];
  for await (const batch of batches(request.records)) {
    request.signal.throwIfAborted();
    const names = batch.map(({ username }) => username);
    const { here, mended } = await request.database.connection(async (client) => ({
      here: await readUsers(client, names),
      mended: request.mended ? await readMended(client, names) : new Map<string, Mended[]>(),
    }));
    const differing = new Map<string, number>();
    for (const record of batch) {
      const { username, bytes } = record;
      const found = encodeRecord(username, here.get(username) ?? noRows());
      count(counts, found);
      const of = mended.get(username);
      const expected = of ? encodeRecord(username, asMended(record.rows, of)) : bytes;
      if (!found.equals(expected)) differing.set(username, difference(encodedRows(found), encodedRows(expected)));
    }
    const since = await changedUsers(request, [...differing.keys()]);
    for (const [username, rows] of differing) mismatches += since.has(username) ? 0 : rows;
    changed += since.size;
    request.heartbeat({ users: counts.users, mismatches });
  }
  if (request.whole) mismatches += (await countRows(request.database)) - rowsOf(counts);
  return { counts, mismatches, changed };
}

async function changedUsers({ database, brought }: CompareRequest, names: readonly string[]): Promise<Set<string>> {
  if (!brought || names.length === 0) return new Set();
  return database.connection((client) => changedSince(client, names, brought));
}

/** How many rows of two multisets stand in one only. */
function difference(a: readonly Buffer[], b: readonly Buffer[]): number {
  const left = new Map<string, number>();
  for (const row of a) left.set(row.toString('latin1'), (left.get(row.toString('latin1')) ?? 0) + 1);
  for (const row of b) left.set(row.toString('latin1'), (left.get(row.toString('latin1')) ?? 0) - 1);
  return [...left.values()].reduce((sum, n) => sum + Math.abs(n), 0);
}

const rowsOf = (c: SnapshotCounts): number => c.contacts + c.groups + c.lists + c.aclItems + c.defaults;

async function countRows(database: Database): Promise<number> {
  const tables = ['rosterusers', 'rostergroups', 'privacy_list', 'privacy_list_data', 'privacy_default_list'];
  const sums = tables.map((table) => `(select count(*) from ${table})`).join(' + ');
  const [row] = await database.query<{ rows: string }>(`select (${sums})::text as rows`);
  return Number(row?.rows ?? 0);
}
