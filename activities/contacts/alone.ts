import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Database } from './database.ts';

/** Well within what a transaction may be idle: a process that stands still loses its turn as it loses any lock. */
const ALIVE_MS = 5000;

/**
 * Does the work unless another run, of whatever process, is at the same: comparing every row of a site's standby copy. Null then: two at
 * once take twice as long, and users of a planned move may be waiting for what runs beside them. The turn ends with its
 * transaction, which holds nothing else.
 */
export async function alone<T>(
  database: Database,
  { customer, site }: SnapshotId,
  work: () => Promise<T>,
): Promise<{ done: T } | null> {
  return database.transaction(async (client) => {
    const { rows } = await client.query<{ mine: boolean }>(
      `select pg_try_advisory_xact_lock(hashtextextended('tandem compare ' || $1 || ' ' || $2, 0)) as mine`,
      [customer, site],
    );
    if (rows[0]?.mine !== true) return null;
    const alive = setInterval(() => void client.query('select').catch(() => undefined), ALIVE_MS);
    try {
      return { done: await work() };
    } finally {
      clearInterval(alive);
    }
  });
}
