import type { ArchiveResult } from '../../workflows/model/retention.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { Database } from '../contacts/database.ts';
import type { Running } from '../running.ts';

/** Text messages, names and sizes of files are kept for so long (SERVICE), and then deleted, at every site. */
export const ARCHIVE_KEPT_MS = 30 * 24 * 3_600_000;

/** Rows of one statement: some tens of ms, in which no message that is written waits for it. */
const BATCH = 5000;
/** Nothing is old by a clock that is wrong. */
const SKEW_LIMIT_MS = 120_000;
/** ejabberd counts microseconds. */
const US = 1000;

export interface ExpiredArchive extends Running {
  customer: string;
  /** This machine's clock, ms. */
  now: number;
  keepMs?: number;
  batch?: number;
}

/**
 * Deletes what lies in a site's archive for longer than it is kept, the oldest first, in small transactions. Safe to repeat,
 * and to be ended at any moment. Without the service's table there is nothing to delete. `clock-wrong` when this machine's
 * clock and the database's are apart: then nothing is.
 */
export async function deleteExpiredArchive(
  database: Database,
  { customer, now, keepMs = ARCHIVE_KEPT_MS, batch = BATCH, heartbeat, signal }: ExpiredArchive,
): Promise<ArchiveResult> {
  const from = await keptFrom(database, { now, keepMs });
  const before = new Date(now - keepMs).toISOString();
  if (from === null) return { customer, before, deleted: 0, archive: 'missing' };
  let deleted = 0;
  for (;;) {
    signal.throwIfAborted();
    const rows = await deleteBatch(database, from, batch);
    deleted += rows;
    heartbeat({ deleted });
    if (rows < batch) return { customer, before, deleted, archive: 'kept' };
  }
}

/**
 * From when on rows of a site's archive are kept, as ejabberd counts time; null where the service's table is not. `clock-wrong` when
 * this machine's clock and the database's are apart: then nothing is told by it.
 */
export async function keptFrom(
  database: Database,
  { now, keepMs = ARCHIVE_KEPT_MS }: { now: number; keepMs?: number },
): Promise<number | null> {
  const [found] = await database.query<{ now: number; there: boolean }>(
    `select extract(epoch from clock_timestamp())::float8 * 1000 as now, to_regclass('archive') is not null as there`,
  );
  const skewMs = Math.round((found?.now ?? 0) - now);
  if (Math.abs(skewMs) > SKEW_LIMIT_MS)
    throw failure(
      'clock-wrong',
      `${database.name}: its clock is ${Math.abs(skewMs / 1000)} s ${skewMs > 0 ? 'ahead of' : 'behind'} this machine's, limit ${SKEW_LIMIT_MS / 1000} s; what is old in an archive is not told by it`,
    );
  return found?.there ? (now - keepMs) * US : null;
}

/** By the index on `timestamp`, and then by where the rows lie: a batch takes the same time however large the archive is. */
export const DELETE_EXPIRED = `delete from archive where ctid = any (array(
  select ctid from archive where timestamp < $1 order by timestamp limit $2))`;

async function deleteBatch(database: Database, before: number, batch: number): Promise<number> {
  return database.connection(async (client) => (await client.query(DELETE_EXPIRED, [before, batch])).rowCount ?? 0);
}
