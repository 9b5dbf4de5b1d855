import type { PoolClient } from 'pg';
import { MOMENTARY } from '../probes/services/momentary.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import type { AnswerCounts, HeldAnswer } from './answer.ts';
import type { Oddities } from './staging.ts';

/** So many changes make what the planner knows of these tables worthless, and a move may be next. */
const MANY_CHANGES = 1000;

/** So few are believed in a small directory too, as long as they are not more than half of it. */
export const FEW_REMOVALS = 3;

/** What became of an answer. */
export type Outcome =
  | { state: 'applied'; at: Timestamp; counts: AnswerCounts }
  | { state: 'held'; held: HeldAnswer }
  /** A later question was answered sooner. */
  | { state: 'overtaken' };

export interface Staged {
  customer: string;
  /** When it was asked for, by the database's clock. */
  askedAt: Date;
  removalsShare: number;
  oddities: Oddities;
}

/**
 * Makes the staged answer the one in force, or holds it: all of it or nothing, in the transaction that is open. Nobody is
 * ever removed: who is disabled keeps his home, his contacts and his keys.
 */
export async function applyAnswer(client: PoolClient, staged: Staged): Promise<Outcome> {
  const { customer, askedAt, oddities } = staged;
  // The follower and a move may answer at once; whoever comes second compares with what the first has made.
  await client.query("select pg_advisory_xact_lock(hashtext('tandem.directory'))");
  await client.query(
    'insert into tandem.directory_answer (customer) values ($1) on conflict (customer) do update set tried_at = now(), failed = null',
    [customer],
  );
  const { rows } = await client.query<{ at: Date | null; version: string }>(
    'select at, version from tandem.directory_answer where customer = $1',
    [customer],
  );
  const { at = null, version = '0' } = rows[0] ?? {};
  if (at !== null && at > askedAt) return { state: 'overtaken' };
  const held = await judgeRemovals(client, staged, at === null);
  if (held) {
    await client.query('update tandem.directory_answer set held = $2 where customer = $1', [
      customer,
      JSON.stringify(held),
    ]);
    return { state: 'held', held };
  }
  const homes = await giveHomes(client);
  const changed = await change(client, Number(version) + 1);
  const accounts = await giveAccounts(client);
  const withoutAccount = accounts === null ? 0 : await countWithoutAccount(client);
  const users = await countOf(client, 'answer');
  const counts: AnswerCounts = { ...oddities, users, ...changed, homes, accounts, withoutAccount };
  await client.query(
    `update tandem.directory_answer a
        set at = $2, users = $3, digest = d.digest, version = version + $4, counts = $5, held = null,
            digest_at = case when a.digest = d.digest then coalesce(a.digest_at, $2) else $2 end
       from (${DIGEST}) d where customer = $1`,
    [customer, askedAt, users, changed.enabled + changed.disabled > 0 ? 1 : 0, JSON.stringify(counts)],
  );
  await client.query('delete from tandem.directory_removal');
  if (changed.enabled + changed.disabled > MANY_CHANGES) await client.query('analyze tandem.entitlement, tandem.home');
  return { state: 'applied', at: askedAt.toISOString(), counts };
}

/** Of whom the answer is, and with which homes and keys they stand here now. */
const DIGEST = `select encode(sha256(convert_to(coalesce(string_agg(a.username || E'\\t' || h.site || E'\\t' || coalesce(a.keys, ''),
                  E'\\n' order by a.username collate "C"), ''), 'UTF8')), 'hex') as digest
             from answer a join tandem.home h using (username)`;

/** Before the first answer everybody with a home is entitled, and is measured by it. Probes make their own accounts. */
const ENTITLED_NOW = `select username from tandem.entitlement where enabled and username not like '${MOMENTARY}'`;
const AT_HOME = `select username from tandem.home where username not like '${MOMENTARY}'`;

/**
 * Null when the answer may be believed. Else it is written down whom it would disable, so that an operator accepts these
 * and no others. What was disabled within an hour counts as at once: a directory that empties slowly empties.
 */
