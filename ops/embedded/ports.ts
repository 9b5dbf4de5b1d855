import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, readlink, rename, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { Fault } from '../fault.ts';

/** What listens at a site. Every one is on loopback. */
export const portNames = [
  'postgres',
  'vault',
  'temporal',
  'temporal-http',
  'temporal-history',
  'temporal-matching',
  'temporal-worker',
  'membership-frontend',
  'membership-history',
  'membership-matching',
  'membership-worker',
  'temporal-metrics',
  'ui',
  'worker',
] as const;
export type PortName = (typeof portNames)[number];
export type Ports = Record<string, Record<PortName, number>>;

/** Below the range from which the kernel takes ports for outgoing connections, so that none is taken by accident. */
const FIRST = 17_000;
const LAST = 31_900;

/** The ports of a stack: chosen once, remembered, so that addresses in a browser or a configuration stay true. */
export async function choosePorts(folder: string, sites: string[]): Promise<Ports> {
  const path = join(folder, 'ports.json');
  const known = await readFile(path, 'utf8').then(
    (text) => JSON.parse(text) as Ports,
    () => null,
  );
  if (known && sites.every((site) => known[site])) return known;
  const need = sites.length * portNames.length;
  // Two checkouts start from different places, so that they rarely meet.
  const seed = createHash('sha256').update(folder).digest().readUInt32BE(0);
  const slots = Math.floor((LAST - FIRST) / need);
  for (let i = 0; i < slots; i += 1) {
    const base = FIRST + ((seed + i) % slots) * need;
    const block = Array.from({ length: need }, (_, n) => base + n);
    if (!(await allFree(block))) continue;
    const ports = Object.fromEntries(
      sites.map((site, s) => [
        site,
        Object.fromEntries(portNames.map((name, n) => [name, base + s * portNames.length + n])) as Record<
          PortName,
          number
        >,
      ]),
    );
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.new`, JSON.stringify(ports, null, 2));
    await rename(`${path}.new`, path);
    return ports;
  }
  throw new Fault(
    `ports: no ${need} free ones in a row from ${FIRST} to ${LAST}`,
    'Stop other servers on this machine, then try again.',
  );
}

/** Above the blocks of sites, and below the kernel's range: one port a stack, for what is part of no site. */
const FIRST_WITNESS = LAST + 1;
const LAST_WITNESS = 32_700;

/** The port of the witness, chosen and remembered like those of the sites; null when it is not known and not `wanted`. */
export async function witnessPort(folder: string, wanted: boolean): Promise<number | null> {
  const path = join(folder, 'witness.json');
  const known = await readFile(path, 'utf8').then(
    (text) => (JSON.parse(text) as { port: number }).port,
    () => null,
  );
  if (known !== null || !wanted) return known;
  const seed = createHash('sha256').update(folder).digest().readUInt32BE(0);
  const slots = LAST_WITNESS - FIRST_WITNESS + 1;
  for (let i = 0; i < slots; i += 1) {
    const port = FIRST_WITNESS + ((seed + i) % slots);
    if (!(await isFree(port))) continue;
    await writeFile(`${path}.new`, JSON.stringify({ port }));
    await rename(`${path}.new`, path);
    return port;
  }
  throw new Fault(
    `ports: none is free from ${FIRST_WITNESS} to ${LAST_WITNESS}`,
    'Stop other servers on this machine, then try again.',
  );
}

async function allFree(ports: number[]): Promise<boolean> {
  for (const port of ports) if (!(await isFree(port))) return false;
  return true;
}

export function isFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

/** One fault for every port in `wanted` that somebody else holds. */
export async function requireFree(wanted: { site: string; name: PortName; port: number }[]): Promise<void> {
  const taken: string[] = [];
  for (const { site, name, port } of wanted) {
    if (!(await isFree(port))) taken.push(`port ${port} for ${site}/${name} is taken by ${await ownerOf(port)}`);
  }
  if (taken.length === 0) return;
  throw new Fault(
    taken.join('; '),
    'End that process, or choose other ports: `tandem dev reset`, then `tandem dev up`.',
  );
}

/** Who listens on a port, as well as /proc tells. */
export async function ownerOf(port: number): Promise<string> {
  const inodes = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const lines = (await readFile(table, 'utf8').catch(() => '')).split('\n').slice(1);
    for (const line of lines) {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
      if (state === '0A' && Number.parseInt(local.split(':').at(-1) ?? '', 16) === port)
        inodes.add(`socket:[${inode}]`);
    }
  }
  for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
    const fds = await readdir(`/proc/${pid}/fd`).catch(() => []); // Gone, or another user's.
    for (const fd of fds) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      if (inodes.has(target)) return `process ${pid} (${await commandOf(pid)})`;
    }
  }
  return inodes.size > 0 ? "another user's process" : 'a process that is just ending';
}

async function commandOf(pid: string): Promise<string> {
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return line.replaceAll('\0', ' ').trim().slice(0, 80) || 'unknown';
}
