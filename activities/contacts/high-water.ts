import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Database } from './database.ts';

/** The newest snapshot of a site that this site has taken or pulled, by its database; null when none. */
export async function readHighWater(database: Database, customer: string, site: string): Promise<SnapshotId | null> {
  const [row] = await database.query<{ gen: string; seq: string }>(
    'select gen::text, seq::text from tandem.high_water where customer = $1 and site = $2',
    [customer, site],
  );
  return row ? { customer, site, gen: Number(row.gen), seq: Number(row.seq) } : null;
}

/** Remembers a snapshot, unless a newer one is remembered already. */
export async function raiseHighWater(database: Database, { customer, site, gen, seq }: SnapshotId): Promise<void> {
  await database.query(
    `insert into tandem.high_water as h (customer, site, gen, seq) values ($1, $2, $3, $4)
     on conflict (customer, site) do update set gen = excluded.gen, seq = excluded.seq where excluded.seq > h.seq`,
    [customer, site, gen, seq],
  );
}
