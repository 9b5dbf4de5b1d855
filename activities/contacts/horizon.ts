import type { PoolClient } from 'pg';
import { rowQueries } from './rows.ts';
import { tableNames } from './tables.ts';

/**
 * What a reading leaves to the next one, which then need not look into rows that were there already: everything that was
 * written by a transaction from `xmin` on may be new to it, and nothing else is. `pg_visible_in_snapshot` would say more, and wrongly:
 * a snapshot that is shown does not name the savepoints that were still open.
 */
export interface Horizon {
  /** The oldest transaction that was under way, in 64 bits. */
  xmin: string;
  /** Numbers of transactions are compared within one run of one server only, and within the very same tables. */
  server: string;
  /** Rows of each kind, of all users, served here or not. */
  all: number[];
}

/** How the reading's own moment stands. `next`: the first transaction that it cannot see. */
export interface Moment {
  xmin: bigint;
  next: bigint;
  server: string;
}

/**
 * Null where rows cannot be told by their transactions: on a replica, and when the service's tables are not plain ones of their own.
 * A crash loses nothing of it: the ledger is committed to disk after all that it speaks of.
 */
export async function readMoment(client: PoolClient): Promise<Moment | null> {
  const { rows } = await client.query<{ xmin: string; next: string; fit: boolean }>(
    `select pg_snapshot_xmin(pg_current_snapshot())::text as xmin, pg_snapshot_xmax(pg_current_snapshot())::text as next,
            not pg_is_in_recovery() and has_function_privilege('pg_control_system()', 'execute')
              and has_function_privilege('pg_walfile_name(pg_lsn)', 'execute') as fit`,
  );
  const [row] = rows;
  if (!row?.fit) return null;
  const { rows: found } = await client.query<{ server: string; tables: string; plain: string }>(
    `select concat_ws(' ', (select system_identifier from pg_control_system()), substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
                      extract(epoch from pg_postmaster_start_time()), (select oid from pg_database where datname = current_database())) as server,
            (select string_agg(concat_ws(' ', c.oid, pg_relation_filenode(c.oid), (
                      select md5(string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.attgenerated), ',' order by a.attnum))
                        from pg_attribute a where a.attrelid = c.oid and not a.attisdropped)), ',' order by c.oid)
               from pg_class c where c.oid = any(t.oids)) as tables,
            (select count(*) from pg_class c join pg_am m on m.oid = c.relam
              where c.oid = any(t.oids) and c.relkind = 'r' and c.relpersistence = 'p' and m.amname = 'heap' and not c.relrowsecurity
                and not exists (select from pg_inherits i where c.oid in (i.inhparent, i.inhrelid)))::text as plain
       from (select array(select to_regclass(n)::oid from unnest($1::text[]) n) as oids) t`,
    [tableNames],
  );
  const [{ server, tables, plain } = { server: '', tables: '', plain: '0' }] = found;
  if (Number(plain) !== tableNames.length) return null;
  return { xmin: BigInt(row.xmin), next: BigInt(row.next), server: `${server} ${tables}` };
}

/** As the ledger has it of its own snapshot; null when it has none that counts. An older version moves its head without it. */
export async function readHorizon(client: PoolClient, customer: string): Promise<Horizon | null> {
  const { rows } = await client.query<{ horizon: Horizon }>(
    'select horizon from tandem.taken where customer = $1 and horizon is not null and horizon_seq = seq',
    [customer],
  );
  return rows[0]?.horizon ?? null;
}

/** Numbers of transactions in rows have 32 bits: half of what tells older ones from newer ones is kept in hand. */
const MOST_TRANSACTIONS = 2n ** 30n;

/**
 * The age, as `age(xmin)` tells it in this transaction, up to which a row may be new since a horizon; null when that cannot be told. A row
 * that is frozen keeps its number; one of a round of numbers before may look new, and never the other way.
 */
export async function newestAge(client: PoolClient, since: Horizon | null, now: Moment | null): Promise<number | null> {
  if (!since || !now || since.server !== now.server || since.all.length !== rowQueries.length) return null;
  const xmin = BigInt(since.xmin);
  if (xmin < 3n || now.next < xmin || now.next - xmin > MOST_TRANSACTIONS) return null;
  const { rows } = await client.query<{ age: number }>('select age($1::xid8::xid) as age', [since.xmin]);
  const age = rows[0]?.age ?? -1;
  return age >= 0 && age <= Number(MOST_TRANSACTIONS) ? age : null;
}
