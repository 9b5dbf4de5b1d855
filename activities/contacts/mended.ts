import type { PoolClient } from 'pg';
import type { Row, UserRows } from '../vault/record.ts';

/** One contact of a user whose subscription was mended: his row as it was brought and as it stands; null: there is none. */
export interface Mended {
  username: string;
  jid: string;
  before: Row | null;
  after: Row | null;
}

const text = (row: Row | null): string | null => (row === null ? null : JSON.stringify(row));

/**
 * Notes what was mended, so that the rows of a user can still be compared with the record that the ledger names: his rows
 * are those of the record, and these. Of a contact that is mended again the first row counts.
 */
export async function noteMended(client: PoolClient, mended: readonly Mended[]): Promise<void> {
  await client.query(
    `insert into tandem.mended as m (username, jid, before, after)
     select * from unnest($1::text[], $2::text[], $3::text[], $4::text[])
     on conflict (username, jid) do update
       set before = case when m.after is not distinct from excluded.before then m.before else excluded.before end,
           after = excluded.after, at = now()`,
    [
      mended.map(({ username }) => username),
      mended.map(({ jid }) => jid),
      mended.map(({ before }) => text(before)),
      mended.map(({ after }) => text(after)),
    ],
  );
}

/** To be called with every change that makes the rows of users those of a record again. */
export async function forgetMended(client: PoolClient, usernames: readonly string[]): Promise<void> {
  await client.query('delete from tandem.mended where username = any($1)', [usernames]);
}

/** What was mended of these users. */
export async function readMended(client: PoolClient, usernames: readonly string[]): Promise<Map<string, Mended[]>> {
  const { rows } = await client.query<{ username: string; jid: string; before: string | null; after: string | null }>(
    'select username, jid, before, after from tandem.mended where username = any($1)',
    [usernames],
  );
  const found = new Map<string, Mended[]>();
  for (const { username, jid, before, after } of rows) {
    const of = found.get(username) ?? [];
    of.push({ username, jid, before: rowOf(before), after: rowOf(after) });
    found.set(username, of);
  }
  return found;
}

const rowOf = (value: string | null): Row | null => (value === null ? null : (JSON.parse(value) as Row));

/** Rows as a record has them, as they stand once they are mended. */
export const asMended = (rows: UserRows, mended: readonly Mended[]): UserRows =>
  mended.reduce((all, { jid, before, after }) => exchange(all, jid, before, after), rows);

/** Rows that stand here, as they were before they were mended; those that were changed since are left as they are. */
export const asBrought = (rows: UserRows, mended: readonly Mended[]): UserRows =>
  mended.reduce((all, { jid, before, after }) => exchange(all, jid, after, before), rows);

function exchange(rows: UserRows, jid: string, from: Row | null, to: Row | null): UserRows {
  const stands = rows.contacts.find((row) => row[0] === jid) ?? null;
  if (text(stands) !== text(from)) return rows;
  const others = rows.contacts.filter((row) => row[0] !== jid);
  return { ...rows, contacts: to === null ? others : [...others, to] };
}
