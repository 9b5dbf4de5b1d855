import type { PoolClient } from 'pg';
import type { Role } from '../../workflows/model/plan.ts';
import type { Database } from '../contacts/database.ts';
import type { Operator } from '../settings.ts';
import { judgeOperators, type Anchored, type Judged } from './admission.ts';

interface Row {
  operator: string;
  key: string;
  roles: Role[];
  expires: string | null;
  removed_at: Date | null;
}

/** Those whose word counts at this database, by the configuration that is read here. Changes nothing. */
export async function readOperators(database: Database, configured: readonly Operator[]): Promise<Judged> {
  return database.connection(async (client) => judge(client, configured));
}

/**
 * Takes the operators of the configuration for good: all of them, the first time; later those whom two have admitted. Notes
 * who left. Safe to repeat; a worker does it before it is ready.
 */
export async function anchorOperators(
  database: Database,
  configured: readonly Operator[],
): Promise<Judged & { founded: boolean }> {
  return database.transaction(async (client) => {
    const { rowCount } = await client.query('update tandem.identity set founded_at = now() where founded_at is null');
    const founded = rowCount === 1;
    if (founded) for (const operator of configured) await take(client, operator, null);
    const judged = await judge(client, configured);
    for (const operator of judged.fresh) {
      await client.query('update tandem.operator set removed_at = now() where operator = $1 and removed_at is null', [
        operator.id,
      ]);
      await take(client, operator, operator.admitted ?? []);
    }
    await client.query(
      'update tandem.operator set removed_at = now() where operator = any($1) and removed_at is null',
      [judged.gone],
    );
    return { ...judged, founded };
  });
}

async function take(client: PoolClient, { id, key, roles, expires }: Operator, admitted: unknown): Promise<void> {
  await client.query(
    'insert into tandem.operator (operator, key, roles, expires, admitted) values ($1, $2, $3, $4, $5)',
    [id, key, JSON.stringify(roles), expires ?? null, admitted === null ? null : JSON.stringify(admitted)],
  );
}

async function judge(client: PoolClient, configured: readonly Operator[]): Promise<Judged> {
  const { rows } = await client.query<Row>('select operator, key, roles, expires, removed_at from tandem.operator');
  const anchored = rows.map((r): Anchored => ({
    id: r.operator,
    key: r.key,
    roles: r.roles,
    ...(r.expires !== null && { expires: r.expires }),
    removedAt: r.removed_at?.toISOString() ?? null,
  }));
  return judgeOperators(anchored, configured, Date.now());
}
