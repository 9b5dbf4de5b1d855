import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CustomerSettings, DnsSettings, SiteSettings, TsigKey } from '../../activities/settings.ts';
import type { TrafficAct } from '../../activities/traffic/act.ts';
import { srvData, types } from '../../activities/traffic/dns-message.ts';
import { replaced, update } from '../../activities/traffic/dns-server.ts';
import { ask } from '../../activities/traffic/stream.ts';
import { logPath, stopProcess, type ProcessRecord } from '../../ops/embedded/processes.ts';
import { startBind, type BindOptions } from '../../ops/reference-service/bind.ts';
import { haproxySocket, startHaproxy } from '../../ops/reference-service/haproxy.ts';
import { freePort } from '../rig/ports.ts';

/** What leads users to a site, real ones: a name server, and a proxy before two small servers. */

export const never = new AbortController().signal;
const sites = ['east', 'west'] as const;

export interface End {
  act: TrafficAct;
  readonly process: ProcessRecord;
  /** What a site is told of it; at another address for what is not there. */
  settings(address?: string): { customer: Partial<CustomerSettings>; site: Partial<SiteSettings> };
  /** Sites that users are led to, as somebody finds who knows nothing of Tandem. */
  leads(): Promise<string[]>;
  /** Somebody leads them elsewhere by hand. */
  byHand(to: readonly string[]): Promise<void>;
  /** How often it was changed so far, by its own account. */
  changes(): Promise<number>;
  close(): Promise<void>;
}

export async function scratchFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-traffic-'));
  await chmod(folder, 0o755); // Servers that give up their rights want to be let in.
  return folder;
}

export const ZONE = 'contoso.example';
export const SERVICE = `_xmpp-client._tcp.${ZONE}`;
export const CHAT = `chat.${ZONE}`;
const targets = { east: `xmpp-east.${ZONE}`, west: `xmpp-west.${ZONE}` };
const addresses = { east: ['192.0.2.1', '2001:db8::1'], west: ['192.0.2.2', '2001:db8::2'] };

export const newKey = (name: string): TsigKey => ({ name, algorithm: 'hmac-sha256', secret: randomBytes(32) });

export interface NameServer extends End {
  dns: DnsSettings;
  /** The same zone by the other site's key. */
  east: DnsSettings;
  resolver: Resolver;
  /** Ends it with -9 and starts it again. */
  killed(): Promise<void>;
  /** What `_epoch` holds, string by string. */
  epoch(): Promise<string[]>;
}

export async function nameServer(folder: string): Promise<NameServer> {
  const port = await freePort();
  const keys = [newKey('tandem-west'), newKey('tandem-east')] as const;
  const options: BindOptions = {
    site: 'names',
    address: '127.0.0.1',
    port,
    zones: [
      {
        name: ZONE,
        records: ['xmpp-east IN A 192.0.2.1', 'xmpp-west IN A 192.0.2.2', 'www IN CNAME chat'],
        keys,
        changes: [
          { name: '_epoch', types: ['TXT'] },
          { name: '_xmpp-client._tcp', types: ['SRV'] },
          { name: 'chat', types: ['A', 'AAAA'] },
          { name: 'www', types: ['A', 'AAAA'] },
        ],
      },
      { name: 'partner.example', records: ['_xmpp-server._tcp IN SRV 10 50 5269 xmpp', 'xmpp IN A 192.0.2.4'] },
    ],
  };
  let process = await startBind(folder, options);
  const dns: DnsSettings = {
    server: `127.0.0.1:${port}`,
    zone: ZONE,
    key: keys[0],
    ttlSeconds: 30,
    sites,
    records: [
      {
        kind: 'service',
        name: SERVICE,
        port: 5222,
        priority: 10,
        weight: 50,
        targets: new Map(Object.entries(targets)),
      },
      { kind: 'address', name: CHAT, addresses: new Map(Object.entries(addresses)) },
    ],
  };
  const resolver = new Resolver({ timeout: 1000, tries: 2 });
  resolver.setServers([dns.server]);
  const none = (error: NodeJS.ErrnoException): never[] => {
    if (error.code === 'ENODATA' || error.code === 'ENOTFOUND') return [];
    throw error;
  };
  return {
    act: 'shift-dns',
    get process() {
      return process;
    },
    async killed() {
      await stopProcess(folder, process, 'SIGKILL', 5000);
      process = await startBind(folder, options);
    },
    dns,
    east: { ...dns, key: keys[1] },
    resolver,
    settings: (address) => ({ customer: { dns: { ...dns, ...(address && { server: address }) } }, site: {} }),
    async leads() {
      const found: string[][] = await Promise.all([
        resolver.resolveSrv(SERVICE).then((all) => all.map(({ name }) => name), none),
        resolver.resolve4(CHAT).catch(none),
        resolver.resolve6(CHAT).catch(none),
      ]);
      return sites.filter((site) =>
        found.some((all: string[]) => [targets[site], ...addresses[site]].some((a) => all.includes(a))),
      );
    },
    async byHand(to) {
      const wanted = to.map((site) => srvData(10, 50, 5222, targets[site as 'east' | 'west']));
      const changes = [
        ...replaced(SERVICE, types.SRV, 30, wanted),
        ...replaced(CHAT, types.A, 30, []),
        ...replaced(CHAT, types.AAAA, 30, []),
      ];
      await update(dns, { requires: [], changes }, { signal: never });
    },
    changes: async () => (await resolver.resolveSoa(ZONE)).serial,
    epoch: async () => (await resolver.resolveTxt(`_epoch.${ZONE}`).catch(none)).flat().toSorted(),
    close: () => stopProcess(folder, process, 'SIGTERM', 5000),
  };
}

