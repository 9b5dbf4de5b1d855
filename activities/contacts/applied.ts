import type { PoolClient } from 'pg';
import type { SnapshotCounts, SnapshotId, SnapshotSummary, Timestamp } from '../../workflows/model/snapshots.ts';
import type { Database } from './database.ts';

/** A snapshot that the standby copy holds whole. */
export interface AppliedSnapshot extends SnapshotId {
  manifest: string;
  /** Its recovery point and what it holds; null when an older version applied it, which did not note them. */
  point: Timestamp | null;
  counts: SnapshotCounts | null;
  /** Under which it was served there; null as well. */
  epoch: number | null;
}

/** The newest snapshot of a site that the standby copy holds whole; null when none was applied. */
export async function appliedSnapshot(
  database: Database,
  customer: string,
  site: string,
): Promise<AppliedSnapshot | null> {
  const [row] = await database.query<{
    gen: string;
    seq: string;
    manifest: string;
    point: Date | null;
    counts: SnapshotCounts | null;
    epoch: string | null;
  }>(
    'select gen::text, seq::text, manifest, point, counts, epoch::text from tandem.applied where customer = $1 and site = $2',
    [customer, site],
  );
  if (!row) return null;
  const { gen, seq, manifest, point, counts, epoch } = row;
  return {
    customer,
    site,
    gen: Number(gen),
    seq: Number(seq),
    manifest,
    point: point?.toISOString() ?? null,
    counts,
    epoch: epoch === null ? null : Number(epoch),
  };
}

/** Users to whom a snapshot was not applied, by half; '': who have none of the homes that its site serves, by what is known here. */
export type Held = ReadonlyMap<string, number>;

/**
 * Notes that the standby copy holds a snapshot, but for those users, unless it holds a newer one. `database`: whose rows these were.
 */
export async function noteApplied(
  client: PoolClient,
  snapshot: SnapshotSummary,
  database: string,
  held: Held,
): Promise<void> {
  const { customer, site, gen, seq, manifest, point, counts, epoch } = snapshot;
  await client.query(
    `insert into tandem.applied as a (customer, site, gen, seq, manifest, database, point, counts, epoch, held)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     on conflict (customer, site) do update
       set gen = excluded.gen, seq = excluded.seq, manifest = excluded.manifest, database = excluded.database,
           point = excluded.point, counts = excluded.counts, epoch = excluded.epoch, held = excluded.held, at = now()
       where excluded.seq > a.seq`,
    [customer, site, gen, seq, manifest, database, point, counts, epoch, Object.fromEntries(held)],
  );
}

/** Notes that every row of the standby copy was compared with what the ledger says, just now, and who was left out of it then. */
export async function noteProven(client: PoolClient, { customer, site, seq }: SnapshotId, held: Held): Promise<void> {
  await client.query(
    `update tandem.applied set proven_at = now(), held = case when seq = $3 then $4 else held end
      where customer = $1 and site = $2`,
    [customer, site, seq, Object.fromEntries(held)],
  );
}
