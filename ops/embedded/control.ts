import { access, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { WITNESS } from '../config/witness.ts';
import { Fault } from '../fault.ts';
import { forgetBind } from '../reference-service/bind.ts';
import { forgetEjabberd } from '../reference-service/ejabberd/site.ts';
import { DIRECTORY_ADDRESS, DIRECTORY_SITE, hasDirectory } from './directory.ts';
import { choosePorts, isFree, witnessPort, type PortName, type Ports } from './ports.ts';
import { hasPartner, PARTNER_ADDRESS, PARTNER_SITE } from './partner.ts';
import { knownService } from './service.ts';
import { hasThirdParty, THIRD_PARTY_SITE } from './third-party.ts';
import { hasNameServer, hasProxy, NAME_SERVER, THIRD_PARTY_HOST } from './traffic.ts';
import { findProcesses, killMarked, lives, logPath, stopProcess, type ProcessRecord } from './processes.ts';

/** Looking at a stack, and ending it, whatever has become of the command that started it. */

const processNames = [
  'postgres',
  'vault',
  'temporal',
  'ui',
  'worker',
  'ejabberd',
  'haproxy',
  'bind',
  'prosody',
  'slapd',
] as const;
export type ProcessName = (typeof processNames)[number];

/** The port whose answer shows that a process is up. */
const portOf: Record<'postgres' | 'vault' | 'temporal' | 'ui' | 'worker', PortName> = {
  postgres: 'postgres',
  vault: 'vault',
  temporal: 'temporal',
  ui: 'ui',
  worker: 'worker',
};

export async function livingProcesses(folder: string): Promise<ProcessRecord[]> {
  const found: ProcessRecord[] = [];
  for (const record of await findProcesses(folder)) if (await lives(record)) found.push(record);
  return found;
}

/** What is running where; for `status`. Health is whether the process answers at its port. */
export interface ProcessStatus {
  site: string;
  name: string;
  state: 'running' | 'not answering' | 'dead' | 'not started';
  pid: number | null;
  host: string;
  port: number;
  log: string;
}

export async function status(at: string): Promise<ProcessStatus[]> {
  const folder = resolve(at);
  const records = await findProcesses(folder);
  return Promise.all(
    (await expected(folder)).map(async ({ site, name, host, port }) => {
      const record = records.find((r) => r.site === site && r.name === name);
      const alive = record !== undefined && (await lives(record));
      const closed = alive && (await isFree(port, host));
      const state = !record ? 'not started' : !alive ? 'dead' : closed ? 'not answering' : 'running';
      const pid = alive ? record.pid : null;
      return { site, name, state, pid, host, port, log: logPath(folder, site, name) } as const;
    }),
  );
}

type Expected = Pick<ProcessStatus, 'site' | 'host' | 'port'> & { name: ProcessName };

/** All processes that a whole stack in this folder has. */
async function expected(folder: string): Promise<Expected[]> {
  const host = '127.0.0.1';
  const ports = await knownPorts(folder);
  const service = await knownService(folder);
  const witness = await witnessPort(folder, false);
  const own = typedKeys(portOf);
  return [
    ...Object.entries(ports).flatMap(([site, of]): Expected[] => {
      const address = service?.addresses[site];
      return [
        ...own.map((name) => ({ site, name, host, port: of[portOf[name]] })),
        ...(service && address
          ? [{ site, name: 'ejabberd' as const, host: address, port: service.ports.clients }]
          : []),
        ...(service && address && hasProxy()
          ? [{ site, name: 'haproxy' as const, host: address, port: service.ports.front }]
          : []),
      ];
    }),
    ...(witness === null ? [] : [{ site: WITNESS, name: 'vault' as const, host, port: witness }]),
    ...(service && hasDirectory() ? [directoryOf(service.ports.directory)] : []),
    ...(service && hasPartner() ? [prosodyOf(PARTNER_SITE, PARTNER_ADDRESS, service.ports['partner-clients'])] : []),
    ...(service && hasThirdParty()
      ? [prosodyOf(THIRD_PARTY_SITE, THIRD_PARTY_HOST, service.ports['third-party-clients'])]
      : []),
    ...(service && hasNameServer()
      ? [{ site: NAME_SERVER, name: 'bind' as const, host, port: service.ports.dns }]
      : []),
  ];
}

const prosodyOf = (site: string, host: string, port: number): Expected => ({ site, name: 'prosody', host, port });

const directoryOf = (port: number): Expected => ({
  site: DIRECTORY_SITE,
  name: 'slapd',
  host: DIRECTORY_ADDRESS,
  port,
});

const typedKeys = <K extends string>(of: Record<K, unknown>): K[] => Object.keys(of) as K[];

async function knownPorts(folder: string): Promise<Ports> {
  const exists = await access(join(folder, 'ports.json')).then(
    () => true,
    () => false,
  );
  return exists ? choosePorts(folder, []) : {};
}

/** Stops everything that is left of the stack, in order, also after the command that started it was killed. */
export async function down(at: string): Promise<number> {
  const folder = resolve(at);
  const living = await livingProcesses(folder);
  await stopAll(folder, living);
  for (const record of await findProcesses(folder)) await stopProcess(folder, record, 'SIGTERM', 0); // Forgets the dead.
  return living.length;
}

/** Workers first, so that none waits for a service that is gone; PostgreSQL last. */
export async function stopAll(folder: string, records: ProcessRecord[]): Promise<void> {
  const stop = async (signal: NodeJS.Signals, graceMs: number, ...names: ProcessName[]): Promise<void> => {
    const these = records.filter((r) => names.some((name) => name === r.name));
    await Promise.all(these.map((record) => stopProcess(folder, record, signal, graceMs)));
  };
  await stop('SIGTERM', 15_000, 'worker', 'ui', 'haproxy');
  await stop('SIGTERM', 15_000, 'temporal', 'vault', 'ejabberd', 'bind', 'prosody', 'slapd');
  await stop('SIGINT', 20_000, 'postgres'); // Its "fast" shutdown: it does not wait for clients.
}

/** Stops the stack and deletes its folder. Refuses a folder that is not a stack's. */
export async function reset(at: string): Promise<void> {
  const folder = resolve(at);
  if (
    !(await access(folder).then(
      () => true,
      () => false,
    ))
  )
    return;
  if (
    !(await access(join(folder, 'ports.json')).then(
      () => true,
      () => false,
    ))
  ) {
    throw new Fault(
      `${folder}: not the folder of an embedded stack (no ports.json in it)`,
      'Name the right folder, or delete this one by hand.',
    );
  }
  await down(folder);
  for (const site of Object.keys((await knownService(folder))?.addresses ?? {})) await forgetEjabberd(folder, site);
  await forgetBind(folder, NAME_SERVER);
  await rm(folder, { recursive: true, force: true });
}

/** Ends a whole site with SIGKILL, as a lost data center ends, and returns when its ports are closed. */
export async function killSite(at: string, site: string): Promise<void> {
  const folder = resolve(at);
  await killMarked(folder, site);
  const service = await knownService(folder);
  const ends = [
    ...Object.values((await knownPorts(folder))[site] ?? {}).map((port) => ({ port, host: '127.0.0.1' })),
    ...Object.values(service?.ports ?? {}).map((port) => ({ port, host: service?.addresses[site] ?? '127.0.0.1' })),
  ];
  for (const deadline = Date.now() + 10_000; ; await new Promise((r) => setTimeout(r, 20))) {
    const open = await Promise.all(ends.map(async ({ port, host }) => !(await isFree(port, host))));
    if (!open.includes(true)) return;
    if (Date.now() > deadline)
      throw new Fault(`site ${site}: a port is still open 10 s after SIGKILL`, '`tandem dev status` names what runs.');
  }
}

/** Ends one process of the stack; for tests of what outlives it. */
export async function killProcess(
  at: string,
  site: string,
  name: ProcessName,
  signal: NodeJS.Signals = 'SIGKILL',
): Promise<void> {
  const folder = resolve(at);
  const record = (await livingProcesses(folder)).find((r) => r.site === site && r.name === name);
  if (record) await stopProcess(folder, record, signal, 10_000);
}