async function judgeRemovals(
  client: PoolClient,
  { removalsShare }: Staged,
  first: boolean,
): Promise<HeldAnswer | null> {
  const base = first ? AT_HOME : ENTITLED_NOW;
  await client.query(`create temp table gone on commit drop as ${base} except select username from answer`);
  // Of an acceptance for somebody who is entitled again nothing is left.
  await client.query('delete from tandem.directory_removal where username not in (select username from gone)');
  const { rows } = await client.query<{ all: number; removed: number; before: number; base: number; digest: string }>(
    `select (select count(*)::int from gone) as all,
            (select count(*)::int from gone g where not exists
              (select from tandem.directory_removal r where r.username = g.username and r.accepted is not null)) as removed,
            (select count(*)::int from tandem.entitlement
              where not enabled and not accepted and since > now() - interval '1 hour') as before,
            (select count(*)::int from (${base}) b) as base,
            (select encode(sha256(convert_to(coalesce(string_agg(username, E'\\n' order by username collate "C"), ''), 'UTF8')), 'hex') from gone) as digest`,
  );
  const { removed = 0, before = 0, base: now = 0, digest = '' } = rows[0] ?? {};
  const of = now + before;
  const limit = Math.min(Math.max(FEW_REMOVALS, Math.floor(of * removalsShare)), Math.floor(of / 2));
  if (removed === 0 || removed + before <= limit) return null;
  await client.query(
    'insert into tandem.directory_removal (username) select username from gone on conflict do nothing',
  );
  const { rows: since } = await client.query<{ since: string | null }>(
    "select held->>'since' as since from tandem.directory_answer where held is not null",
  );
  return { since: since[0]?.since ?? new Date().toISOString(), removed, before, of, limit, digest };
}

/** A home that stands is never changed from here, nor one that a move has given, by a database that has lost it: to move a user is a move. */
async function giveHomes(client: PoolClient): Promise<number> {
  const { rowCount } = await client.query(
    `insert into tandem.home (username, site) select username, coalesce(r.home, a.home) from answer a left join tandem.rehomed r using (username)
     on conflict (username) do nothing`,
  );
  return rowCount ?? 0;
}

async function change(client: PoolClient, version: number): Promise<{ enabled: number; disabled: number }> {
  const { rowCount: enabled } = await client.query(
    `insert into tandem.entitlement as e (username, enabled, version) select username, true, $1 from answer
     on conflict (username) do update set enabled = true, since = now(), version = excluded.version, accepted = false
       where not e.enabled`,
    [version],
  );
  const { rowCount: disabled } = await client.query(
    `insert into tandem.entitlement as e (username, enabled, version, accepted)
       select username, false, $1, r.accepted is not null from gone left join tandem.directory_removal r using (username)
     on conflict (username) do update
       set enabled = false, since = now(), version = excluded.version, accepted = excluded.accepted where e.enabled`,
    [version],
  );
  return { enabled: enabled ?? 0, disabled: disabled ?? 0 };
}

/** Both sites take the same keys from the directory, and never see a password. Without keys an account stays as it is. */
async function giveAccounts(client: PoolClient): Promise<number | null> {
  const { rows } = await client.query<{ there: boolean; keys: boolean }>(
    "select to_regclass('users') is not null as there, exists (select from answer where keys is not null) as keys",
  );
  if (!rows[0]?.there) return null;
  if (!rows[0].keys) return 0; // Where the directory has none, no right to make accounts is needed.
  const { rowCount } = await client.query(
    `insert into users as u (username, password, serverkey, salt, iterationcount)
       select username, split_part(split_part(keys, '$', 3), ':', 1), split_part(split_part(keys, '$', 3), ':', 2),
              split_part(split_part(keys, '$', 2), ':', 2), split_part(split_part(keys, '$', 2), ':', 1)::int
         from answer where keys is not null
     on conflict (username) do update
       set password = excluded.password, serverkey = excluded.serverkey, salt = excluded.salt,
           iterationcount = excluded.iterationcount
       where (u.password, u.serverkey, u.salt, u.iterationcount)
         is distinct from (excluded.password, excluded.serverkey, excluded.salt, excluded.iterationcount)`,
  );
  return rowCount ?? 0;
}

async function countWithoutAccount(client: PoolClient): Promise<number> {
  const { rows } = await client.query<{ n: number }>(
    'select count(*)::int as n from answer a where not exists (select from users u where u.username = a.username)',
  );
  return rows[0]?.n ?? 0;
}

async function countOf(client: PoolClient, table: 'answer'): Promise<number> {
  const { rows } = await client.query<{ n: number }>(`select count(*)::int as n from ${table}`);
  return rows[0]?.n ?? 0;
}
