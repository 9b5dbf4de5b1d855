import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { haproxySwitch } from '../../activities/traffic/haproxy.ts';
import { ask } from '../../activities/traffic/stream.ts';
import type { ProxyBackend } from '../../activities/settings.ts';
import { findHaproxy } from '../../ops/reference-service/haproxy.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { kindOf } from '../failover-acts/world.ts';
import { freePort } from '../rig/ports.ts';
import { never, proxyBefore, removeFolder, scratchFolder, visit, type Proxy, type Visitor } from './ends.ts';

/** A real HAProxy before two small servers: what becomes of those who come, and of those who are there. */

let folder: string;
let end: Proxy;
const visitors: Visitor[] = [];
const come = async (front = end.front): Promise<Visitor> => {
  const visitor = await visit(front);
  visitors.push(visitor);
  return visitor;
};
const backend: ProxyBackend = {
  backend: 'c2s',
  servers: new Map([
    ['east', 'east'],
    ['west', 'west'],
  ]),
};
const shift = (to: string[], backends: ProxyBackend[] = [backend], socket = end.socket): Promise<StepResult> =>
  haproxySwitch({ proxy: { socket }, backends }).shift(
    { customer: 'contoso', epoch: { number: 2, site: 'west', move: 'm' }, to },
    never,
  );
/** `UP`, `DOWN`, `MAINT` … by server, as HAProxy shows it to people. */
const shown = async (server: string, of = 'c2s'): Promise<string> => {
  const line = (await end.say('show stat')).split('\n').find((l) => l.startsWith(`${of},${server},`));
  return line?.split(',')[17] ?? '';
};

// A real HAProxy is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(findHaproxy() === null)('HAProxy', () => {
  beforeAll(async () => {
    folder = await scratchFolder();
    end = await proxyBefore(folder);
  });
  afterAll(async () => {
    await end.close();
    await removeFolder(folder);
  });
  beforeEach(async () => {
    await shift(['east', 'west']);
    for (
      let i = 0;
      i < 80 && (await Promise.all(['east', 'west'].map((server) => shown(server)))).join() !== 'UP,UP';
      i += 1
    )
      await setTimeout(100);
  });
  afterEach(() => {
    for (const visitor of visitors.splice(0)) visitor.leave();
  });

  it('marks a frozen server down within seconds: its sessions end, and whoever comes is served by the other', async () => {
    const there = await Promise.all([come(), come(), come(), come()]);
    expect(new Set(there.map(({ site }) => site))).toEqual(new Set(['east', 'west']));
    end.greeters.servers.east.kill('SIGSTOP');
    try {
      const start = performance.now();
      await expect.poll(() => there.every((v) => v.ended === (v.site === 'east')), { timeout: 9000 }).toBe(true);
      expect(performance.now() - start).toBeLessThan(8000);
      expect((await Promise.all([come(), come(), come()])).map(({ site }) => site)).toEqual(['west', 'west', 'west']);
    } finally {
      end.greeters.servers.east.kill('SIGCONT');
    }
  }, 20_000);

  it('ends the sessions that lead to the lost site, and no other', async () => {
    const there = await Promise.all([come(), come(), come(), come()]);
    await shift(['west']);
    await expect.poll(() => there.map((v) => v.ended)).toEqual(there.map((v) => v.site === 'east'));
    expect(there.some((v) => v.ended)).toBe(true);
    expect((await come()).site).toBe('west');
  });

  describe('of somebody else', () => {
    let front: number;
    let haproxy: ChildProcess;
    const socketAt = (name: string): string => join(folder, name);
    const led = { ...backend, backend: 'keeps' };
    beforeAll(async () => {
      front = await freePort();
      const { east, west } = end.greeters.ports;
      await writeFile(
        join(folder, 'keeps.cfg'),
        `global
  stats socket ${socketAt('admin')} mode 600 level admin
  stats socket ${socketAt('operator')} mode 600 level operator
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
listen keeps
  bind 127.0.0.1:${front}
  server east 127.0.0.1:${east}
  server west 127.0.0.1:${west}
`,
      );
      haproxy = spawn('/usr/sbin/haproxy', ['-db', '-q', '-f', join(folder, 'keeps.cfg')], { stdio: 'ignore' });
      for (let i = 0; i < 100 && !existsSync(socketAt('operator')); i += 1) await setTimeout(50);
    });
    afterAll(() => void haproxy.kill('SIGKILL'));

    it('ends the sessions that it would keep, also of a server that somebody has put into maintenance', async () => {
      const there = await Promise.all([come(front), come(front)]);
      const asking = { limitMs: 2000, mostBytes: 1000, whole: null, signal: never };
      await ask(socketAt('admin'), 'set server keeps/east state maint\n', asking);
      expect(there.map((v) => v.ended)).toEqual([false, false]);
      expect((await shift(['west'], [led], socketAt('admin'))).facts).toMatchObject({ changed: 0 });
      await expect.poll(() => there.map((v) => v.ended)).toEqual(there.map((v) => v.site === 'east'));
      await shift(['east', 'west'], [led], socketAt('admin'));
    });

    it('is no proof by a socket that may only look, and is not changed by it', async () => {
      const own = haproxySwitch({ proxy: { socket: socketAt('operator') }, backends: [led] });
      await expect(own.prove(never)).rejects.toMatchObject({
        type: 'proxy-refused',
        message: expect.stringContaining('Permission denied') as unknown,
      });
      expect(await kindOf(shift(['west'], [led], socketAt('operator')))).toBe('proxy-refused');
      expect(new Set([(await come(front)).site, (await come(front)).site])).toEqual(new Set(['east', 'west']));
    });
  });

  it('leads to a server that the survivor had in drain, or in maintenance since HAProxy started', async () => {
    for (const state of ['drain', 'maint']) {
      await end.say(`set server c2s/west state ${state}`);
      expect((await shift(['west'])).facts).toMatchObject({ changed: 2 });
      expect((await come()).site).toBe('west');
      await shift(['east', 'west']);
    }
  });

  it('says so when the survivor’s server is down by its health check', async () => {
    await end.say('set server c2s/west health down');
    await end.say('disable health c2s/west');
    try {
      expect(await shift(['west'])).toMatchObject({
        facts: { down: 1 },
        alarms: [expect.stringContaining('c2s/west ready, and down by HAProxy’s own health check')],
      });
    } finally {
      await end.say('enable health c2s/west');
    }
  });

  it('changes nothing at all when it lacks one of the servers', async () => {
    const other = { backend: 's2s', servers: backend.servers };
    expect(await kindOf(shift(['west'], [backend, other]))).toBe('proxy-refused');
    expect(await shown('east')).toBe('UP');
  });

  it('leads users of one backend, and leaves those of others where they are', async () => {
    await expect.poll(() => shown('east', 'web')).toBe('UP');
    await shift(['west'], [{ ...backend, backend: 'web' }]);
    expect([await shown('east', 'web'), await shown('east')]).toEqual(['MAINT', 'UP']);
    expect([(await come(end.web)).site, (await come(end.web)).site]).toEqual(['west', 'west']);
    await shift(['east', 'west'], [{ ...backend, backend: 'web' }]);
  });

  it('has its socket closed to others', async () => {
    expect((await stat(end.socket)).mode & 0o777).toBe(0o600);
  });
});
