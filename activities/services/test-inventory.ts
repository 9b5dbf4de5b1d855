import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import type { Inventory } from '../../workflows/model/test-inventory.ts';
import { dropScratch, scratchDatabases, scratchName, type ScratchServer } from '../contacts/scratch.ts';
import type { HeldTest } from '../test-types.ts';
import { testPrefix } from '../vault/test-receipts.ts';
import type { OwnSite } from './site.ts';

/**
 * Tables that nothing but a move writes. The others are written at any hour, by the standby copy, the watch, the directory or a
 * worker that starts: how many rows they have says nothing of a test.
 */
const ofMoves = [
  'epoch',
  'obeyed',
  'claim',
  'serving',
  'drained',
  'salvage',
  'reconciled',
  'move',
  'journal',
  'recovery',
  'external_update',
];

/** As the data mover names the file that it spills into; it has no name any more once it is open. */
const SPILL = /^tandem-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Longer than from its name to none. */
const SPILL_MS = 200;

/** What is there now. Receipts that the run itself has written are not among it. */
export async function takeInventory(
  site: OwnSite,
  { customer, run }: HeldTest,
  signal: AbortSignal,
): Promise<Inventory> {
  const server = scratchServer(site, customer);
  const names = async (sql: string): Promise<string[]> =>
    (await server.database.query<{ name: string }>(sql)).map(({ name }) => name);
  const [databases, schemas, tables, files, objects] = await Promise.all([
    scratchDatabases(server),
    names(`select nspname as name from pg_namespace where nspname !~ '^pg_(toast_)?temp_' order by 1`),
    names(`select relname as name from pg_class
            where relnamespace = 'tandem'::regnamespace and relkind in ('r', 'p') order by 1`),
    spilled(),
    testObjects(site, customer, signal),
  ]);
  const counts = ofMoves
    .filter((table) => tables.includes(table))
    .map((t) => `select '${t}' as t, count(*) as n from tandem.${t}`);
  const rows = await server.database.query<{ t: string; n: string }>(counts.join(' union all '));
  const rights = await server.database.query<{ half: string; told: string }>(
    `select s.half, 'served at ' || s.site || coalesce(', ' || c.users || ' of ' || left(c.digest, 16), '')
                    || case when d.half is null then '' else ', drained' end as told
       from tandem.serving s left join tandem.observe_cohorts() c on c.customer = s.customer and c.half = s.half
       left join tandem.drained d on d.customer = s.customer and d.half = s.half
      where s.customer = $1`,
    [customer],
  );
  return {
    databases,
    schemas,
    rows: Object.fromEntries(rows.map(({ t, n }) => [t, Number(n)])),
    rights: Object.fromEntries(rights.map(({ half, told }) => [half, told])),
    files,
    objects: objects.filter((name) => !name.endsWith(`-${run}.json`)),
  };
}

/** Drops the scratch databases of this customer that runs which died have left: the one place is held, so no other run has one. */
export async function removeLeftOver(site: OwnSite, { customer, run }: HeldTest): Promise<string[]> {
  const server = scratchServer(site, customer);
  const left = (await scratchDatabases(server)).filter((name) => name !== scratchName(server, run));
  for (const name of left) await dropScratch(server.database, name);
  return left.map((name) => `database ${name}, of a test that died`);
}

export async function dropOwn(site: OwnSite, { customer, run }: HeldTest): Promise<void> {
  const server = scratchServer(site, customer);
  await dropScratch(server.database, scratchName(server, run));
}

const scratchServer = (site: OwnSite, customer: string): ScratchServer => ({
  database: site.database(customer),
  url: site.customer(customer).databaseUrl,
});

/** Spill files that keep their name. */
async function spilled(): Promise<string[]> {
  const look = async (): Promise<string[]> => (await readdir(tmpdir())).filter((name) => SPILL.test(name));
  const first = await look();
  if (first.length === 0) return [];
  await setTimeout(SPILL_MS);
  const still = new Set(await look());
  return first.filter((name) => still.has(name)).toSorted();
}

async function testObjects({ vault, settings }: OwnSite, customer: string, signal: AbortSignal): Promise<string[]> {
  const prefix = testPrefix(customer, settings.site);
  const names: string[] = [];
  for await (const { key } of vault.list(prefix, { signal })) names.push(key.slice(prefix.length));
  return names;
}
