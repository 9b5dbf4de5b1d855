import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { haproxySwitch } from '../../activities/traffic/haproxy.ts';
import { stopProcess, type ProcessRecord } from '../../ops/embedded/processes.ts';
import { findHaproxy, haproxySocket, startHaproxy } from '../../ops/reference-service/haproxy.ts';
import { freeze } from '../rig/freeze.ts';
import { freePort } from '../rig/ports.ts';
import { address, DOMAIN, ejabberd, startServiceSites, type ServiceSites } from '../rig/service.ts';
import type { Session } from '../rig/xmpp.ts';
import { never, removeFolder, scratchFolder } from '../traffic/ends.ts';

/** Two real ejabberd behind a real HAProxy: users come through it, and a frozen one is found out by its greeting. */

let folder: string;
let service: ServiceSites;
let proxy: ProcessRecord;
let front: string;
/** The port for other servers. */
let others: number;

const lead = (to: string[]): Promise<unknown> => {
  const servers = new Map([
    ['east', 'east'],
    ['west', 'west'],
  ]);
  const own = haproxySwitch({
    proxy: { socket: haproxySocket(folder, 'west') },
    backends: [{ backend: 'c2s', servers }],
  });
  return own.shift({ customer: 'acme', epoch: { number: 2, site: 'west', move: 'm' }, to }, never);
};
/** Whoever comes to a site that is not his is sent on to the other one's own address. */
const come = (user: 'anna' | 'wendy'): Promise<Session> => service.signIn(user, 'west', front);
const THROUGH = '127.0.0.1';

/** What HAProxy says of a server: UP, DOWN and so on. */
async function stateOf(backend: string, server: string): Promise<string> {
  const socket = connect({ path: haproxySocket(folder, 'west') });
  socket.end('show stat\n');
  const line = (await text(socket)).split('\n').find((row) => row.startsWith(`${backend},${server},`));
  return line?.split(',')[17] ?? '';
}

/** What is said to another domain's server that comes through it, as far as it comes within a second. */
async function greeting(): Promise<string> {
  const socket = connect(others, THROUGH);
  socket.write(
    `<?xml version='1.0'?><stream:stream to='${DOMAIN}' from='else.example' version='1.0' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>`,
  );
  socket.setTimeout(1000, () => socket.destroy());
  let said = '';
  // It comes in one piece or in two.
  const whole = new Promise<void>((resolve) => {
    socket.on('data', (piece: Buffer) => {
      said += piece.toString();
      if (said.includes('</stream:features>')) resolve();
    });
  });
  await Promise.race([whole, once(socket, 'close')]);
  socket.destroy();
  return said;
}

// Neither is on every machine: root on Debian gets them by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null || findHaproxy() === null)('ejabberd behind HAProxy', () => {
  beforeAll(async () => {
    if (!ejabberd) return;
    const behind = await freePort();
    [folder, service] = await Promise.all([
      scratchFolder(),
      startServiceSites(
        ejabberd,
        { anna: 'east', wendy: 'west' },
        { bought: { partners: [] }, strangers: [], dns: 9, servers: behind },
      ),
    ]);
    const port = await freePort();
    front = `${THROUGH}:${port}`;
    const at = (behindIt: number) => ({ east: `${address.east}:${behindIt}`, west: `${address.west}:${behindIt}` });
    others = await freePort();
    proxy = await startHaproxy(folder, {
      site: 'west',
      domain: DOMAIN,
      address: THROUGH,
      ports: [
        { name: 'c2s', port, health: 'xmpp-client', servers: at(service.clients), own: 'west' },
        { name: 's2s', port: others, health: 'xmpp-server', servers: at(behind) },
      ],
    });
  }, 60_000);
  afterEach(() => service.leaveAll());
  afterAll(async () => {
    await stopProcess(folder, proxy, 'SIGTERM', 5000);
    await service.close();
    await removeFolder(folder);
  }, 30_000);

  it('users sign in through it, and are cut off when they are led elsewhere', async () => {
    await lead(['east']);
    const anna = await come('anna');
    expect([anna.at, anna.ended]).toEqual([THROUGH, null]);
    await lead(['west']);
    await expect.poll(() => anna.ended, { timeout: 3000 }).not.toBeNull();
    expect((await come('wendy')).at).toBe(THROUGH);
  });

  it('of the own site has whoever comes, while both are up: a phone that comes back finds its session there', async () => {
    await lead(['east', 'west']);
    const came = [await come('wendy'), await come('wendy'), await come('wendy'), await come('wendy')];
    expect(came.map(({ at }) => at)).toEqual([THROUGH, THROUGH, THROUGH, THROUGH]);
  });

  it('one that is frozen is no longer given to other servers, within seconds, and the other one is all the while', async () => {
    const both = async (): Promise<string[]> => [await stateOf('s2s', 'east'), await stateOf('s2s', 'west')];
    await expect.poll(both).toEqual(['UP', 'UP']);
    await freeze(service.processes.east.pid);
    try {
      const start = performance.now();
      await expect.poll(async () => (await both())[0], { timeout: 9000 }).toBe('DOWN');
      expect(performance.now() - start).toBeLessThan(8000);
      const greetings = await Promise.all([greeting(), greeting(), greeting(), greeting()]);
      expect(greetings.map((said) => said.includes('stream:features'))).toEqual([true, true, true, true]);
      expect((await both())[1]).toBe('UP');
    } finally {
      process.kill(service.processes.east.pid, 'SIGCONT');
    }
    await expect.poll(both, { timeout: 10_000 }).toEqual(['UP', 'UP']);
  }, 40_000);

  it('a frozen one is marked down within seconds, which cuts off its users, and up again when it greets', async () => {
    await lead(['east']);
    const anna = await come('anna');
    await lead(['east', 'west']);
    await freeze(service.processes.east.pid);
    try {
      const start = performance.now();
      await expect.poll(() => anna.ended, { timeout: 9000 }).not.toBeNull();
      expect(performance.now() - start).toBeLessThan(8000);
      const came = [await come('wendy'), await come('wendy'), await come('wendy')];
      expect(came.map(({ at }) => at)).toEqual([THROUGH, THROUGH, THROUGH]);
    } finally {
      process.kill(service.processes.east.pid, 'SIGCONT');
    }
    await lead(['east']);
    const again = (): Promise<string> =>
      come('anna').then(
        ({ at }) => at,
        () => '',
      );
    await expect.poll(again, { timeout: 10_000 }).toBe(THROUGH);
  }, 40_000);
});
