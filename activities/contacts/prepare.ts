import { readFile } from 'node:fs/promises';
import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { Database } from './database.ts';

const VERSION = 1;

/** A database says whose it is; one of another customer or site is never read or written. */
export async function requireIdentity(client: PoolClient, customer: string, site: string): Promise<void> {
  const { rows } = await client.query<{ customer: string; site: string; version: number }>(
    'select customer, site, version from tandem.identity',
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
  if (found.version > VERSION)
    throw failure(
      'database-refused',
      `database of ${customer} at ${site}: schema version ${found.version}, ${VERSION} is known`,
    );
}

/**
 * Brings schema `tandem` into a contact database and gives each half to its own site under epoch 1, unless it stands
 * already. Safe to repeat; changes nothing about who serves. Refuses a database of another customer or site.
 */
export async function prepareContactDatabase(
  database: Database,
  customer: string,
  site: string,
  sites: readonly [string, string],
): Promise<void> {
  const schema = await readFile(new URL('schema/tandem.sql', import.meta.url), 'utf8');
  await database.transaction(async (client) => {
    // Two workers that start at once must not create the same things: one waits for the other.
    await client.query("select pg_advisory_xact_lock(hashtext('tandem.prepare'))");
    const { rows } = await client.query<{ there: boolean }>(
      "select to_regclass('tandem.identity') is not null as there",
    );
    if (rows[0]?.there && (await client.query('select from tandem.identity')).rowCount)
      await requireIdentity(client, customer, site);
    await client.query(schema);
    await client.query(
      'insert into tandem.identity (customer, site, version) values ($1, $2, $3) on conflict do nothing',
      [customer, site, VERSION],
    );
    await client.query(
      "insert into tandem.epoch (customer, number, site, move) values ($1, 1, '-', 'provisioned') on conflict do nothing",
      [customer],
    );
    for (const half of sites) {
      await client.query(
        'insert into tandem.serving (customer, half, site, epoch) values ($1, $2, $2, 1) on conflict do nothing',
        [customer, half],
      );
    }
  });
}