/** Greets as an XMPP server does and names itself, in a process of its own. */
const GREETER = `require('net').createServer((s) => {
  s.on('error', () => {});
  s.once('data', () => s.write('<stream:features/>' + process.argv[1]));
}).listen(Number(process.argv[2]), '127.0.0.1', () => process.send('up'));`;

export interface Greeters {
  ports: Record<'east' | 'west', number>;
  servers: Record<'east' | 'west', ChildProcess>;
  close(): void;
}

export async function greeters(): Promise<Greeters> {
  const start = async (site: string): Promise<[ChildProcess, number]> => {
    const port = await freePort();
    const child = spawn(process.execPath, ['-e', GREETER, site, String(port)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    await new Promise((resolve) => child.once('message', resolve));
    return [child, port];
  };
  const [[east, eastPort], [west, westPort]] = await Promise.all([start('east'), start('west')]);
  const servers = { east, west };
  return {
    ports: { east: eastPort, west: westPort },
    servers,
    close: () => Object.values(servers).forEach((child) => child.kill('SIGKILL')),
  };
}

/** A client of the proxy: what it was told, and whether its connection has ended. */
export interface Visitor {
  site: string;
  ended: boolean;
  leave(): void;
}

export async function visit(port: number, address = '127.0.0.1'): Promise<Visitor> {
  const socket = connect(port, address);
  const visitor: Visitor = { site: '', ended: false, leave: () => void socket.destroy() };
  socket.on('error', () => undefined);
  socket.on('close', () => (visitor.ended = true));
  socket.write('<stream:stream>');
  await new Promise<void>((resolve) => {
    socket.on('data', (text: Buffer) => {
      visitor.site = text.toString().replace('<stream:features/>', '');
      resolve();
    });
    socket.on('close', resolve);
  });
  return visitor;
}

export interface Proxy extends End {
  front: number;
  /** Where a connection is all that is asked of a server. */
  web: number;
  socket: string;
  greeters: Greeters;
  /** What HAProxy itself says to a command. */
  say(command: string): Promise<string>;
}

export async function proxyBefore(folder: string): Promise<Proxy> {
  const behind = await greeters();
  const [front, web] = [await freePort(), await freePort()];
  const servers = { east: `127.0.0.1:${behind.ports.east}`, west: `127.0.0.1:${behind.ports.west}` };
  const process = await startHaproxy(folder, {
    site: 'west',
    domain: ZONE,
    address: '127.0.0.1',
    ports: [
      { name: 'c2s', port: front, health: 'xmpp-client', servers },
      { name: 'web', port: web, health: 'connect', servers },
    ],
  });
  const socket = haproxySocket(folder, 'west');
  const say = async (command: string): Promise<string> =>
    (await ask(socket, `${command}\n`, { limitMs: 2000, mostBytes: 1 << 20, whole: null, signal: never })).toString();
  const log = async (): Promise<string> => readFile(logPath(folder, 'west', 'haproxy'), 'utf8');
  return {
    act: 'shift-proxy',
    process,
    front,
    web,
    socket,
    greeters: behind,
    say,
    settings: (address) => ({
      customer: {
        backends: [
          {
            backend: 'c2s',
            servers: new Map([
              ['east', 'east'],
              ['west', 'west'],
            ]),
          },
        ],
      },
      site: { proxy: { socket: address ?? socket } },
    }),
    async leads() {
      const visitors = await Promise.all(Array.from({ length: 8 }, () => visit(front)));
      for (const visitor of visitors) visitor.leave();
      return [...new Set(visitors.map(({ site }) => site))].toSorted();
    },
    async byHand(to) {
      for (const site of sites) await say(`set server c2s/${site} state ${to.includes(site) ? 'ready' : 'drain'}`);
    },
    changes: async () => (await log()).match(/maintenance|drain|UP|DOWN/gi)?.length ?? 0,
    async close() {
      behind.close();
      await stopProcess(folder, process, 'SIGTERM', 5000);
    },
  };
}

export const removeFolder = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true });
