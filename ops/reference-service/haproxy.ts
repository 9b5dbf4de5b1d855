import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { startProcess, type ProcessRecord } from '../embedded/processes.ts';
import { untilHealthy } from '../embedded/until-healthy.ts';
import { unprivileged } from '../embedded/unprivileged.ts';
import { Fault } from '../fault.ts';
import { hand } from './hand.ts';

/** The address that users of the reference service come to at a site: HAProxy before the servers of both. */

const HAPROXY = '/usr/sbin/haproxy';
/** A path of a socket of this machine is no longer (unix(7)), and HAProxy adds to it while it starts. */
const LONGEST_SOCKET = 90;
/** Clients give up on a server that does not greet them within some tens of seconds. */
const LONGEST_WAIT_S = 10;

/** Null when it is not on this machine. */
export const findHaproxy = (): string | null => (existsSync(HAPROXY) ? HAPROXY : null);

/** One port of the front address, and who is behind it. */
export interface ProxiedPort {
  /** The backend's name. */
  name: string;
  port: number;
  /**
   * How a server shows that it is there: an XMPP server greets a client, or another server, with the stream that it opens;
   * of others it is enough that they take a connection.
   */
  health: 'xmpp-client' | 'xmpp-server' | 'connect';
  /**
   * New connections that are let in a second; none when left out. Whoever comes home from a lost site comes at once: a
   * server that takes in all of them together answers none of them, and those who were there before wait too.
   */
  pace?: number;
  /** `host:port` by the name of the server: the site. */
  servers: Readonly<Record<string, string>>;
  /**
   * The server that has whoever comes, while it is up: a phone that comes back finds its session there. Left out: all of them
   * share.
   */
  own?: string;
}

export interface HaproxyOptions {
  site: string;
  domain: string;
  /** The front address, on loopback. */
  address: string;
  ports: readonly ProxiedPort[];
}

/** The socket of its runtime API. */
export const haproxySocket = (folder: string, site: string): string =>
  join(folder, 'data', site, 'haproxy', 'admin.sock');

/** Starts it and waits until its socket answers. */
export async function startHaproxy(folder: string, options: HaproxyOptions): Promise<ProcessRecord> {
  const { site } = options;
  const home = join(folder, 'data', site, 'haproxy');
  const socket = haproxySocket(folder, site);
  if (socket.length > LONGEST_SOCKET)
    throw new Fault(
      `${socket}: ${socket.length} characters; a socket’s path has at most ${LONGEST_SOCKET}`,
      'Put the stack into a folder with a shorter path.',
    );
  await mkdir(home, { recursive: true, mode: 0o700 });
  const file = join(home, 'haproxy.cfg');
  await writeFile(file, haproxyConfiguration(options, socket), { mode: 0o600 });
  await hand([home, file]);
  const record = await startProcess(folder, {
    site,
    name: 'haproxy',
    ...(await unprivileged(HAPROXY, ['-db', '-f', file], home)),
    cwd: home,
  });
  await untilHealthy(folder, site, 'haproxy', () => takesConnections(socket));
  return record;
}

function takesConnections(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

/**
 * Connections are long and mostly silent, so that only their ends are timed. A server that is frozen still has its
 * connections: what marks it down is that it no longer greets, within two checks, and then its sessions are ended.
 */
function haproxyConfiguration({ domain, address, ports }: HaproxyOptions, socket: string): string {
  return `global
  stats socket ${socket} mode 600 level admin
  stats timeout 10s
  hard-stop-after 2s
defaults
  mode tcp
  timeout connect 2s
  timeout check 2s
  timeout client 1h
  timeout server 1h
  timeout client-fin 10s
  timeout tunnel 1h
  option clitcpka
  option srvtcpka
  option redispatch
  default-server check inter 1s fall 2 rise 2 on-marked-down shutdown-sessions
${ports.map((port) => listenText(port, address, domain)).join('')}`;
}

function listenText({ name, port, health, servers, own, pace }: ProxiedPort, address: string, domain: string): string {
  const lines = Object.entries(servers).map(([server, at]) => {
    const behind = own === undefined || server === own ? '' : ' backup';
    return `  server ${server} ${at}${behind}`;
  });
  return `listen ${name}
  bind ${address}:${port}
  balance leastconn
${paceText(pace)}${healthText(health, domain)}${lines.join('\n')}
`;
}

/**
 * Who is not let in yet waits in the kernel's queue, and of those no more than come in before a client gives up: the others'
 * connections are not taken, and their own kernels try again.
 */
const paceText = (pace: number | undefined): string =>
  pace === undefined ? '' : `  rate-limit sessions ${pace}\n  backlog ${pace * LONGEST_WAIT_S}\n`;

function healthText(health: ProxiedPort['health'], domain: string): string {
  if (health === 'connect') return '';
  const of = health === 'xmpp-client' ? 'jabber:client' : 'jabber:server';
  const opening = `<?xml version='1.0'?><stream:stream to='${domain}' version='1.0' xmlns='${of}' xmlns:stream='http://etherx.jabber.org/streams'>`;
  return `  option tcp-check
  tcp-check connect
  tcp-check send ${opening.replaceAll(/[ \\#"']/g, (c) => `\\${c}`)}
  tcp-check expect string stream:features
`;
}
