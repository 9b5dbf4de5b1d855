import type { PoolClient } from 'pg';
import type { Decision } from '../../workflows/model/customer.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';

/** That a customer leaves, as this site's own database knows it: the vaults have who decided, and may be away. */

/** Makes the row what the decision in force says; null: there is none. Answers whether anything was changed. Safe to repeat. */
export async function noteLeaving(database: Database, customer: string, leaving: Decision | null): Promise<boolean> {
  return database.connection(async (client) => {
    const { rowCount } = leaving
      ? await client.query(
          `insert into tandem.leaving as l (customer, decision, day, because) values ($1, $2, $3, $4)
           on conflict (customer) do update set decision = excluded.decision, day = excluded.day, because = excluded.because
             where l.decision < excluded.decision`,
          [customer, leaving.number, leaving.on, leaving.because],
        )
      : await client.query('delete from tandem.leaving where customer = $1', [customer]);
    return rowCount === 1;
  });
}

/** The day on which it leaves; null while it stays. */
export async function leavesOn(database: Database, customer: string): Promise<Timestamp | null> {
  const [row] = await database.query<{ day: Date }>('select day from tandem.leaving where customer = $1', [customer]);
  return row?.day.toISOString() ?? null;
}

/**
 * Rejects with `customer-leaving` what would begin now. A run that holds its place already goes on. `lost`: a failover, without
 * which users would be served nowhere until the day on which the customer leaves.
 */
export async function requireStaying(
  client: Pick<PoolClient, 'query'>,
  customer: string,
  { table, run, lost = false }: { table: 'move' | 'continuity_test'; run: string; lost?: boolean },
): Promise<void> {
  const own = table === 'move' ? 'move' : 'run';
  const { rows } = await client.query<{ day: Date }>(
    `select day from tandem.leaving where customer = $1 and (day <= now() or not $3)
        and not exists (select from tandem.${table} where ${own} = $2)`,
    [customer, run, lost],
  );
  const [leaving] = rows;
  if (leaving)
    throw failure(
      'customer-leaving',
      `${customer}: leaves on ${leaving.day.toISOString()}: nothing new is begun for it`,
    );
}
