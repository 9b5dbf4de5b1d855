import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { Fault } from '../fault.ts';
import type { PortName } from './ports.ts';
import { startProcess } from './processes.ts';
import { untilHealthy } from './until-healthy.ts';
import { databasePassword } from './secrets.ts';
import type { Servers } from './servers.mjs';

const run = promisify(execFile);

/** Few, because one machine runs two services; production has 512, for ever. */
const SHARDS = 4;

type SitePorts = Record<PortName, number>;

const schemas = [
  { database: 'temporal', schema: 'postgresql/v12/temporal' },
  { database: 'temporal_visibility', schema: 'postgresql/v12/visibility' },
];

/** Brings Temporal's two databases to this server's schema; empty ones too, and those dropped and made anew. */
export async function prepareTemporalDatabases(
  folder: string,
  site: string,
  ports: SitePorts,
  servers: Servers,
): Promise<void> {
  const env = {
    ...process.env,
    SQL_PLUGIN: 'postgres12_pgx',
    SQL_HOST: '127.0.0.1',
    SQL_PORT: String(ports.postgres),
    SQL_USER: 'temporal',
    SQL_PASSWORD: await databasePassword(folder, site, 'temporal'),
  };
  const tool = async (...args: string[]): Promise<void> => {
    await run(servers['temporal-sql-tool'], args, { env, timeout: 60_000 });
  };
  try {
    for (const { database, schema } of schemas) {
      // Without its version table a database is empty: made, then brought up to date. With it, `setup` would fail.
      await tool('--db', database, 'update-schema', '--schema-name', schema).catch(async () => {
        await tool('--db', database, 'setup-schema', '-v', '0.0');
        await tool('--db', database, 'update-schema', '--schema-name', schema);
      });
    }
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as { stdout?: string; stderr?: string; message: string };
    const said = `${stdout}${stderr}`.trim().split('\n').slice(-3).join('\n') || message;
    throw new Fault(
      `${site}/temporal: its databases cannot be prepared: ${said}`,
      'Look at the log of PostgreSQL: `tandem dev status` names it.',
    );
  }
}

export async function startTemporal(
  folder: string,
  site: string,
  ports: SitePorts,
  servers: Servers,
  timeSkipping: boolean,
): Promise<void> {
  const at = join(folder, 'config', site);
  await mkdir(at, { recursive: true, mode: 0o700 });
  const dynamic = {
    // Operators pause a move by an update of ours; a run paused by the server would refuse every update.
    'frontend.WorkflowPauseEnabled': [{ value: false }],
    // Each part of a queue has readers of its own, and rows; the default of four is for thousands of tasks a second.
    'matching.numTaskqueueReadPartitions': [{ value: 1 }],
    'matching.numTaskqueueWritePartitions': [{ value: 1 }],
    // A namespace just made is usable at once. In production its attributes are known seconds later, and the worker waits.
    'system.forceSearchAttributesCacheRefreshOnRead': [{ value: true }],
    ...(timeSkipping && {
      'frontend.WorkflowTimeSkippingEnabled': [{ value: true }],
      'history.timerProcessorMaxTimeShift': [{ value: '10ms' }],
    }),
  };
  await writeFile(join(at, 'dynamic.yaml'), stringify(dynamic));
  const config = serverConfig(ports, await databasePassword(folder, site, 'temporal'), join(at, 'dynamic.yaml'));
  await writeFile(join(at, 'temporal.yaml'), stringify(config), { mode: 0o600 });
  await startProcess(folder, {
    site,
    name: 'temporal',
    command: servers['temporal-server'],
    env: { GOGC: '400' }, // Half of what it costs is its collector, at the little that it has in memory.
    args: ['--config-file', join(at, 'temporal.yaml'), '--allow-no-auth', 'start'],
  });
}

function serverConfig(ports: SitePorts, password: string, dynamicPath: string): unknown {
  const database = (databaseName: string, maxConns: number) => ({
    sql: {
      pluginName: 'postgres12_pgx',
      databaseName,
      connectAddr: `127.0.0.1:${ports.postgres}`,
      connectProtocol: 'tcp',
      user: 'temporal',
      password,
      maxConns,
      maxIdleConns: maxConns,
      maxConnLifetime: '1h',
    },
  });
  const service = (grpcPort: number, membershipPort: number) => ({
    rpc: { grpcPort, membershipPort, bindOnLocalHost: true },
  });
  const frontend = service(ports.temporal, ports['membership-frontend']);
  return {
    log: { stdout: true, level: 'warn' },
    persistence: {
      defaultStore: 'default',
      visibilityStore: 'visibility',
      numHistoryShards: SHARDS,
      datastores: { default: database('temporal', 20), visibility: database('temporal_visibility', 10) },
    },
    global: {
      membership: { maxJoinDuration: '30s', broadcastAddress: '127.0.0.1' },
      metrics: { prometheus: { timerType: 'histogram', listenAddress: `127.0.0.1:${ports['temporal-metrics']}` } },
    },
    services: {
      frontend: { rpc: { ...frontend.rpc, httpPort: ports['temporal-http'] } },
      history: service(ports['temporal-history'], ports['membership-history']),
      matching: service(ports['temporal-matching'], ports['membership-matching']),
      worker: service(ports['temporal-worker'], ports['membership-worker']),
    },
    clusterMetadata: {
      enableGlobalNamespace: false,
      failoverVersionIncrement: 10,
      masterClusterName: 'active',
      currentClusterName: 'active',
      clusterInformation: {
        active: {
          enabled: true,
          initialFailoverVersion: 1,
          rpcName: 'frontend',
          rpcAddress: `127.0.0.1:${ports.temporal}`,
        },
      },
    },
    dcRedirectionPolicy: { policy: 'noop' },
    publicClient: { hostPort: `127.0.0.1:${ports.temporal}` },
    dynamicConfigClient: { filepath: dynamicPath, pollInterval: '10s' },
  };
}

export async function startUi(folder: string, site: string, ports: SitePorts, servers: Servers): Promise<void> {
  const at = join(folder, 'config', site, 'ui');
  await mkdir(at, { recursive: true });
  const config = {
    temporalGrpcAddress: `127.0.0.1:${ports.temporal}`,
    host: '127.0.0.1',
    port: ports.ui,
    enableUi: true,
    defaultNamespace: 'tandem',
    notifyOnNewVersion: false,
    disableWriteActions: false,
    cors: { cookieInsecure: true, allowOrigins: [`http://127.0.0.1:${ports.ui}`] },
  };
  await writeFile(join(at, 'tandem.yaml'), stringify(config));
  await startProcess(folder, {
    site,
    name: 'ui',
    command: servers['temporal-ui-server'],
    args: ['--root', folder, '--config', join('config', site, 'ui'), '--env', 'tandem', 'start'],
  });
}

/** Waits until an HTTP address answers with success. */
export async function answersHttp(folder: string, site: string, name: string, url: string): Promise<void> {
  const healthy = (): Promise<boolean> =>
    fetch(url, { signal: AbortSignal.timeout(2000) }).then(
      (r) => r.ok,
      () => false,
    );
  await untilHealthy(folder, site, name, healthy);
}
