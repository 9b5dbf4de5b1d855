import type { PoolClient } from 'pg';
import { failureKind, failures, failureText } from '../../workflows/model/failures.ts';
import type { Finding } from '../vault/bucket.ts';
import { Database } from './database.ts';
import { isPrepared, requireIdentity } from './prepare.ts';
import { describeTables, tableNames } from './tables.ts';

/** Nobody waits longer for a database that does not answer. */
const LIMITS = { connections: 1, connectMs: 4000, statementMs: 60_000 };
/** As for a vault: recovery points are told by the database's clock. */
const SKEW_LIMIT_MS = 120_000;

/** What else ejabberd may keep of a user, and no snapshot holds: table, and what people call it. */
const uncovered: readonly (readonly [table: string, what: string])[] = [
  ['sr_group', 'shared roster groups'],
  ['private_storage', 'private storage'],
  ['vcard', 'vCards'],
  ['pubsub_node', 'pubsub nodes'],
  ['spool', 'messages kept for users who are offline'],
  ['archive', 'archived messages'],
];

type Whose = { customer: string; site: string };
/** What Tandem does with archived messages of a customer with content archiving: it deletes what is old, and brings them along with their users. */
const ARCHIVE_RIGHTS = ['select', 'insert', 'delete'];
type Say = (severity: Finding['severity'], observed: string, next: string) => void;

/**
 * What is wrong with a customer's contact database at its own site: whose it is, its tables, what Tandem's role may do
 * there, its clock, and data that no snapshot holds. Changes nothing. A server that does not answer is a finding.
 */
export async function inspectDatabase(
  url: string,
  { customer, site, archives = false }: Whose & { archives?: boolean },
): Promise<Finding[]> {
  return look(url, `database of ${customer} at ${site}`, async (client, say, subject) => {
    if (!(await isPrepared(client)))
      return say('error', UNPREPARED, `Start its worker once: \`tandem worker --site ${site}\`.`);
    await requireIdentity(client, customer, site);
    await describeTables(client, subject);
    await judgeRights(client, say);
    if (archives) await judgeArchive(client, say);
    await judgeClock(client, say);
    await judgeUsers(client, say);
    await judgeUncovered(client, say);
  });
}

/**
 * What is wrong with the peer's database as this site may reach it: that role may look and fence, and nothing else. A peer
 * that does not answer is a warning, for a lost site is what all this is for.
 */
export async function inspectPeerDatabase(url: string, { customer, site }: Whose): Promise<Finding[]> {
  const found = await look(url, `database of ${customer} at ${site}, as its peer`, async (client, say) => {
    if (!(await isPrepared(client))) return say('error', UNPREPARED, `Start the worker of ${site} once, at ${site}.`);
    const { rows } = await client.query<{ fences: boolean; reads: string[] }>(
      `select has_function_privilege('tandem.fence(text, bigint, text, text)', 'execute')
                and has_function_privilege('tandem.observe()', 'execute') as fences,
              array(select t from unnest($1::text[]) t
                     where to_regclass(t) is not null and has_table_privilege(t, 'select, insert, update, delete')) as reads`,
      [[...tableNames, 'public.archive']],
    );
    const [row] = rows;
    if (!row?.fences) say('error', 'it may not observe and fence that site', grant('tandem_peer'));
    if (row && row.reads.length > 0)
      say(
        'error',
        `it may read or change ${row.reads.join(', ')}`,
        'Revoke these rights: a peer only looks and fences.',
      );
  });
  return found.map((f) => (f.severity === 'error' && f.try === UNREACHABLE ? { ...f, severity: 'warning' } : f));
}

const UNPREPARED = 'it has no schema tandem yet: no worker has prepared it';

const UNREACHABLE = failures['database-unreachable'].try;

const grant = (role: string): string =>
  `Let the worker of that site prepare its database once as the owner of schema tandem, and give it a role ${role}.`;

