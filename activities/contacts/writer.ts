import type { PoolClient } from 'pg';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Keyring } from '../settings.ts';
import { noCounts, count, type Row, type UserRecord } from '../vault/record.ts';
import { ACL_RULES } from './acl.ts';
import { digestsHere, digestUsers } from './digests.ts';
import { forgetMended } from './mended.ts';
import { rowChanges } from './row-changes.ts';

/** Where written rows come from: entered in the ledger in the same transaction. */
export interface LedgerSource {
  snapshot: SnapshotId;
  /** The epoch of the snapshot. */
  epoch: number;
  /** The customer's keys: digests of what was written are entered under the current one. */
  keys: Keyring;
}

const privacyDeletes = [
  'delete from privacy_default_list where username = any($1)',
  'delete from privacy_list_data d using privacy_list l where l.id = d.id and l.username = any($1)',
  'delete from privacy_list where username = any($1)',
];
const deletes = [
  ...privacyDeletes,
  'delete from rostergroups where username = any($1)',
  'delete from rosterusers where username = any($1)',
];

/**
 * Lets one transaction at a time write rows of a customer's users: two runs that found the same difference would both
 * mend it, and the later one find what it inserts there already.
 */
export async function lockWrites(client: PoolClient, customer: string): Promise<void> {
  await client.query(`select pg_advisory_xact_lock(hashtextextended('tandem write ' || $1, 0))`, [customer]);
}

/** Removes all contacts and ACLs of users. Answers with the number of rows. */
export async function deleteUsers(client: PoolClient, usernames: readonly string[]): Promise<number> {
  let removed = 0;
  for (const sql of deletes) removed += (await client.query(sql, [usernames])).rowCount ?? 0;
  return removed;
}

/** A user as he is to be, and as he stands here. */
export interface Replacement {
  record: UserRecord;
  /** The record of the rows that stand here. */
  here: Buffer;
}

/** Classes of SQLSTATE for rows that the tables do not take: no other try changes that. */
const REFUSED = /^2[23]/;

/**
 * Makes the rows of users those of their records, for all whom the database lets through. Answers with the others, who
 * keep the rows they had, and why. Rows that are equal are not touched.
 */
export async function replaceUsers(
  client: PoolClient,
  replacements: readonly Replacement[],
): Promise<Map<string, string>> {
  if (replacements.length === 0) return new Map();
  await client.query('savepoint users');
  try {
    await writeChanges(client, replacements);
    await client.query('release savepoint users');
    return new Map();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (!REFUSED.test(code)) throw error;
    await client.query('rollback to savepoint users');
    const [first] = replacements;
    if (first && replacements.length === 1)
      return new Map([[first.record.username, `the database refuses the rows of his record (SQLSTATE ${code})`]]);
    const middle = replacements.length >>> 1;
    const left = await replaceUsers(client, replacements.slice(0, middle));
    return new Map([...left, ...(await replaceUsers(client, replacements.slice(middle)))]);
  }
}

async function writeChanges(client: PoolClient, replacements: readonly Replacement[]): Promise<void> {
  const changes = replacements.map(({ record, here }) => ({ record, ...rowChanges(here, record.bytes) }));
  for (const [table, kind] of [
    ['rosterusers', 'contacts'],
    ['rostergroups', 'groups'],
  ] as const) {
    const gone = changes.flatMap((c) => c[kind].gone.map((address) => [c.record.username, address] as const));
    if (gone.length === 0) continue;
    await client.query(
      `delete from ${table} t using unnest($1::text[], $2::text[]) gone (username, jid)
        where t.username = gone.username and t.jid = gone.jid`,
      [gone.map(([username]) => username), gone.map(([, address]) => address)],
    );
  }
  const privacy = changes.filter((c) => c.privacy).map(({ record }) => record);
  const names = privacy.map(({ username }) => username);
  if (names.length > 0) for (const sql of privacyDeletes) await client.query(sql, [names]);
  const named = (kind: 'contacts' | 'groups'): Row[] =>
    changes.flatMap((c) => c[kind].rows.map((row) => [c.record.username, ...row]));
  await insertContacts(client, named('contacts'), named('groups'));
  await insertPrivacy(client, privacy);
  await forgetRosterVersions(
    client,
    replacements.map(({ record }) => record.username),
  );
}

/**
 * Makes clients read the whole roster again: they would otherwise be told "not modified" about rows that changed
 * underneath. The table is the service's own, and not every service has it.
 */
