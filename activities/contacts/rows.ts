import type { PoolClient } from 'pg';
import { noRows, type Row, type UserRows } from '../vault/record.ts';

/**
 * How the rows of users are read from ejabberd's tables: one query per kind, whose first column is the user's name.
 * `users` is an item of FROM called `u`, with a column `username`. Values are taken as the server prints them.
 */
export interface RowQuery {
  kind: keyof UserRows;
  sql: (users: string) => string;
  /** The record's columns of one row of the answer. */
  row: (values: Row) => Row;
}

const tail = (values: Row): Row => values.slice(1);
const flags = ['all', 'iq', 'message', 'presence_in', 'presence_out']
  .map((name) => `case d.match_${name} when true then 't' when false then 'f' else '-' end`)
  .join(' || ');

export const rowQueries: readonly RowQuery[] = [
  {
    kind: 'contacts',
    sql: (users) =>
      `select r.username, r.jid, r.nick, r.subscription, r.ask, r.askmessage, r.server, r.subscribe, r.type
         from ${users} join rosterusers r on r.username = u.username`,
    row: tail,
  },
  {
    kind: 'groups',
    sql: (users) => `select r.username, r.jid, r.grp from ${users} join rostergroups r on r.username = u.username`,
    row: tail,
  },
  {
    kind: 'lists',
    sql: (users) => `select l.username, l.name from ${users} join privacy_list l on l.username = u.username`,
    row: tail,
  },
  {
    kind: 'items',
    sql: (users) =>
      `select l.username, l.name, d.t, d.value, d.action, trim_scale(d.ord)::text, ${flags}
         from ${users} join privacy_list l on l.username = u.username join privacy_list_data d on d.id = l.id`,
    row: tail,
  },
  {
    kind: 'defaults',
    sql: (users) => `select p.username, p.name from ${users} join privacy_default_list p on p.username = u.username`,
    row: tail,
  },
];

/** Keeps every value as the text the server sent: numbers of any length, blanks of char(1), no dates made up. */
export const asText = { getTypeParser: () => (value: string | Buffer) => String(value) };

/** The rows of a few users, in one statement per kind. Users without rows have an entry too. */
export async function readUsers(client: PoolClient, usernames: readonly string[]): Promise<Map<string, UserRows>> {
  const found = new Map(usernames.map((username) => [username, noRows()]));
  for (const query of rowQueries) {
    const { rows } = await client.query<Row>({
      text: query.sql('unnest($1::text[]) u (username)'),
      values: [usernames],
      rowMode: 'array',
      types: asText,
    });
    for (const values of rows) found.get(values[0] ?? '')?.[query.kind].push(query.row(values));
  }
  return found;
}
