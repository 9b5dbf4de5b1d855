import type { SnapshotCounts } from '../../workflows/model/snapshots.ts';
import { count, encodedRows, encodeRecord, noCounts, noRows, type UserRecord } from '../vault/record.ts';
import { batches } from './batches.ts';
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
  heartbeat: (progress: { users: number; mismatches: number }) => void;
  signal: AbortSignal;
}

/**
 * Compares the rows of users with their records, row by row, over all columns that a record has. `counts` are those of
 * the database; a mismatch is a row in one but not in the other.
 */
export async function compareSnapshot(
  request: CompareRequest,
): Promise<{ counts: SnapshotCounts; mismatches: number }> {
  const counts = noCounts();
  let mismatches = 0;
  for await (const batch of batches(request.records)) {
    request.signal.throwIfAborted();
    const names = batch.map(({ username }) => username);
    const { here, mended } = await request.database.connection(async (client) => ({
      here: await readUsers(client, names),
      mended: request.mended ? await readMended(client, names) : new Map<string, Mended[]>(),
    }));
    for (const record of batch) {
      const { username, bytes } = record;
      const found = encodeRecord(username, here.get(username) ?? noRows());
      count(counts, found);
      const of = mended.get(username);
      const expected = of ? encodeRecord(username, asMended(record.rows, of)) : bytes;
      if (!found.equals(expected)) mismatches += difference(encodedRows(found), encodedRows(expected));
    }
    request.heartbeat({ users: counts.users, mismatches });
  }
  if (request.whole) mismatches += (await countRows(request.database)) - rowsOf(counts);
  return { counts, mismatches };
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
