import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { limitReads, RateLimit, type Clock } from '../../activities/vault/rate-limit.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { FaultProxy } from '../rig/fault-proxy.ts';
import { openWorld, quiet, type World } from './world.ts';

/** Time that passes only while somebody sleeps. */
function testClock(): Clock & { ms: number; sleeps: number } {
  const clock = {
    ms: 0,
    sleeps: 0,
    now: () => clock.ms,
    sleep: (ms: number) => {
      clock.ms += ms;
      clock.sleeps += 1;
      return Promise.resolve();
    },
  };
  return clock;
}

/** Sleeps so often, and then until it is aborted: a link that comes to a stand. */
function stuckAfter(sleeps: number): Clock {
  return {
    now: () => 0,
    sleep: (_ms, signal) =>
      sleeps-- > 0
        ? Promise.resolve()
        : new Promise((_, reject) => {
            const leave = (): void => reject(signal.reason as Error);
            if (signal.aborted) leave();
            else signal.addEventListener('abort', leave, { once: true });
          }),
  };
}

const KB = 1000;

describe('a limit', () => {
  it('is never passed by more than one piece, whatever passes when', async () => {
    const clock = testClock();
    const limit = new RateLimit(500 * KB, clock);
    let passed = 0;
    for (const [pause, bytes] of Array.from({ length: 200 }, (_, i) => [(i % 7) * 40, ((i * 7919) % 256) * KB])) {
      clock.ms += pause ?? 0;
      await limit.pass(quiet.signal, () => Promise.resolve(bytes ?? 0), Number);
      passed += bytes ?? 0;
      expect(passed).toBeLessThanOrEqual(500 * (clock.ms + 1) + 256 * KB);
    }
    expect(passed).toBeGreaterThan(400 * clock.ms); // And it is used.
  });

  it('gives no credit for time in which nothing passed', async () => {
    const clock = testClock();
    const limit = new RateLimit(100 * KB, clock);
    const pass = () =>
      limit.pass(
        quiet.signal,
        () => Promise.resolve(),
        () => 100 * KB,
      );
    await pass();
    clock.ms += 3_600_000;
    await pass();
    expect(clock.sleeps).toBe(0);
    await pass();
    expect(clock).toMatchObject({ sleeps: 1, ms: 3_601_000 });
  });

  it('is left at once when the work is aborted, with the reason of that', async () => {
    const limit = new RateLimit(1);
    const pass = (signal: AbortSignal) =>
      limit.pass(
        signal,
        () => Promise.resolve(),
        () => 1e6,
      );
    await pass(quiet.signal);
    const cancel = new AbortController();
    const waiting = pass(cancel.signal); // For eleven days.
    cancel.abort(new Error('cancelled'));
    await expect(waiting).rejects.toThrow('cancelled');
    await expect(pass(cancel.signal)).rejects.toThrow('cancelled');
  });
});

let world: World;
let proxy: FaultProxy;
let slow: S3Vault;
beforeAll(async () => {
  world = await openWorld(60);
  proxy = await FaultProxy.open(world.access.eastReader.endpoint);
});
afterAll(async () => {
  await proxy.close();
  await world.drop();
});
beforeEach(() => {
  proxy.set();
  slow = new S3Vault({ ...world.access.eastReader, endpoint: proxy.endpoint });
});
afterEach(() => slow.close());

const packsRead = (): string[] =>
  proxy.seen.flatMap(({ method, url }) => /\/packs\/([0-9a-f]{64})\?.*x-id=GetObject/.exec(method + url)?.[1] ?? []);

describe('a vault read under a limit', () => {
  it('gives the same bytes, in pieces of which each is paid for', async () => {
    const body = randomBytes(3 * (256 << 10) + 5);
    await world.vaults.east.put('limit/large', body);
    await world.vaults.east.put('limit/small', body.subarray(0, 10));
    const clock = testClock();
    const beats: number[] = [];
    const limited = limitReads(slow, new RateLimit(100 * KB, clock), quiet.signal, () => void beats.push(clock.ms));
    expect(await limited.read('limit/large')).toEqual(body);
    expect(proxy.seen.filter(({ url }) => url.includes('x-id=GetObject'))).toHaveLength(4);
    expect(beats).toHaveLength(4);
    expect(clock.ms).toBeCloseTo((3 * (256 << 10)) / 100, 0); // The last piece is owed still,
    expect(await limited.versions('limit/small')).toEqual([body.subarray(0, 10)]);
    expect(clock.ms).toBeCloseTo(body.length / 100, 0); // and the small object costs what it is.
    expect(await limited.read('limit/large', { offset: 7, length: 300_000 })).toEqual(body.subarray(7, 300_007));
    expect(await limited.read('limit/none')).toBeNull();
  });
});

describe('a pull under a limit', () => {
  const change = (n: number) =>
    world.sql(
      'east',
      `update rosterusers set nick = 'nick ${n}' where username = any(
    array(select username from tandem.home where site = 'east' order by 1 limit 2))`,
    );

  it('that is too slow for its time ends with its cause, and the next one goes on where it was', async () => {
    for (let n = 1; n <= 4; n += 1) {
      await change(n);
      await world.take('east');
    }
    const limit = new RateLimit(100 * KB, stuckAfter(3));
    const ended = world.pull('west', { peer: slow, limit, budgetMs: 1500 });
    await expect(ended).rejects.toMatchObject({
      type: 'pull-too-slow',
      message: expect.stringMatching(
        /^vault east: whole snapshots copied: 0, packs of the next: 2, limit 1\.5 s/,
      ) as string,
    });
    const first = packsRead();
    expect(first.length).toBeGreaterThan(0);
    proxy.set();
    const { pulled } = await world.pull('west', { peer: slow });
    expect(pulled[0]).toMatchObject({ seq: 4, packs: 4 });
    const second = packsRead();
    expect(second.length).toBeGreaterThan(0);
    expect(second.filter((pack) => first.includes(pack))).toEqual([]);
    expect(new Set([...first, ...second]).size).toBe(4);
  });

  it('never holds up the source, whose snapshots go on', async () => {
    await change(5);
    await world.take('east');
    const cancel = new AbortController();
    const limit = new RateLimit(100 * KB, stuckAfter(0));
    const hanging = world.pull('west', { peer: slow, limit, signal: cancel.signal });
    hanging.catch(() => undefined);
    await change(6);
    expect(await world.take('east')).toMatchObject({ seq: 6 });
    cancel.abort(new Error('cancelled'));
    await expect(hanging).rejects.toThrow('cancelled');
  });

  it('arrives whole over a slow link', async () => {
    proxy.set(() => ({ slowMs: 10 }));
    const { pulled, unverified } = await world.pull('west', { peer: slow, limit: new RateLimit(2000 * KB) });
    expect(pulled[0]).toMatchObject({ seq: 6 });
    if (!unverified) throw new Error('nothing to verify');
    expect(await world.verify('west', unverified)).toMatchObject({ snapshot: { seq: 6 } });
  });
});
