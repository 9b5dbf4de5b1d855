import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { FilterPolicy } from '../filter/policy.ts';
import { writeFilter } from '../filter/stored.ts';
import type { Database } from './database.ts';
import { tableNames } from './tables.ts';

const VERSION = 1;

/** Whoever waits for a table's exclusive lock keeps everybody else waiting behind him: not for longer than this. */
const LOCK_LIMIT = '2s';

/** A database says whose it is; one of another customer or site is never read or written. */
export async function requireIdentity(client: PoolClient, customer: string, site: string): Promise<void> {
  const { rows } = await client.query<{ customer: string; site: string; version: number; hiding: string[] }>(
    `select customer, site, version,
            array(select t from unnest($1::text[]) t join pg_class c on c.oid = to_regclass(t)
                   where c.relnamespace = 'tandem'::regnamespace) as hiding
       from tandem.identity`,
    [tableNames],
  );
  const found = rows[0];
  if (!found)
    throw failure(
      'database-refused',
      `database of ${customer} at ${site}: was never prepared (tandem.identity is empty)`,
    );
  if (found.customer !== customer || found.site !== site) {
    throw failure(
      'database-wrong',
      `database of ${customer} at ${site}: says it is that of ${found.customer} at ${found.site}`,
    );
  }
  // A role that is called as our schema looks there first: what lies there would be taken for the contacts of everybody.
  if (found.hiding.length > 0) {
    throw failure(
      'database-wrong',
      `database of ${customer} at ${site}: ${found.hiding.map((name) => `tandem.${name}`).join(', ')} hide the service's own tables; drop those of schema tandem`,
    );
  }
  if (found.version > VERSION)
    throw failure(
      'database-refused',
      `database of ${customer} at ${site}: schema version ${found.version}, ${VERSION} is known`,
    );
}

/**
 * Brings schema `tandem` into a contact database and gives each half to its own site under epoch 1, unless it stands
 * already; and makes the customer's message filter what `filter` says, the default when it is left out and there is none. Safe to repeat; changes nothing about who serves. Refuses a database of another customer or site. Where this
 * very schema stands no table is touched: a worker that starts in the middle of a move waits for none of its steps.
 */
export async function prepareContactDatabase(
  database: Database,
  customer: string,
  site: string,
  sites: readonly [string, string],
  filter?: FilterPolicy,
): Promise<void> {
  const schema = await readFile(new URL('schema/tandem.sql', import.meta.url), 'utf8');
  await database.transaction(async (client) => {
    // Two workers that start at once must not create the same things: one waits for the other.
    await client.query("select pg_advisory_xact_lock(hashtext('tandem.prepare'))");
    const stands = await schemaOf(client);
    if (stands !== null) await requireIdentity(client, customer, site);
    const digest = createHash('sha256').update(schema).digest('hex');
    if (stands !== digest) {
      await client.query(`set local lock_timeout = '${LOCK_LIMIT}'`);
      await client.query(schema);
      await provision(client, { customer, site, sites, digest });
    }
    // With the schema, in one transaction: a service that finds the table finds the policy that is meant.
    await writeFilter(client, customer, filter);
  });
}

async function provision(
  client: PoolClient,
  { customer, site, sites, digest }: { customer: string; site: string; sites: readonly string[]; digest: string },
): Promise<void> {
  await client.query(
    `insert into tandem.identity (customer, site, version, schema) values ($1, $2, $3, $4)
     on conflict (one) do update set schema = excluded.schema`,
    [customer, site, VERSION, digest],
  );
  await client.query(
    "insert into tandem.epoch (customer, number, site, move) values ($1, 1, '-', 'provisioned') on conflict do nothing",
    [customer],
  );
  // A site that is prepared lives. One whose schema is brought up to date may have been down: nobody can know, for it kept no
  // such sign; to close every site of an older version once would be worse.
  await client.query('insert into tandem.alive (customer, at) values ($1, clock_timestamp()) on conflict do nothing', [
    customer,
  ]);
  for (const half of sites) {
    await client.query(
      'insert into tandem.serving (customer, half, site, epoch) values ($1, $2, $2, 1) on conflict do nothing',
      [customer, half],
    );
  }
}

/** Whether a worker of the site was ever started on it. */
export async function isPrepared(client: PoolClient): Promise<boolean> {
  const { rows } = await client.query<{ there: boolean }>("select to_regclass('tandem.identity') is not null as there");
  return rows[0]?.there === true;
}

/** The digest of the schema that was brought into a database; empty when that is not known, null when none was. */
async function schemaOf(client: PoolClient): Promise<string | null> {
  if (!(await isPrepared(client))) return null;
  const found = await client.query<{ schema: string }>(
    `select coalesce(to_jsonb(i)->>'schema', '') as schema from tandem.identity i`,
  );
  return found.rows[0]?.schema ?? null;
}