export async function forgetRosterVersions(client: PoolClient, usernames: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ there: boolean }>(`select to_regclass('roster_version') is not null as there`);
  if (rows[0]?.there) await client.query('delete from roster_version where username = any($1)', [usernames]);
}

async function insertContacts(client: PoolClient, contacts: Row[], groups: Row[]): Promise<void> {
  await insert(
    client,
    'rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)',
    ['text', 'text', 'text', 'text', 'text', 'text', 'text', 'text', 'text'],
    contacts,
  );
  await insert(client, 'rostergroups (username, jid, grp)', ['text', 'text', 'text'], groups);
}

/** Lists get new ids; a default is written after the lists it may name. */
async function insertPrivacy(client: PoolClient, records: readonly UserRecord[]): Promise<void> {
  const rows = (kind: keyof UserRecord['rows']): Row[] =>
    records.flatMap(({ username, rows: of }) => of[kind].map((row) => [username, ...row]));
  const ids = await insertLists(client, rows('lists'));
  await insert(
    client,
    `privacy_list_data (id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out)`,
    ['bigint', 'text', 'text', 'text', 'numeric', 'bool', 'bool', 'bool', 'bool', 'bool'],
    rows('items').map(
      ([username = null, name = null, t = null, value = null, action = null, ord = null, flags = null]) => [
        ids.get(listName(username, name)) ?? null,
        t,
        value,
        action,
        ord,
        ...flagColumns(flags),
      ],
    ),
  );
  await insert(client, 'privacy_default_list (username, name)', ['text', 'text'], rows('defaults'));
}

const flagColumns = (flags: string | null): Row =>
  (flags ?? '-----').split('').map((flag) => (flag === '-' ? null : flag));

const listName = (username: string | null, name: string | null): string => JSON.stringify([username, name]);

async function insertLists(client: PoolClient, lists: readonly Row[]): Promise<Map<string, string>> {
  if (lists.length === 0) return new Map();
  const { rows } = await client.query<{ id: string; username: string; name: string }>(
    `insert into privacy_list (username, name) select * from unnest($1::text[], $2::text[]) returning id::text, username, name`,
    [lists.map(([username]) => username), lists.map(([, name]) => name)],
  );
  return new Map(rows.map(({ id, username, name }) => [listName(username, name), id]));
}

/** One array per column: as fast as COPY at this size, and a rejected value ends the statement, not the connection. */
async function insert(client: PoolClient, into: string, types: readonly string[], rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return;
  const columns = types.map((type, i) => `$${i + 1}::${type}[]`).join(', ');
  await client.query(
    `insert into ${into} select * from unnest(${columns})`,
    types.map((_, i) => rows.map((row) => row[i] ?? null)),
  );
}

/**
 * Notes which snapshot the rows of users come from, and that nothing of them is mended, for `judgeUsers` to be called in the same transaction. An entry that
 * says so already is not touched.
 */
export async function enterLedger(
  client: PoolClient,
  records: readonly UserRecord[],
  { snapshot, epoch, keys }: LedgerSource,
): Promise<void> {
  if (records.length === 0) return;
  const usernames = records.map(({ username }) => username);
  await forgetMended(client, usernames);
  const digests = await digestUsers(client, await digestsHere(client, keys), usernames);
  await client.query(
    `insert into tandem.ledger as l (username, served_by, gen, seq, record_id, digest, epoch, judged)
     select u.username, $3, $4, $5, u.record_id, u.digest, $6, $8::integer
       from unnest($1::text[], $2::bytea[], $7::bytea[]) u (username, record_id, digest)
     on conflict (username) do update
       set served_by = excluded.served_by, gen = excluded.gen, seq = excluded.seq, record_id = excluded.record_id,
           digest = excluded.digest, rows = null, epoch = excluded.epoch, judged = excluded.judged, applied_at = now()
       where (l.served_by, l.gen, l.seq, l.record_id, l.digest, l.judged) is distinct from
             (excluded.served_by, excluded.gen, excluded.seq, excluded.record_id, excluded.digest, excluded.judged)`,
    [
      usernames,
      records.map(({ recordId }) => recordId),
      snapshot.site,
      snapshot.gen,
      snapshot.seq,
      epoch,
      usernames.map((username) => digests.get(username)),
      ACL_RULES,
    ],
  );
}

/** Rows of the records, for the counts of what was done. */
export function countRecords(records: readonly UserRecord[]): ReturnType<typeof noCounts> {
  const counts = noCounts();
  for (const { bytes } of records) count(counts, bytes);
  return counts;
}
