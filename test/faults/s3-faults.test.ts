import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { S3Vault } from '../../activities/vault/s3.ts';
import { failureKind } from '../../workflows/model/failures.ts';
import { FaultProxy, type Fault, type Rule } from '../rig/fault-proxy.ts';
import { scratchVaults, type ScratchVaults } from '../rig/vaults.ts';

/** Short, so that a server that hangs costs a test little; the product's own limits are the defaults of the vault. */
const SHORT = { connectMs: 500, requestMs: 400 };
const SHORTEST = { ...SHORT, callMs: 1600 };

let access: ScratchVaults;
let proxy: FaultProxy;
/** Through the proxy, and past it. */
let vault: S3Vault;
let direct: S3Vault;
/** Through the proxy, and soon tired. */
let hasty: S3Vault;
beforeAll(async () => {
  access = await scratchVaults();
  proxy = await FaultProxy.open(access.east.endpoint);
  direct = new S3Vault(access.east);
});
afterAll(async () => {
  direct.close();
  await proxy.close();
});
// A client that has met with many errors tries less: no test may suffer for another.
beforeEach(() => {
  proxy.set();
  vault = new S3Vault({ ...access.east, endpoint: proxy.endpoint }, SHORT);
  hasty = new S3Vault({ ...access.east, endpoint: proxy.endpoint }, SHORTEST);
});
afterEach(() => {
  vault.close();
  hasty.close();
});

const bytes = (text: string): Buffer => Buffer.from(text);
const put = 'PUT';
const isObject = (url: string): boolean => url.includes('x-id=');
/** The fault for the first requests of a method on an object; nothing for the rest. */
const first =
  (times: number, of: string, fault: Fault): Rule =>
  (_, method, url) =>
    method === of && isObject(url) && times-- > 0 ? fault : null;
const always =
  (of: string, fault: Fault): Rule =>
  (_, method, url) =>
    method === of && isObject(url) ? fault : null;
/** What a call came to: its result, or what it threw. */
const outcome = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error);

describe('a write whose answer does not come', () => {
  for (const fault of ['lose-answer', 'cut-body', { slowMs: 600 }] as const) {
    it(`leaves one version, and says that its bytes are there: ${JSON.stringify(fault)}`, async () => {
      const key = `lost/${JSON.stringify(fault).replaceAll(/\W/g, '')}`;
      proxy.set(first(1, put, fault));
      expect(['stored', 'present']).toContain(await vault.put(key, bytes('mine')));
      expect((await direct.versions(key)).map(String)).toEqual(['mine']);
    });
  }

  it('is known to be lost to another writer, whose bytes stand', async () => {
    await direct.put('lost/other', bytes('theirs'));
    proxy.set(first(2, put, 'lose-answer'));
    expect(await vault.put('lost/other', bytes('mine'))).toBe('taken');
    expect((await direct.versions('lost/other')).map(String)).toEqual(['theirs']);
  });

  it('is repeated until it was done once, whatever becomes of the first two: locked, too', async () => {
    const until = new Date(Date.now() + 60_000);
    for (const fault of ['reset-before', 'lose-answer', 'hang', 'refuse-500'] as const) {
      proxy.set(first(2, put, fault));
      expect(['stored', 'present']).toContain(await vault.put(`again/${fault}`, bytes(fault), { lockUntil: until }));
      expect((await direct.versions(`again/${fault}`)).map(String)).toEqual([fault]);
    }
  });

  it('is of a whole pack as it is of a few bytes', async () => {
    const pack = randomBytes(4 * 1024 * 1024);
    proxy.set(first(1, put, 'lose-answer'));
    expect(await vault.put('lost/pack', pack)).toBe('present');
    expect((await direct.read('lost/pack'))?.equals(pack)).toBe(true);
  });

  it('is read back when every answer is lost, for longer than the client has a budget to try again', async () => {
    proxy.set(always(put, 'lose-answer'));
    // The client gives up trying again after some 35 errors that no success made good.
    for (let i = 0; i < 50; i += 1) expect(await vault.put(`lost/all/${i}`, bytes('mine'))).toBe('present');
    expect(await direct.versions('lost/all/49')).toHaveLength(1);
  });

  it('fails as unreachable when nothing is heard any more, and the next run finds the bytes', async () => {
    proxy.set(() => 'lose-answer');
    expect(await outcome(vault.put('lost/next', bytes('mine')))).toMatchObject({ type: 'vault-unreachable' });
    proxy.set();
    expect(await vault.put('lost/next', bytes('mine'))).toBe('present');
    expect(await direct.versions('lost/next')).toHaveLength(1);
  });

  it('is no success when the bytes never came', async () => {
    proxy.set(always(put, 'reset-before'));
    expect(await outcome(vault.put('lost/never', bytes('mine')))).toMatchObject({ type: 'vault-unreachable' });
    expect(await direct.versions('lost/never')).toEqual([]);
  });

  it('is known although the server hangs up while a whole pack is on its way to a key that is taken', async () => {
    const pack = randomBytes(4 * 1024 * 1024);
    const once = new S3Vault(access.east, { attempts: 1 });
    await once.put('pack/1', pack);
    const results = [];
    for (let i = 0; i < 30; i += 1)
      results.push(await outcome(once.put('pack/1', i % 2 ? pack : Buffer.from(pack).fill(i, 0, 9))));
    expect(results).toEqual(results.map((_, i) => (i % 2 ? 'present' : 'taken')));
    expect(await direct.versions('pack/1')).toHaveLength(1);
    once.close();
  });
});

