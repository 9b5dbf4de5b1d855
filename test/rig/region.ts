import { generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { IllegalStateError } from '@temporalio/common';
import { DefaultLogger, Runtime, type Worker } from '@temporalio/worker';
import { inject } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import { createJobs } from '../../activities/mover/jobs.ts';
import { Watchers } from '../../activities/probes/watch/watchers.ts';
import { running } from '../../activities/running.ts';
import { anchorOperators } from '../../activities/services/operators.ts';
import type { CustomerSettings, SiteSettings, VaultAccess } from '../../activities/settings.ts';
import type { SiteActivities } from '../../activities/types.ts';
import { siteActivities } from '../../ops/activities.ts';
import { createPeople } from '../../ops/embedded/people/people.ts';
import { buildWorkflows, type WorkflowBuild } from '../../ops/build.ts';
import { rawHex } from '../../ops/keys.ts';
import { DEPLOYMENT, makeCurrent } from '../../ops/current.ts';
import { prepareNamespace } from '../../ops/temporal.ts';
import { createWorker } from '../../ops/worker.ts';
import type { Approver } from '../../workflows/model/plan.ts';
import { refusing, withoutSite, type Addresses } from './black-holes.ts';
import { filledDatabases, type Site } from './databases.ts';
import { scratchVaults } from './vaults.ts';

export const CUSTOMER = 'contoso';
const HOUR = 3_600_000;
const sites = ['east', 'west'] as const;

/** Two sites with people, databases, vaults and namespaces of their own on the rig's servers, and real workers on demand. */
export interface Region {
  settings: Record<Site, SiteSettings>;
  clients: Record<Site, Client>;
  urls: Record<Site, string>;
  operators: { id: string; key: KeyObject }[];
  /**
   * Loses a site for the other one: its addresses refuse, or are the ports that are given. Workers see it when they are
   * started.
   */
  lose: (site: Site, ports?: Addresses) => void;
  /** Loses all that a site's Temporal service knew: what is started and asked from now on finds an empty one. */
  emptyTemporal: (site: Site) => void;
  /** Runs a site's worker until `stop`; `change` may put other activities in place of real ones. Workers end with the region. */
  work: (
    site: Site,
    change?: (real: SiteActivities) => SiteActivities,
    release?: Promise<WorkflowBuild>,
  ) => Promise<{ stop: () => Promise<void> }>;
  close: () => Promise<void>;
}

const build = buildWorkflows();

export async function openRegion({ users = 40 }: { users?: number } = {}): Promise<Region> {
  const populace = { seed: 'region', users, customer: CUSTOMER, sites };
  const [databases, vaults, reports] = await Promise.all([
    filledDatabases(JSON.stringify(populace), (at) => createPeople({ ...populace, urls: at })),
    scratchVaults(),
    mkdtemp(join(tmpdir(), 'tandem-reports-')),
  ]);
  const { east, west } = databases;
  const urls = { east: east.url, west: west.url };
  const pairs = { east: generateKeyPairSync('ed25519'), west: generateKeyPairSync('ed25519') };
  const people = ['operator-1', 'operator-2', 'operator-3'].map((id) => ({ id, pair: generateKeyPairSync('ed25519') }));
  const operators: Approver[] = people.map(({ id, pair }, i) => ({
    id,
    key: rawHex(pair.publicKey),
    roles: i === 1 ? ['declare', 'approve', 'commander', 'operate'] : ['declare', 'approve', 'operate'],
  }));
  const fresh = (): string => `region-${randomBytes(5).toString('hex')}`;
  const namespace = fresh();
  const keys = { current: 'k1', ring: new Map([['k1', randomBytes(32)]]) };
  const clients = { east: await clientAt('east', namespace), west: await clientAt('west', namespace) };
  const readers: Record<Site, VaultAccess> = { east: vaults.eastReader, west: vaults.westReader };
  const settingsOf = (site: Site): SiteSettings => {
    const peer = site === 'east' ? 'west' : 'east';
    const address = inject('stack').sites[peer]?.temporalAddress ?? '';
    return {
      site,
      vault: vaults[site],
      cleaner: { east: vaults.eastCleaner, west: vaults.westCleaner }[site],
      witness: vaults.witness[site],
      services: new Map(),
      peerVaults: new Map([[peer, readers[peer]]]),
      peerTemporals: new Map([[peer, { address, namespace }]]),
      signingKey: pairs[site].privateKey,
      publicKeys: new Map(sites.map((s) => [s, pairs[s].publicKey])),
      customers: new Map([[CUSTOMER, customerSettings(peer, urls[site], databases[peer].peerUrl, keys)]]),
      operators,
      channels: new Map(),
      paging: [],
      callbacks: null,
      reportsFolder: reports,
      requests: new Map(),
      commands: new Map(),
    };
  };
  const settings = { east: settingsOf('east'), west: settingsOf('west') };
  for (const site of sites) await anchor(urls[site], operators);
  const workers: { stop: () => Promise<void> }[] = [];
  return {
    settings,
    clients,
    urls,
    lose(site, ports = refusing) {
      for (const s of sites) settings[s] = withoutSite(settings[s], site, ports);
    },
    emptyTemporal(site) {
      const { connection } = clients[site];
      clients[site] = new Client({ connection, namespace: fresh() });
    },
    operators: people.map(({ id, pair }) => ({ id, key: pair.privateKey })),
    async work(site, change = (real) => real, release = build) {
      const { workflowBundle, buildId } = await release;
      const { namespace: at } = clients[site].options;
      const address = inject('stack').sites[site]?.temporalAddress ?? '';
      // A process for each job costs more than all that is asked of it here; test/mover and the stacks have it.
      const inProcess = createJobs(settings[site], running);
      const watchers = new Watchers();
      sayNothing();
      const activities = change(siteActivities(settings[site], inProcess, watchers));
      const worker = await createWorker(
        settings[site],
        { address, namespace: at },
        { workflowBundle, buildId },
        activities,
      );
      const started = stoppable(worker, watchers);
      await makeCurrent(clients[site], { namespace: at, deploymentName: DEPLOYMENT, buildId });
      workers.push(started);
      return started;
    },
    async close() {
      await Promise.all(workers.map((w) => w.stop()));
      await Promise.all([clients.east.connection.close(), clients.west.connection.close()]);
      await Promise.all([east.drop(), west.drop(), rm(reports, { recursive: true })]);
    },
  };
}

/** What workers log is for nobody here. The runtime ends with the last of its workers: the next one brings another. */
function sayNothing(): void {
  try {
    Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined) });
  } catch (error) {
    if (!(error instanceof IllegalStateError)) throw error; // There is one.
  }
}

