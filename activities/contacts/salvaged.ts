import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import type { Database } from './database.ts';
import { requireIdentity } from './prepare.ts';

/** Halves that a site served under an epoch, and serves no longer. */
export interface Unsalvaged {
  epoch: number;
  halves: string[];
}

/** What this site alone has: it served these under an older epoch than it knows now, and no salvage of them is in its vault. */
export async function readUnsalvaged(database: Database, customer: string, site: string): Promise<Unsalvaged[]> {
  return database.transaction(async (client) => {
    await requireIdentity(client, customer, site);
    return unsalvagedHere(client, customer, site);
  });
}

/** The same, in a transaction that knows whose database it is. */
export async function unsalvagedHere(client: PoolClient, customer: string, site: string): Promise<Unsalvaged[]> {
  const { rows } = await client.query<{ epoch: string; halves: string[] }>(
    `select epoch::text, array_agg(half order by half) as halves from (
       select s.half, s.epoch from tandem.serving s join tandem.epoch e on e.customer = s.customer and s.epoch < e.number
        where s.customer = $1 and s.site = $2
        union select half, epoch from tandem.salvage where customer = $1 and manifest is null) due
      where not exists (select from tandem.salvage d where d.customer = $1 and d.half = due.half
                                                       and d.epoch = due.epoch and d.manifest is not null)
      group by epoch order by due.epoch`,
    [customer, site],
  );
  return rows.map(({ epoch, halves }) => ({ epoch: Number(epoch), halves }));
}

/** What was salvaged here, oldest first. */
export async function readSalvages(
  database: Database,
  customer: string,
): Promise<{ half: string; epoch: number; at: Timestamp; released: boolean }[]> {
  const rows = await database.query<{ half: string; epoch: string; at: Date; released: boolean }>(
    `select half, epoch::text, salvaged_at as at, released_at is not null as released from tandem.salvage
      where customer = $1 and manifest is not null order by tandem.salvage.epoch, half`,
    [customer],
  );
  return rows.map(({ epoch, at, ...rest }) => ({ ...rest, epoch: Number(epoch), at: at.toISOString() }));
}

/** Remembers that they are in this site's vault. The first salvage of an epoch stays the one that counts. */
export async function noteSalvaged(
  database: Database,
  customer: string,
  { epoch, halves }: Unsalvaged,
  manifest: string,
): Promise<void> {
  await database.query(
    `insert into tandem.salvage (customer, half, epoch, manifest, salvaged_at)
     select $1, half, $2, $3, now() from unnest($4::text[]) half
     on conflict (customer, half, epoch) do update set manifest = excluded.manifest, salvaged_at = excluded.salvaged_at
       where tandem.salvage.manifest is null`,
    [customer, epoch, manifest, halves],
  );
}

/** Epochs whose salvages may be deleted, once they are old enough: all of it was released. */
export async function releasedSalvages(database: Database, customer: string): Promise<ReadonlySet<number>> {
  const rows = await database.query<{ epoch: string }>(
    `select epoch::text from tandem.salvage where customer = $1 group by epoch having bool_and(released_at is not null)`,
    [customer],
  );
  return new Set(rows.map(({ epoch }) => Number(epoch)));
}

/**
 * To be asked under a lock on the serving rows, before anything is written over the rows of these halves. Answers those of
 * which a salvage is kept.
 */
export async function requireSalvaged(
  client: PoolClient,
  name: string,
  customer: string,
  halves: readonly string[],
): Promise<string[]> {
  const { rows } = await client.query<{ half: string; epoch: string; due: boolean }>(
    `select half, epoch::text, manifest is null as due from tandem.salvage
      where customer = $1 and half = any($2) and released_at is null`,
    [customer, halves],
  );
  const due = rows.find((row) => row.due);
  if (!due) return rows.map(({ half }) => half);
  throw failure(
    'salvage-due',
    `${name}: ${due.half} was served here under epoch ${due.epoch}, and what was changed here is not salvaged yet`,
  );
}
