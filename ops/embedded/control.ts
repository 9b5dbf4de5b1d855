import { access, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { WITNESS } from '../config/witness.ts';
import { Fault } from '../fault.ts';
import { forgetEjabberd } from '../reference-service/ejabberd/site.ts';
import { choosePorts, isFree, witnessPort, type PortName, type Ports } from './ports.ts';
import { knownService } from './service.ts';
import { findProcesses, killMarked, lives, logPath, stopProcess, type ProcessRecord } from './processes.ts';

/** Looking at a stack, and ending it, whatever has become of the command that started it. */

export const processNames = ['postgres', 'vault', 'temporal', 'ui', 'worker', 'ejabberd'] as const;
export type ProcessName = (typeof processNames)[number];

/** The port whose answer shows that a process is up. */
export const portOf: Record<Exclude<ProcessName, 'ejabberd'>, PortName> = {
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
  const ports = await knownPorts(folder);
  const records = await findProcesses(folder);
  const service = await knownService(folder);
  const loopback = '127.0.0.1';
  const all: { site: string; name: ProcessName; host: string; port: number }[] = Object.entries(ports).flatMap(
    ([site, of]) =>
      processNames.flatMap<{ site: string; name: ProcessName; host: string; port: number }>((name) => {
        if (name !== 'ejabberd') return [{ site, name, host: loopback, port: of[portOf[name]] }];
        const address = service?.addresses[site];
        return service && address ? [{ site, name, host: address, port: service.ports.clients }] : [];
      }),
  );
  const witness = await witnessPort(folder, false);
  if (witness !== null) all.push({ site: WITNESS, name: 'vault', host: loopback, port: witness });
  return Promise.all(
    all.map(async ({ site, name, host, port }) => {
      const record = records.find((r) => r.site === site && r.name === name);
      const alive = record !== undefined && (await lives(record));
      const state = !record
        ? 'not started'
        : !alive
          ? 'dead'
          : (await isFree(port, host))
            ? 'not answering'
            : 'running';
      return {
        site,
        name,
        state,
        pid: alive ? record.pid : null,
        host,
        port,
        log: logPath(folder, site, name),
      } as const;
    }),
  );
}

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
  await stop('SIGTERM', 15_000, 'worker', 'ui');
  await stop('SIGTERM', 15_000, 'temporal', 'vault', 'ejabberd');
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