/** As a worker does before it is ready. */
async function anchor(url: string, operators: readonly Approver[]): Promise<void> {
  const database = new Database('a site of the rig', url, { connections: 1, connectMs: 5000, statementMs: 20_000 });
  await anchorOperators(database, operators);
  await database.close();
}

function stoppable(worker: Worker, watchers: Watchers): { stop: () => Promise<void> } {
  const ended = worker.run();
  let stopped: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    worker.shutdown();
    watchers.end();
    await ended;
  };
  return { stop: () => (stopped ??= stop()) };
}

async function clientAt(site: Site, namespace: string): Promise<Client> {
  const connection = await Connection.connect({ address: inject('stack').sites[site]?.temporalAddress ?? '' });
  const client = new Client({ connection, namespace });
  await prepareNamespace(client, namespace);
  return client;
}

function customerSettings(
  peer: Site,
  databaseUrl: string,
  peerDatabaseUrl: string,
  keys: CustomerSettings['keys'],
): CustomerSettings {
  return {
    id: CUSTOMER,
    domain: 'contoso.example',
    sites,
    peer,
    databaseUrl,
    peerDatabaseUrl,
    keys,
    options: [],
    objectives: { rpoMs: 8 * HOUR, rtoMs: 24 * HOUR },
    target: { rpoMs: 3 * HOUR, rtoMs: HOUR / 2 },
    snapshots: { everyMs: 8 * HOUR, betweenMs: 2 * HOUR, budgetMs: HOUR / 2, pullBytesPerSecond: null },
    continuityTest: { month: 3, day: 10, hour: 2 },
    limits: { contacts: 250 },
    parties: new Map(),
    runbooks: new Map(),
  };
}