describe('a server that says "not now"', () => {
  it('is asked again after a 503 SlowDown, then serves; and is given up after three', async () => {
    proxy.set(first(2, put, 'refuse-503-slowdown'));
    expect(await vault.put('busy/1', bytes('x'))).toBe('stored');
    expect(proxy.count(put)).toBe(3);
    proxy.set(always(put, 'refuse-503-slowdown'));
    expect(await outcome(vault.put('busy/2', bytes('x')))).toMatchObject({
      type: 'vault-unreachable',
      nonRetryable: false,
      message: expect.stringContaining('SlowDown') as string,
    });
    expect(proxy.count(put)).toBe(3);
  });

  it('is asked again after a 409 of a conditional write; a conflict that does not end may be tried later', async () => {
    proxy.set(first(3, put, 'refuse-409'));
    expect(await vault.put('conflict/1', bytes('x'))).toBe('stored');
    expect(proxy.count(put)).toBe(4);
    proxy.set(always(put, 'refuse-409'));
    expect(await outcome(vault.put('conflict/2', bytes('x')))).toMatchObject({
      type: 'vault-unreachable',
      nonRetryable: false,
    });
  });

  it('reads and lists through two refusals', async () => {
    await direct.put('busy/read', bytes('whole'));
    for (const fault of ['refuse-500', 'refuse-503-slowdown', 'reset-before', 'lose-answer'] as const) {
      proxy.set((n) => (n % 3 === 0 ? null : fault));
      expect(String(await vault.read('busy/read'))).toBe('whole');
      expect(proxy.count()).toBe(6);
    }
  });
});

describe('a server that hangs', () => {
  it('is given up after its attempts: before the answer, within its body, and when the body never ends', async () => {
    await direct.put('hang/1', randomBytes(4000));
    for (const fault of ['hang', 'stall-body', 'trickle-body'] as const) {
      proxy.set(always('GET', fault));
      expect(await outcome(hasty.read('hang/1'))).toMatchObject({ type: 'vault-unreachable', nonRetryable: false });
    }
  });

  it('is given up while it lists, too', async () => {
    for (const fault of ['hang', 'stall-body', 'trickle-body'] as const) {
      proxy.set(() => fault);
      expect(await outcome(hasty.read('hang/1'))).toMatchObject({ type: 'vault-unreachable', nonRetryable: false });
    }
  });

  it('is left at once when the caller gives up', async () => {
    for (const fault of ['hang', 'stall-body'] as const) {
      proxy.set(always('GET', fault));
      const patient = new S3Vault({ ...access.east, endpoint: proxy.endpoint });
      const error = await outcome(patient.read('hang/1', undefined, { signal: AbortSignal.timeout(300) }));
      expect(error).toMatchObject({ name: 'TimeoutError' });
      expect(proxy.seen.filter((s) => s.fault === fault)).toHaveLength(1);
      patient.close();
    }
  });
});

