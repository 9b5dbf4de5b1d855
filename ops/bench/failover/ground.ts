import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { Client as PostgresClient } from 'pg';
import { Database } from '../../../activities/contacts/database.ts';
import type { JobName } from '../../../activities/mover/messages.ts';
import { moveInProcess } from '../../../activities/mover/mover.ts';
import { anchorOperators } from '../../../activities/services/operators.ts';
import type { CustomerSettings, SiteSettings, VaultAccess } from '../../../activities/settings.ts';
import type { SiteActivities } from '../../../activities/types.ts';
import type { SnapshotSummary } from '../../../workflows/model/snapshots.ts';
import { siteActivities } from '../../activities.ts';
import { buildWorkflows } from '../../build.ts';
import { readConfiguration } from '../../config/configuration.ts';
import { settingsFor } from '../../config/settings.ts';
import { operatorKeyPath } from '../../embedded/configuration.ts';
import { down } from '../../embedded/control.ts';
import { createPeople } from '../../embedded/people/people.ts';
import { up, type Stack } from '../../embedded/stack.ts';
import { loadPrivateKey } from '../../keys.ts';
import { DEPLOYMENT, makeCurrent } from '../../current.ts';
import { connectClient, prepareNamespace } from '../../temporal.ts';
import { createWorker } from '../../worker.ts';
import type { Operator } from './course.ts';

/** Nothing listens there: a lost site whose addresses refuse at once, so that only our own time is measured. */
const REFUSING = 9;
export const SOURCE = 'east';
export const SURVIVOR = 'west';
const SITES = [SOURCE, SURVIVOR] as const;

/** Two sites of which one is lost, with as many customers as are asked for, each protected before. */
export interface Ground {
  client: Client;
  operators: Operator[];
  /** A customer with `users` users in the lost half, whose newest snapshot the survivor has covered and applied. */
  protect: (customer: string, size: { users: number; contacts?: number }) => Promise<void>;
  /** As if the customer's users had come home since they were moved. */
  comeHome: (customer: string) => Promise<void>;
  /** The survivor's database of a customer. */
  database: (customer: string) => string;
  /**
   * Runs the survivor's worker for as long as `work` takes; `change` may put other acts in place of the real ones. The
   * lost site's addresses are `lostAt`, a port of this machine: by default one that refuses.
   */
  working: <T>(change: (real: SiteActivities) => SiteActivities, work: () => Promise<T>, lostAt?: number) => Promise<T>;
  close: () => Promise<void>;
}

export async function openGround(signal: AbortSignal): Promise<Ground> {
  Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined) });
  const folder = await mkdtemp(join(tmpdir(), 'tandem-bench-'));
  const remove = async (): Promise<void> => {
    await down(folder);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    return await groundIn(folder, remove, signal);
  } catch (error) {
    await remove();
    throw error;
  }
}

async function groundIn(folder: string, remove: () => Promise<void>, signal: AbortSignal): Promise<Ground> {
  const stack = await up({ folder, workers: false, service: false });
  const configuration = await readConfiguration(stack.configuration);
  const of = (site: string): Promise<SiteSettings> =>
    settingsFor(configuration, site, { reportsFolder: join(folder, 'reports') });
  const settings = { [SOURCE]: await of(SOURCE), [SURVIVOR]: await of(SURVIVOR) };
  const temporal = configuration.sites.get(SURVIVOR)?.temporal;
  if (!temporal) throw new Error(`no site ${SURVIVOR}`);
  const client = await connectClient(temporal);
  await prepareNamespace(client, temporal.namespace, signal);
  const customers = new Map<string, Record<string, CustomerSettings>>();
  const build = await buildWorkflows();
  const atSurvivor = (lostAt: number): SiteSettings =>
    lost(
      settings[SURVIVOR],
      [...customers.values()].flatMap((c) => c[SURVIVOR] ?? []),
      `127.0.0.1:${lostAt}`,
    );
  return {
    client,
    operators: await Promise.all(
      settings[SURVIVOR].operators.map(async ({ id }) => ({
        id,
        key: await loadPrivateKey(operatorKeyPath(folder, id)),
      })),
    ),
    async protect(id, { users, contacts }) {
      const own = await customerOf(stack, settings, id);
      const urls = Object.fromEntries(SITES.map((site) => [site, own[site]?.databaseUrl ?? '']));
      const exactly = contacts === undefined ? {} : { contacts: { exactly: contacts } };
      await createPeople({ seed: `bench-${id}`, users: 2 * users, customer: id, sites: SITES, urls, ...exactly });
      await cover(settings, own, signal);
      await anchor(settings[SURVIVOR], urls[SURVIVOR] ?? '');
      customers.set(id, own);
    },
    comeHome: (id) => comeHome(customers.get(id)?.[SURVIVOR]?.databaseUrl ?? ''),
    database: (id) => customers.get(id)?.[SURVIVOR]?.databaseUrl ?? '',
    async working(change, work, lostAt = REFUSING) {
      const at = atSurvivor(lostAt);
      const worker = await createWorker(at, temporal, build, change(siteActivities(at)));
      const running = worker.run();
      try {
        await makeCurrent(
          client,
          { namespace: temporal.namespace, deploymentName: DEPLOYMENT, buildId: build.buildId },
          signal,
        );
        return await work();
      } finally {
        worker.shutdown();
        await running;
      }
    },
    async close() {
      await client.connection.close();
      await remove();
    },
  };
}

