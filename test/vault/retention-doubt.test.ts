import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cleaner } from '../../activities/vault/cleaner.ts';
import { FaultProxy } from '../rig/fault-proxy.ts';
import { below, fatesOf, openCleaning, type Cleaning } from './cleaning.ts';
import { CUSTOMER, quiet } from './world.ts';

let world: Cleaning;
let proxy: FaultProxy;
beforeAll(async () => {
  world = await openCleaning();
  await world.oldAndNew();
  proxy = await FaultProxy.open(world.access.west.endpoint);
});
afterAll(async () => {
  await proxy.close();
  await world.drop();
});

describe('retention in doubt', () => {
  it('deletes nothing by a clock that is not the vault’s', async () => {
    const before = await world.everything('west');
    const cleaner = new Cleaner({ ...world.access.westCleaner, endpoint: proxy.endpoint });
    for (const datedMs of [180_000, -180_000]) {
      proxy.set(() => ({ datedMs }));
      await expect(world.clean('west', { cleaner })).rejects.toMatchObject({ type: 'clock-wrong' });
    }
    cleaner.close();
    expect(await world.everything('west')).toEqual(before);
  });

  it('ends within its limits when the vault hangs, and says which', async () => {
    const cleaner = new Cleaner(
      { ...world.access.westCleaner, endpoint: proxy.endpoint },
      { requestMs: 300, callMs: 2000 },
    );
    proxy.set(() => 'hang');
    await expect(world.clean('west', { cleaner })).rejects.toMatchObject({
      type: 'vault-unreachable',
      message: expect.stringMatching(/^vault west: list acme\//) as string,
    });
    cleaner.close();
  });

  it('leaves the packs alone while the vault lists a manifest, whatever it answered', async () => {
    const before = await world.everything('west');
    const cleaner = world.cleanerOf('west');
    cleaner.remove = () => Promise.resolve(null);
    const done = await world.clean('west', { cleaner });
    expect(fatesOf(done, 'east')).toEqual([
      [5, 'kept'],
      [3, 'expired'],
      [1, 'expired'],
    ]);
    const forgetful = world.cleanerOf('west');
    const remove = forgetful.remove.bind(forgetful);
    forgetful.remove = async (version, signal) =>
      version.key.endsWith('0000000002.json') ? null : remove(version, signal);
    expect(fatesOf(await world.clean('west', { cleaner: forgetful }), 'east').at(-1)).toEqual([1, 'expired']);
    const after = await world.everything('west');
    expect(below(after, '0000000001/packs/')).toEqual(below(before, '0000000001/packs/'));
    expect(await world.verify('west', { customer: CUSTOMER, site: 'east', gen: 1, seq: 2 })).toBeDefined();
  });

  it('comes to its end through lost answers, refusals and resets, over more than one page', async () => {
    const left = Array.from({ length: 1100 }, (_, i) => `acme/east/0000000002/packs/${String(i).padStart(64, '0')}`);
    const keys = left.values();
    const write = async (): Promise<void> => {
      for (const key of keys) await world.vaults.west.put(key, Buffer.from('x'));
    };
    await Promise.all(Array.from({ length: 16 }, write));
    const cleaner = new Cleaner({ ...world.access.westCleaner, endpoint: proxy.endpoint });
    const faults = ['lose-answer', 'refuse-500', 'reset-before', 'refuse-503-slowdown'] as const;
    // No two in a row, whatever the order: each request has three attempts.
    proxy.set((n) => (n % 50 === 0 ? (faults[(n / 50) % faults.length] ?? null) : null));
    const done = await world.clean('west', { cleaner });
    cleaner.close();
    expect(done.sources[0]?.generations.find(({ gen }) => gen === 2)).toMatchObject({
      fate: 'deleted',
      packs: left.length,
      snapshots: 0,
    });
    const gone = world.cleanerOf('west').versions('acme/east/0000000002/', quiet.signal);
    expect((await gone.next()).value).toEqual([]);
    expect(fatesOf(done, 'east')[0]).toEqual([5, 'kept']);
  });

  it('stops before the next generation when a move begins', async () => {
    await world.oldAndNew();
    const cleaner = world.cleanerOf('west');
    const remove = cleaner.remove.bind(cleaner);
    let moved: Promise<unknown> | undefined;
    cleaner.remove = async (version, signal) => {
      await (moved ??= world.sql(
        'west',
        "insert into tandem.move values ('m-2', $1, 'failover', 'w', 'declared', '{}', now(), null)",
        [CUSTOMER],
      ));
      return remove(version, signal);
    };
    const done = await world.clean('west', { cleaner });
    expect(done.heldBy).toBe('m-2');
    const fates = fatesOf(done, 'east').map(([, fate]) => fate);
    expect(fates).toEqual(['kept', 'pinned', 'pinned', 'deleted']);
  });
});
