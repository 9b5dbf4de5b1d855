import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WITNESS } from '../config/witness.ts';
import { Fault } from '../fault.ts';
import type { SlapdAccess } from '../reference-service/slapd-configuration.ts';
import { CUSTOMER, DOMAIN, configurationPath, writeConfiguration } from './configuration.ts';
import { directoryAccess, DIRECTORY_SITE, hasDirectory, startDirectory } from './directory.ts';
import { locked } from './lock.ts';
import { choosePorts, requireFree, witnessPort, type PortName, type Ports } from './ports.ts';
import { livingProcesses, stopAll, type ProcessName } from './control.ts';
import { hasPartner, PARTNER_SITE, startStackPartner } from './partner.ts';
import { contactsDatabase, preparePostgres, startPostgres } from './postgres.ts';
import { startProcess, type ProcessRecord } from './processes.ts';
import { databaseUrl, vaultUsers, type VaultUsers } from './secrets.ts';
import { prepareService, startService, type Service } from './service.ts';
import { findServers, type Servers } from './servers.mjs';
import { hasNameServer, hasProxy, NAME_SERVER, startNameServer, startProxy } from './traffic.ts';
import { answersHttp, prepareTemporalDatabases, startTemporal, startUi } from './temporal.ts';
import { prepareVault, startVault } from './vault.ts';
import { hasThirdParty, startThirdParty, THIRD_PARTY_SITE } from './third-party.ts';
import { startWitness, witnessServer, type WitnessServer } from './witness.ts';

/**
 * Two whole sites on one machine: a PostgreSQL, a vault, a Temporal service with its UI and a worker each, and the service
 * itself where ejabberd is on the machine; and a witness at neither.
 */

export interface StackOptions {
  /** Everything the stack keeps lies in this folder. */
  folder: string;
  sites?: string[];
  workers: boolean;
  /** A witness at neither site; by default there is one when there are two sites. */
  witness?: boolean;
  /** Whether there is an ejabberd at each site; by default where the machine has it. */
  service?: boolean;
  /** For the test rig: workflows whose clock can be moved. */
  timeSkipping?: boolean;
  say?: (line: string) => void;
}

export interface SiteAddresses {
  ports: Record<PortName, number>;
  databaseUrl: string;
  peerUrl: string;
  superuserUrl: string;
  temporalAddress: string;
  uiUrl: string;
  workerUrl: string;
  vault: VaultUsers & { endpoint: string };
  /** `host:port` at which clients sign in; null without a service. */
  clients: string | null;
  /** The proxy before it; null without one. */
  front: string | null;
}

export interface Stack {
  folder: string;
  configuration: string;
  customer: string;
  sites: Record<string, SiteAddresses>;
  witness: WitnessServer | null;
  /** The customer's directory; null without a service, and where the machine has no slapd. */
  directory: SlapdAccess | null;
}

const DEFAULT_SITES = ['east', 'west'];
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Starts what is not running yet. When it fails, what it started is stopped again. */
export async function up(options: StackOptions): Promise<Stack> {
  const folder = resolve(options.folder);
  const sites = options.sites ?? DEFAULT_SITES;
  const servers = findServers();
  await mkdir(folder, { recursive: true });
  return locked(folder, async () => {
    const running = await livingProcesses(folder);
    const ports = await choosePorts(folder, sites);
    const witness = await witnessPort(folder, options.witness ?? sites.length > 1);
    const runs = (site: string, name: ProcessName): boolean => running.some((r) => r.site === site && r.name === name);
    const witnessRuns = runs(WITNESS, 'vault');
    // Also those that are left as they are: their accounts in the witness go on.
    const all = Object.keys(ports);
    const service = options.service === false ? null : await prepareService(folder, sites, DOMAIN);
    await writeConfiguration(folder, ports, witness, service);
    const taken = portsToTake(sites, ports, running, options.workers);
    if (witness !== null && !witnessRuns) taken.push({ site: WITNESS, name: 'vault', port: witness });
    await requireFree(taken);
    try {
      await whole([
        ...sites.map((site) => startSite(folder, site, { ports, servers, running, service }, options)),
        ...(witness === null
          ? []
          : [startWitness(folder, { port: witness, sites: all, running: witnessRuns }, servers.versitygw)]),
        ...(service && hasNameServer() && !runs(NAME_SERVER, 'bind') ? [startNameServer(folder, service)] : []),
        ...(service && hasDirectory() && !runs(DIRECTORY_SITE, 'slapd') ? [startDirectory(folder, service)] : []),
        ...(service && hasPartner() && !runs(PARTNER_SITE, 'prosody') ? [startStackPartner(folder, service)] : []),
        ...(service && hasThirdParty() && !runs(THIRD_PARTY_SITE, 'prosody') ? [startThirdParty(folder, service)] : []),
      ]);
    } catch (error) {
      const before = new Set(running.map((r) => r.pid));
      await stopAll(
        folder,
        (await livingProcesses(folder)).filter((r) => !before.has(r.pid)),
      );
      throw error;
    }
    return addresses(folder, ports, witness, service);
  });
}

const owners: Record<PortName, ProcessName> = {
  postgres: 'postgres',
  vault: 'vault',
  temporal: 'temporal',
  'temporal-http': 'temporal',
  'temporal-history': 'temporal',
  'temporal-matching': 'temporal',
  'temporal-worker': 'temporal',
  'membership-frontend': 'temporal',
  'membership-history': 'temporal',
  'membership-matching': 'temporal',
  'membership-worker': 'temporal',
  'temporal-metrics': 'temporal',
  ui: 'ui',
  worker: 'worker',
};