/** As a worker of the survivor does before it is ready: these operators count. */
async function anchor({ operators }: SiteSettings, url: string): Promise<void> {
  const database = new Database('a customer of the survivor', url, {
    connections: 1,
    connectMs: 5000,
    statementMs: 20_000,
  });
  await anchorOperators(database, operators);
  await database.close();
}

async function comeHome(url: string): Promise<void> {
  const database = new PostgresClient({ connectionString: url });
  await database.connect();
  await database.query('update tandem.serving set site = half where half = $1', [SOURCE]);
  await database.end();
}

/** The embedded customer under another id, with a database of its own at each site. */
async function customerOf(
  stack: Stack,
  settings: Record<string, SiteSettings>,
  id: string,
): Promise<Record<string, CustomerSettings>> {
  const name = `bench_${id.replaceAll('-', '_')}`;
  const inName = (url: string): string => Object.assign(new URL(url), { pathname: `/${name}` }).toString();
  for (const site of SITES) {
    const admin = new PostgresClient({ connectionString: stack.sites[site]?.superuserUrl });
    await admin.connect();
    await admin.query(`create database ${name} owner tandem`);
    await admin.end();
  }
  return Object.fromEntries(
    SITES.map((site) => {
      const model = settings[site]?.customers.get(stack.customer);
      if (!model) throw new Error(`no customer ${stack.customer} at ${site}`);
      const { databaseUrl, peerDatabaseUrl } = model;
      const own = { ...model, id, databaseUrl: inName(databaseUrl), peerDatabaseUrl: inName(peerDatabaseUrl) };
      return [site, own];
    }),
  );
}

/** A snapshot of the source, in the survivor's vault, verified there and applied. */
async function cover(
  settings: Record<string, SiteSettings>,
  customer: Record<string, CustomerSettings>,
  signal: AbortSignal,
): Promise<void> {
  const run = (site: string, job: JobName, input: unknown): Promise<unknown> => {
    const [at, own] = [settings[site], customer[site]];
    if (!at || !own) throw new Error(`no site ${site}`);
    const only = { ...at, customers: new Map([[own.id, own]]) };
    return moveInProcess(only, job, input, { heartbeat: () => undefined, signal });
  };
  const id = customer[SOURCE]?.id ?? '';
  const { site, gen, seq } = (await run(SOURCE, 'take-snapshot', { customer: id })) as SnapshotSummary;
  const snapshot = { customer: id, site, gen, seq };
  await run(SURVIVOR, 'pull-snapshots', { customer: id });
  await run(SURVIVOR, 'verify-snapshot', { snapshot });
  await run(SURVIVOR, 'apply-standby', { snapshot });
}

/** The survivor's settings with the source gone: every address of it is this one. */
function lost(settings: SiteSettings, customers: readonly CustomerSettings[], address: string): SiteSettings {
  const gone = (access: VaultAccess): VaultAccess => ({ ...access, endpoint: `http://${address}` });
  const peerDatabaseUrl = `postgresql://nobody@${address}/lost`;
  return {
    ...settings,
    peerVaults: new Map([...settings.peerVaults].map(([site, access]) => [site, gone(access)])),
    peerTemporals: new Map([...settings.peerTemporals].map(([site, t]) => [site, { ...t, address }])),
    customers: new Map(customers.map((c) => [c.id, { ...c, peerDatabaseUrl }])),
  };
}
