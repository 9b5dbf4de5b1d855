import { spawn } from 'node:child_process';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { SiteSettings, VaultAccess } from '../../activities/settings.ts';
import type { Site } from './databases.ts';

export interface BlackHole {
  /** Swallows what comes and never says a word. */
  port: number;
  /** Connections that were opened to it so far; of one that drops packets nobody can say. */
  opened: () => number;
  close(): Promise<void>;
}

/** Accepts connections and never answers. */
export async function blackHole(): Promise<BlackHole> {
  const sockets = new Set<Socket>();
  let opened = 0;
  const server = createServer((socket) => {
    opened += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    opened: () => opened,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/**
 * A port whose packets are dropped: its process is stopped and its queue of connections full, so that the kernel answers
 * no further SYN. The same everywhere, unlike an address that some networks answer for.
 */
export async function droppingPort(): Promise<BlackHole> {
  const code = `require('net').createServer().listen({ host: '127.0.0.1', port: 0, backlog: 1 }, function () { console.log(this.address().port) })`;
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = await new Promise<number>((resolve) =>
    child.stdout.once('data', (text: Buffer) => resolve(Number(text.toString()))),
  );
  child.kill('SIGSTOP');
  const sockets: Socket[] = [];
  const connects = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => undefined);
      sockets.push(socket);
      setTimeout(() => resolve(false), 300);
    });
  while (await connects()) if (sockets.length > 20) throw new Error('the queue of connections does not fill');
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    const gone = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await gone;
  };
  return { port, opened: () => 0, close };
}

/** Every address of a site by which its peer could reach it. */
const addresses = ['database', 'vault', 'temporal', 'sign-in', 'api'] as const;
export type Addresses = Record<(typeof addresses)[number], number>;

/** Nothing listens there: connections are refused at once. */
export const refusing: Addresses = { database: 9, vault: 9, temporal: 9, 'sign-in': 9, api: 9 };

/** The peer's settings with a site gone: each of its addresses is a port of this machine now. */
export function withoutSite(settings: SiteSettings, site: Site, ports: Addresses): SiteSettings {
  const at = (what: keyof Addresses): string => `127.0.0.1:${ports[what]}`;
  const gone = (access: VaultAccess): VaultAccess => ({ ...access, endpoint: `http://${at('vault')}` });
  const peerDatabaseUrl = `postgresql://tandem_peer:x@${at('database')}/contacts`;
  const service = { clients: at('sign-in'), api: `http://${at('api')}/`, outsideCheck: null };
  return {
    ...settings,
    // Where nobody looked at the service before, a site that refuses is not looked at there now: plans stay as they were.
    services: ports === refusing ? settings.services : new Map([...settings.services, [site, service]]),
    peerVaults: new Map([...settings.peerVaults].map(([of, a]) => [of, of === site ? gone(a) : a])),
    peerTemporals: new Map(
      [...settings.peerTemporals].map(([of, t]) => [of, of === site ? { ...t, address: at('temporal') } : t]),
    ),
    customers: new Map([...settings.customers].map(([id, c]) => [id, c.peer === site ? { ...c, peerDatabaseUrl } : c])),
  };
}

/** A lost site whose every address is a black hole of its own, so that whoever touches it is counted. */
export interface HungSite {
  ports: Addresses;
  /** The addresses that were connected to. */
  touched: () => (keyof Addresses)[];
  close: () => Promise<void>;
}

export async function hungSite(hole: () => Promise<BlackHole> = blackHole): Promise<HungSite> {
  const holes = await Promise.all(addresses.map(async (what) => ({ what, hole: await hole() })));
  return {
    ports: Object.fromEntries(holes.map(({ what, hole: { port } }) => [what, port])) as Addresses,
    touched: () => holes.filter(({ hole: one }) => one.opened() > 0).map(({ what }) => what),
    close: async () => void (await Promise.all(holes.map(({ hole: one }) => one.close()))),
  };
}
