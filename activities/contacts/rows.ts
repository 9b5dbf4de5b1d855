import type { PoolClient } from 'pg';
import { noRows, type Row, type UserRows } from '../vault/record.ts';

/**
 * How the rows of users are read from ejabberd's tables: one query per kind, in the order of a record's kinds, whose
 * first column is the user's name. Values are taken as the server prints them.
 */
export interface RowQuery {
  kind: keyof UserRows;
  /** The user's name. */
  user: string;
  columns: string;
  from: string;
  /** The table that is read in parts, and what it is called in `from`. */
  table: string;
  alias: string;
  /** What a digest is made of, where it differs from `columns`: types that hash faster than they print. */
  digest?: string;
}

const flags = ['all', 'iq', 'message', 'presence_in', 'presence_out'];

export const rowQueries: readonly RowQuery[] = [
  {
    kind: 'contacts',
    user: 'r.username',
    columns: 'r.jid, r.nick, r.subscription, r.ask, r.askmessage, r.server, r.subscribe, r.type',
    from: 'rosterusers r',
    table: 'rosterusers',
    alias: 'r',
  },
  {
    kind: 'groups',
    user: 'g.username',
    columns: 'g.jid, g.grp',
    from: 'rostergroups g',
    table: 'rostergroups',
    alias: 'g',
  },
  {
    kind: 'lists',
    user: 'l.username',
    columns: 'l.name',
    from: 'privacy_list l',
    table: 'privacy_list',
    alias: 'l',
  },
  {
    kind: 'items',
    user: 'l.username',
    columns: `l.name, d.t, d.value, d.action, trim_scale(d.ord)::text, ${flags
      .map((name) => `case d.match_${name} when true then 't' when false then 'f' else '-' end`)
      .join(' || ')}`,
    from: 'privacy_list_data d join privacy_list l on l.id = d.id',
    table: 'privacy_list_data',
    alias: 'd',
    digest: `l.name, d.t, d.value, d.action, d.ord, ${flags.map((name) => `d.match_${name}`).join(', ')}`,
  },
  {
    kind: 'defaults',
    user: 'p.username',
    columns: 'p.name',
    from: 'privacy_default_list p',
    table: 'privacy_default_list',
    alias: 'p',
  },
];

/** Keeps every value as the text the server sent: numbers of any length, blanks of char(1), no dates made up. */
const asText = { getTypeParser: () => (value: string | Buffer) => String(value) };

/** The rows of a few users, in one statement per kind. Users without rows have an entry too. */
export async function readUsers(client: PoolClient, usernames: readonly string[]): Promise<Map<string, UserRows>> {
  const found = new Map(usernames.map((username) => [username, noRows()]));
  for (const { kind, user, columns, from } of rowQueries) {
    const { rows } = await client.query<Row>({
      text: `select ${user}, ${columns} from ${from} where ${user} = any($1)`,
      values: [usernames],
      rowMode: 'array',
      types: asText,
    });
    for (const values of rows) found.get(values[0] ?? '')?.[kind].push(values.slice(1));
  }
  return found;
}

/** All items of the privacy lists of a few users. */
export async function readItems(client: PoolClient, usernames: readonly string[]): Promise<Map<string, Row[]>> {
  const found = new Map<string, Row[]>();
  const [, , , items] = rowQueries;
  if (!items) return found;
  const { rows } = await client.query<Row>({
    text: `select ${items.user}, ${items.columns} from ${items.from} where ${items.user} = any($1)`,
    values: [usernames],
    rowMode: 'array',
    types: asText,
  });
  for (const [username, ...item] of rows) {
    const of = found.get(username ?? '') ?? [];
    of.push(item);
    found.set(username ?? '', of);
  }
  return found;
}

/** The rows of a few contacts, by the JSON of the user's name and the address. */
export async function readContacts(
  client: PoolClient,
  places: readonly { username: string; jid: string }[],
): Promise<Map<string, Row>> {
  const [contacts] = rowQueries;
  const { rows } = await client.query<Row>({
    text: `select ${contacts?.user}, ${contacts?.columns} from ${contacts?.from}
             join unnest($1::text[], $2::text[]) p (username, jid) on p.username = r.username and p.jid = r.jid`,
    values: [places.map(({ username }) => username), places.map(({ jid }) => jid)],
    rowMode: 'array',
    types: asText,
  });
  return new Map(rows.map(([username, ...row]) => [JSON.stringify([username, row[0]]), row]));
}