async function look(
  url: string,
  subject: string,
  work: (client: PoolClient, say: Say, subject: string) => Promise<void>,
): Promise<Finding[]> {
  const found: Finding[] = [];
  const say: Say = (severity, observed, next) => void found.push({ severity, subject, observed, try: next });
  const database = new Database(subject, url, LIMITS);
  try {
    await database.connection((client) => work(client, say, subject));
  } catch (error) {
    const kind = failureKind(error);
    if (!kind) throw error;
    const text = failureText(error);
    say('error', text.startsWith(`${subject}: `) ? text.slice(subject.length + 2) : text, failures[kind].try);
  } finally {
    await database.close();
  }
  return found;
}

async function judgeRights(client: PoolClient, say: Say): Promise<void> {
  const rights = ['select', 'insert', 'update', 'delete'];
  const { rows } = await client.query<{ lacking: string; role: string }>(
    `select current_user as role, string_agg(p || ' on ' || t, ', ' order by t, p) as lacking
       from unnest($1::text[]) t, unnest($2::text[]) p where not has_table_privilege(t, p)`,
    [tableNames, rights],
  );
  const [row] = rows;
  if (row?.lacking)
    say(
      'error',
      `role ${row.role} lacks ${row.lacking}`,
      `As the owner of these tables: grant ${rights.join(', ')} on them.`,
    );
}

/** Of a customer with the option. Whether there is an archive at all, the look at its service tells. */
async function judgeArchive(client: PoolClient, say: Say): Promise<void> {
  const { rows } = await client.query<{ lacking: string | null; role: string }>(
    `select current_user as role,
            nullif(concat_ws(', ', (select string_agg(p, ', ') from unnest($1::text[]) p where not has_table_privilege(c.oid, p)),
              (select 'usage of its sequence' from pg_attribute a where a.attrelid = c.oid and a.attname = 'id' and a.attidentity = ''
                  and not has_sequence_privilege(pg_get_serial_sequence('public.archive', a.attname), 'usage, update'))), '') as lacking
       from pg_class c where c.oid = to_regclass('public.archive')`,
    [ARCHIVE_RIGHTS],
  );
  const [row] = rows;
  if (!row?.lacking) return;
  say(
    'error',
    `role ${row.role} lacks ${row.lacking} on archive`,
    `As its owner: grant ${ARCHIVE_RIGHTS.join(', ')} on it, and usage on its sequence (ops/ARCHIVING.md).`,
  );
}

async function judgeClock(client: PoolClient, say: Say): Promise<void> {
  const { rows } = await client.query<{ at: Date; standby: boolean }>(
    'select clock_timestamp() as at, pg_is_in_recovery() as standby',
  );
  const [row] = rows;
  if (!row) return;
  const skewMs = row.at.getTime() - Date.now();
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  if (Math.abs(skewMs) > SKEW_LIMIT_MS)
    say(
      'error',
      `its clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} this machine's, limit 120 s`,
      failures['clock-wrong'].try,
    );
  if (row.standby)
    say('error', 'it is a replica, which nobody can restore into', 'Name its primary in the configuration.');
}

async function judgeUsers(client: PoolClient, say: Say): Promise<void> {
  const { rows } = await client.query<{ strangers: string; users: string }>(
    `select (select count(*) from tandem.home)::text as users,
            (select count(*) from (select username from rosterusers union select username from privacy_list) r
              where not exists (select from tandem.home h where h.username = r.username))::text as strangers`,
  );
  const [row] = rows;
  if (row?.users === '0')
    say(
      'warning',
      'tandem.home names no user: nobody is protected',
      'Fill tandem.home from the directory, at both sites.',
    );
  else if (row && row.strangers !== '0')
    say(
      'warning',
      `${row.strangers} users have contacts or lists and no home: no snapshot holds them`,
      'Give them a home in tandem.home at both sites, or remove their rows.',
    );
}

async function judgeUncovered(client: PoolClient, say: Say): Promise<void> {
  for (const [table, what] of uncovered) {
    const { rows: there } = await client.query<{ readable: boolean }>(
      `select has_table_privilege(c.oid, 'select') as readable from pg_class c where c.oid = to_regclass($1)`,
      [table],
    );
    if (!there[0]?.readable) continue;
    const { rows } = await client.query<{ some: boolean }>(`select exists (select from ${table}) as some`);
    if (rows[0]?.some)
      say(
        'warning',
        `table ${table} holds ${what}, which no snapshot covers`,
        'Protect them in another way, or know that a failover is without them.',
      );
  }
}
