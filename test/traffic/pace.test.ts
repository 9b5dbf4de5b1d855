import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../../activities/traffic/stream.ts';
import { stopProcess, type ProcessRecord } from '../../ops/embedded/processes.ts';
import { findHaproxy, haproxySocket, startHaproxy } from '../../ops/reference-service/haproxy.ts';
import { freePort } from '../rig/ports.ts';
import { never, removeFolder, scratchFolder } from './ends.ts';

/** Whoever comes from a lost site comes with all others: they are let in at a pace, and none of them is turned away. */

const PACE = 4;
const MANY = 4 * PACE;
const server = createServer((socket) => socket.on('error', () => undefined).end('served'));
const ports = { paced: 0, free: 0 };
let folder: string;
let proxy: ProcessRecord;

const come = async (port: number): Promise<string> => {
  const socket: Socket = connect({ host: '127.0.0.1', port });
  socket.setEncoding('utf8');
  const [text] = (await once(socket, 'data')) as [string];
  socket.destroy();
  return text;
};

/** Most sessions that a port has let in within one second, by the proxy's own account. */
async function highestRate(name: string): Promise<number> {
  const asking = { limitMs: 2000, mostBytes: 1 << 20, whole: null, signal: never };
  const text = (await ask(haproxySocket(folder, 'west'), 'show stat\n', asking)).toString();
  const [head = '', ...lines] = text.trim().split('\n');
  const column = head.replace(/^# /, '').split(',').indexOf('rate_max');
  const line = lines.find((l) => l.startsWith(`${name},FRONTEND,`)) ?? '';
  return Number(line.split(',')[column]);
}

// HAProxy is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(findHaproxy() === null)('a proxy', () => {
  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const servers = { west: `127.0.0.1:${(server.address() as AddressInfo).port}` };
    [folder, ports.paced, ports.free] = await Promise.all([scratchFolder(), freePort(), freePort()]);
    const common = { health: 'connect', servers } as const;
    proxy = await startHaproxy(folder, {
      site: 'west',
      domain: 'contoso.example',
      address: '127.0.0.1',
      ports: [
        { name: 'paced', port: ports.paced, pace: PACE, ...common },
        { name: 'free', port: ports.free, ...common },
      ],
    });
  }, 20_000);
  afterAll(async () => {
    await stopProcess(folder, proxy, 'SIGTERM', 5000);
    server.close();
    await removeFolder(folder);
  });

  it('with a pace lets them in a few at a time, and all of them in the end', async () => {
    const served = await Promise.all(Array.from({ length: MANY }, () => come(ports.paced)));
    expect(served).toEqual(Array.from({ length: MANY }, () => 'served'));
    // It counts by a window that slides: of two in a row each may be full.
    expect(await highestRate('paced')).toBeLessThanOrEqual(2 * PACE);
  }, 15_000);

  it('without one lets all of them in as they come', async () => {
    await Promise.all(Array.from({ length: MANY }, () => come(ports.free)));
    expect(await highestRate('free')).toBeGreaterThan(2 * PACE);
  });
});