describe('a body that is cut', () => {
  it('never gives short bytes: a failure that may be tried again, then the whole', async () => {
    const body = randomBytes(100_000);
    await direct.put('cut/1', body);
    for (const [range, expected] of [
      [undefined, body],
      [{ offset: 10, length: 50_000 }, body.subarray(10, 50_010)],
    ] as const) {
      proxy.set(first(1, 'GET', 'cut-body'));
      expect(await outcome(vault.read('cut/1', range))).toMatchObject({ type: 'vault-unreachable' });
      expect((await vault.read('cut/1', range))?.equals(expected)).toBe(true);
    }
  });

  it('never gives a short list', async () => {
    const keys = Array.from({ length: 40 }, (_, i) => `cutlist/${String(i).padStart(3, '0')}`);
    await Promise.all(keys.map((key) => direct.put(key, bytes('x'))));
    const names = async (): Promise<string[]> => {
      const found: string[] = [];
      for await (const { key } of vault.list('cutlist/')) found.push(key);
      return found;
    };
    proxy.set((n) => (n === 1 ? 'cut-body' : null));
    expect(await names()).toEqual(keys);
    expect(proxy.count()).toBe(2);
    proxy.set(() => 'cut-body');
    expect(await outcome(names())).toMatchObject({ type: 'vault-unreachable' });
  });
});

describe('clocks that differ', () => {
  it('are named, and what to do: the failure may pass, and is none of rights', async () => {
    proxy.set(() => 'clock-skew');
    for (const work of [() => vault.put('skew/1', bytes('x')), () => vault.read('skew/1')]) {
      expect(await outcome(work())).toMatchObject({
        type: 'clock-wrong',
        nonRetryable: false,
        message: expect.stringMatching(
          /^vault east: .*RequestTimeTooSkewed.*clock of the vault: 2.*, of this machine: 2.*, limit/,
        ) as string,
        details: [{ try: expect.stringContaining('clocks') as string }],
      });
    }
  });
});

describe('this machine’s clock, twenty minutes off', () => {
  afterEach(() => vi.useRealTimers());

  it('keeps nobody from writing: the client signs by the clock of the server’s first refusal', async () => {
    for (const offMs of [1_200_000, -1_200_000]) {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + offMs });
      proxy.set();
      const fresh = new S3Vault({ ...access.east, endpoint: proxy.endpoint });
      expect(await fresh.put(`off/${offMs}`, bytes('x'))).toBe('stored');
      expect(proxy.seen.map((s) => s.upstream)).toEqual([403, 200]);
      fresh.close();
      vi.useRealTimers();
    }
  });
});

describe('more calls at once than connections', () => {
  it('wait for one, and are not given up as if nobody answered', async () => {
    proxy.set((_, method) => (method === put ? { slowMs: 700 } : null));
    const narrow = new S3Vault({ ...access.east, endpoint: proxy.endpoint }, { connectMs: 300, attempts: 1 });
    const results = await Promise.all(
      Array.from({ length: 40 }, (_, i) => outcome(narrow.put(`many/${i}`, bytes(`${i}`)))),
    );
    expect(results).toEqual(results.map(() => 'stored'));
    // Whoever waits may still leave, and was never sent.
    proxy.set(() => 'hang');
    const given = new AbortController();
    const rest = Array.from({ length: 20 }, (_, i) =>
      outcome(narrow.put(`left/${i}`, bytes(''), { signal: given.signal })),
    );
    await expect.poll(() => proxy.count(), { timeout: 10_000 }).toBe(16);
    given.abort();
    expect((await Promise.all(rest)).map((error) => (error as Error).name)).toEqual(rest.map(() => 'AbortError'));
    expect(proxy.count()).toBe(16);
    narrow.close();
  });
});

describe('twenty writers of one key', () => {
  it('have one winner through lost answers, resets, refusals and conflicts', async () => {
    const faults: (Fault | null)[] = ['lose-answer', null, 'reset-before', 'refuse-409', null, 'refuse-500', null];
    proxy.set((n, method, url) => (method === put && isObject(url) ? (faults[n % faults.length] ?? null) : null));
    for (let round = 0; round < 5; round += 1) {
      const key = `race/${round}`;
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, i) => outcome(vault.put(key, bytes(`writer ${i}`)))),
      );
      const versions = (await direct.versions(key)).map(String);
      expect(versions).toHaveLength(1);
      // Whoever was told that his bytes are there is the one whose bytes are there. He alone may have been told nothing.
      const told = results.flatMap((result, i) =>
        ['stored', 'present'].includes(String(result)) ? [`writer ${i}`] : [],
      );
      expect([[], versions]).toContainEqual(told);
      const rest = results.filter((result) => !['stored', 'present', 'taken'].includes(String(result)));
      expect(rest.filter((error) => failureKind(error) !== 'vault-unreachable')).toEqual([]);
      expect(results.filter((result) => result === 'taken').length).toBe(20 - told.length - rest.length);
    }
  });
});
