import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import { sha256 } from '../vault/signed.ts';

/** The tables of ejabberd that hold contacts and ACLs, with the columns that are read and written. */
const tables: Record<string, readonly string[]> = {
  rosterusers: ['username', 'jid', 'nick', 'subscription', 'ask', 'askmessage', 'server', 'subscribe', 'type'],
  rostergroups: ['username', 'jid', 'grp'],
  privacy_list: ['username', 'name', 'id'],
  privacy_list_data: [
    'id',
    't',
    'value',
    'action',
    'ord',
    'match_all',
    'match_iq',
    'match_message',
    'match_presence_in',
    'match_presence_out',
  ],
  privacy_default_list: ['username', 'name'],
};

export const tableNames: readonly string[] = Object.keys(tables);

/**
 * Looks at the tables before a row is read. Fails with `database-refused` when a table or column is missing, when it is
 * ejabberd's schema for several hosts, or when text is not kept as UTF-8. The fingerprint changes with any column.
 */
export async function describeTables(client: PoolClient, name: string): Promise<{ schema: string; postgres: number }> {
  const { rows } = await client.query<{ tab: string; col: string; type: string; needed: boolean }>(
    `select c.relname as tab, a.attname as col, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as needed
       from pg_class c join pg_attribute a on a.attrelid = c.oid
      where c.oid in (select to_regclass(t) from unnest($1::text[]) t) and a.attnum > 0 and not a.attisdropped
      order by 1, 2`,
    [tableNames],
  );
  const { rows: server } = await client.query<{ version: string; encoding: string }>(
    `select current_setting('server_version_num') as version, current_setting('server_encoding') as encoding`,
  );
  const has = new Set(rows.map(({ tab, col }) => `${tab}.${col}`));
  const missing = Object.entries(tables).flatMap(([table, columns]) =>
    columns.map((column) => `${table}.${column}`).filter((column) => !has.has(column)),
  );
  if (missing.length > 0) throw failure('database-refused', `${name}: there is no ${missing.join(', ')}`);
  if (has.has('rosterusers.server_host')) {
    throw failure(
      'database-refused',
      `${name}: ejabberd's schema for several hosts (server_host), which is not supported`,
    );
  }
  if (server[0]?.encoding !== 'UTF8') {
    throw failure('database-refused', `${name}: encoding ${server[0]?.encoding}, needed is UTF8`);
  }
  const columns = rows.map(({ tab, col, type, needed }) => `${tab}.${col} ${type}${needed ? ' not null' : ''}`);
  return { schema: sha256(columns.join('\n')), postgres: Math.floor(Number(server[0].version) / 10_000) };
}