function portsToTake(
  sites: string[],
  ports: Ports,
  running: ProcessRecord[],
  workers: boolean,
): { site: string; name: PortName; port: number }[] {
  const isUp = (site: string, name: ProcessName): boolean => running.some((r) => r.site === site && r.name === name);
  return sites.flatMap((site) =>
    Object.entries(ports[site] ?? {})
      .map(([name, port]) => ({ site, name: name as PortName, port }))
      .filter(({ name }) => !isUp(site, owners[name]) && (workers || name !== 'worker')),
  );
}

/** Waits for all of them, also when one has failed: nothing may be started behind the back of the clean-up. */
async function whole(tasks: Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(tasks)).find((t) => t.status === 'rejected');
  if (failed) throw failed.reason;
}

async function startSite(
  folder: string,
  site: string,
  shared: { ports: Ports; servers: Servers; running: ProcessRecord[]; service: Service | null },
  options: StackOptions,
): Promise<void> {
  const { servers, running, service } = shared;
  const ports = shared.ports[site];
  if (!ports) throw new Fault(`site ${site}: has no ports in ${folder}`, '`tandem dev reset`, then `tandem dev up`.');
  const say = options.say ?? (() => undefined);
  const missing = (name: ProcessName): boolean => !running.some((r) => r.site === site && r.name === name);
  const vault = async (): Promise<void> => {
    if (missing('vault')) await startVault(folder, site, ports.vault, servers.versitygw);
    await prepareVault(folder, site, ports.vault);
    say(`${site}: vault at 127.0.0.1:${ports.vault}`);
  };
  const database = async (): Promise<void> => {
    if (missing('postgres')) await startPostgres(folder, site, ports.postgres);
    await preparePostgres(folder, site, ports.postgres);
    say(`${site}: PostgreSQL at 127.0.0.1:${ports.postgres}`);
    await whole([temporal(), ejabberd()]);
  };
  const ejabberd = async (): Promise<void> => {
    if (!service || !missing('ejabberd')) return;
    await startService(folder, site, service, ports.postgres);
    say(`${site}: ejabberd at ${service.addresses[site]}:${service.ports.clients}`);
  };
  const proxy = async (): Promise<void> => {
    if (!service || !hasProxy() || !missing('haproxy')) return;
    await startProxy(folder, site, service);
    say(`${site}: HAProxy at ${service.addresses[site]}:${service.ports.front}`);
  };
  const temporal = async (): Promise<void> => {
    if (missing('temporal')) {
      await prepareTemporalDatabases(folder, site, ports, servers);
      await startTemporal(folder, site, ports, servers, options.timeSkipping ?? false);
    }
    if (missing('ui')) await startUi(folder, site, ports, servers);
    await answersHttp(folder, site, 'temporal', `http://127.0.0.1:${ports['temporal-http']}/api/v1/cluster-info`);
  };
  const worker = async (): Promise<void> => {
    // It waits for the others by itself, and has its own start-up to do meanwhile.
    if (options.workers && missing('worker')) await startWorker(folder, site);
  };
  await whole([vault(), database(), proxy(), worker()]);
  await whole([
    ...(options.workers ? [answersHttp(folder, site, 'worker', `http://127.0.0.1:${ports.worker}/ready`)] : []),
    answersHttp(folder, site, 'ui', `http://127.0.0.1:${ports.ui}/`),
  ]);
  say(`${site}: Temporal UI at http://127.0.0.1:${ports.ui}`);
}

/** Starts a site's worker; `up` waits for it to be ready, this does not. `configuration`: the stack's own, unless it is told. */
export async function startWorker(
  folder: string,
  site: string,
  configuration = configurationPath(folder),
): Promise<ProcessRecord> {
  return startProcess(folder, {
    site,
    name: 'worker',
    command: process.execPath,
    // Small heaps: bulk data has no place in this process. The arenas of malloc would cost more than they give.
    args: [
      '--max-semi-space-size=8',
      join(root, 'ops', 'cli', 'main.ts'),
      'worker',
      '--site',
      site,
      '--config',
      configuration,
    ],
    env: { MALLOC_ARENA_MAX: '2' },
  });
}

async function addresses(
  folder: string,
  ports: Ports,
  witness: number | null,
  service: Service | null,
): Promise<Stack> {
  const sites: Record<string, SiteAddresses> = {};
  for (const [site, at] of Object.entries(ports)) {
    sites[site] = {
      ports: at,
      databaseUrl: await databaseUrl(folder, site, 'tandem', at.postgres, contactsDatabase),
      peerUrl: await databaseUrl(folder, site, 'tandem_peer', at.postgres, contactsDatabase),
      superuserUrl: await databaseUrl(folder, site, 'postgres', at.postgres, 'postgres'),
      temporalAddress: `127.0.0.1:${at.temporal}`,
      uiUrl: `http://127.0.0.1:${at.ui}`,
      workerUrl: `http://127.0.0.1:${at.worker}`,
      vault: { endpoint: `http://127.0.0.1:${at.vault}`, ...(await vaultUsers(folder, site)) },
      clients: service && `${service.addresses[site]}:${service.ports.clients}`,
      front: service && hasProxy() ? `${service.addresses[site]}:${service.ports.front}` : null,
    };
  }
  return {
    folder,
    configuration: configurationPath(folder),
    customer: CUSTOMER,
    sites,
    witness: witness === null ? null : await witnessServer(folder, witness, Object.keys(ports)),
    directory: await directoryAccess(folder, service),
  };
}
