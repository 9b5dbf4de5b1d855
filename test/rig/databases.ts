import { createHash, randomBytes } from 'node:crypto';
import { Client, Pool } from 'pg';
import { inject } from 'vitest';
import { prepareTables } from '../../ops/embedded/people/people.ts';
import { sql } from './sql.ts';

export type Site = 'east' | 'west';

export interface ScratchDatabase {
  /** As role `tandem`, which owns it. */
  url: string;
  /** As role `tandem_peer`, which may only observe and fence. */
  peerUrl: string;
  drop: () => Promise<void>;
}

/** A database of its own on a site's server, owned by role `tandem` as the real one is: empty, or a copy of a model. */
export async function scratchDatabase(site: Site, model?: string): Promise<ScratchDatabase> {
  const at = serverOf(site);
  const name = `scratch_${randomBytes(6).toString('hex')}`;
  const named = (url: string): string => Object.assign(new URL(url), { pathname: `/${name}` }).toString();
  // Copied as files, not through the log: a third of the work.
  const template = model === undefined ? '' : ` template ${model}`;
  await administrator(site).query(`create database ${name} owner tandem${template} strategy file_copy`);
  return {
    url: named(at.databaseUrl),
    peerUrl: named(at.peerUrl),
    drop: async () => void (await administrator(site).query(`drop database if exists ${name} with (force)`)),
  };
}

/**
 * Databases as `fill` leaves them. What is called the same is filled once, for all test files, and copied: it must hold
 * nothing of whoever asked first.
 */
export async function filledDatabases(
  called: string,
  fill: (urls: Record<Site, string>) => Promise<unknown>,
): Promise<Record<Site, ScratchDatabase>> {
  const model = `model_${createHash('sha256').update(called).digest('hex').slice(0, 12)}`;
  const there = models.get(model) ?? keepModel(model, fill);
  models.set(model, there);
  await there.catch((error: unknown) => {
    models.delete(model);
    throw error;
  });
  const [east, west] = await Promise.all([scratchDatabase('east', model), scratchDatabase('west', model)]);
  // The model may lie there for long: a site that begins as its copy lives now.
  for (const { url } of [east, west])
    await sql(
      url,
      `do $$ begin if to_regclass('tandem.alive') is not null then update tandem.alive set at = now(); end if; end $$`,
    );
  return { east, west };
}

/** As customer contoso has them where nobody lives yet: to make their tables costs five times as much as to copy them. */
export const preparedDatabases = (): Promise<Record<Site, ScratchDatabase>> =>
  filledDatabases('contacts of nobody', ({ east, west }) =>
    Promise.all([
      prepareTables(east, 'contoso', 'east', ['east', 'west']),
      prepareTables(west, 'contoso', 'west', ['east', 'west']),
    ]),
  );

/** Models that this process knows to be there. */
const models = new Map<string, Promise<void>>();

async function keepModel(model: string, fill: (urls: Record<Site, string>) => Promise<unknown>): Promise<void> {
  const keeper = new Client({ connectionString: serverOf('west').superuserUrl });
  await keeper.connect();
  try {
    await keeper.query('select pg_advisory_lock(hashtext($1))', [model]); // Let go with the connection.
    const { rowCount } = await keeper.query('select from pg_database where datname = $1', [model]);
    if (rowCount === 0) await makeModel(model, fill);
  } finally {
    await keeper.end();
  }
}

/** West's is named last: where that is, both are. */
async function makeModel(model: string, fill: (urls: Record<Site, string>) => Promise<unknown>): Promise<void> {
  const [east, west] = await Promise.all([scratchDatabase('east'), scratchDatabase('west')]);
  const urls = { east: east.url, west: west.url };
  await fill(urls);
  for (const site of ['east', 'west'] as const) {
    const name = new URL(urls[site]).pathname.slice(1);
    const { superuserUrl } = serverOf(site);
    await sql(superuserUrl, `drop database if exists ${model} with (force)`); // Of one that came only half-way.
    await sql(superuserUrl, `select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '${name}'`);
    await sql(superuserUrl, `alter database ${name} rename to ${model}`);
  }
}

/**
 * Sessions that stay for as long as they are asked anything: a new one costs the server more than most of what it is
 * asked.
 */
const administrators = new Map<Site, Pool>();

function administrator(site: Site): Pool {
  const known = administrators.get(site);
  if (known) return known;
  const pool = new Pool({
    connectionString: serverOf(site).superuserUrl,
    max: 2,
    idleTimeoutMillis: 60_000,
    allowExitOnIdle: true,
  });
  pool.on('error', () => undefined); // The next query tells.
  administrators.set(site, pool);
  return pool;
}

function serverOf(site: Site) {
  const at = inject('stack').sites[site];
  if (!at) throw new Error(`no site ${site} in the rig`);
  return at;
}
