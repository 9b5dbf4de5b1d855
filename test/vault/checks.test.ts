import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { coverage, newestCovered, type Shelf } from '../../activities/vault/catalog.ts';
import { checkKey } from '../../activities/vault/checks.ts';
import { receiptKey } from '../../activities/vault/manifest.ts';
import { seal } from '../../activities/vault/signed.ts';
import type { Check } from '../../workflows/model/checks.ts';
import { overwrite, remove } from './damage.ts';
import { CUSTOMER, openWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld(20);
});
afterEach(() => world.drop());

const shelf = (): Shelf => ({
  vault: world.vaults.west,
  customer: CUSTOMER,
  site: 'east',
  publicKeys: world.publicKeys,
});

describe('a check', () => {
  const covered = async (): Promise<number | undefined> => (await newestCovered(shelf(), 'west'))?.summary.seq;
  const said = (seqs: number[], endedAt: Date, changes: Partial<Check> = {}): Check => ({
    format: 1,
    customer: CUSTOMER,
    site: 'west',
    of: 'east',
    startedAt: endedAt.toISOString(),
    endedAt: endedAt.toISOString(),
    snapshots: 1,
    counted: 1,
    packs: 1,
    bytes: 1,
    repaired: [],
    damaged: seqs.map((seq) => ({ object: 'pack', key: 'k', gen: 1, seqs: [seq], because: 'a bit' })),
    strays: { versions: 0, markers: 0, unknown: 0, keys: [] },
    ...changes,
  });
  const at = (minutes: number): Date => new Date(Date.now() + minutes * 60_000);
  const put = (check: Check, by: 'east' | 'west' = 'west', key = checkKey(check), as = check.site) =>
    overwrite(world.access.westRoot, key, seal('check', as, world.signingKeys[by], check));

  beforeEach(async () => {
    for (let n = 0; n < 2; n += 1) {
      const taken = await world.take('east');
      await world.pull('west');
      await world.verify('west', taken);
    }
  });

  it('un-covers what it names, for both sites, until a later one does not', async () => {
    expect(await covered()).toBe(2);
    await put(said([2], at(-10)));
    expect(await covered()).toBe(1);
    const who = { customer: CUSTOMER, site: 'east', peer: 'west', publicKeys: world.publicKeys };
    const seen = await coverage(who, { source: world.vaults.east, cover: world.readers.west });
    expect(seen).toMatchObject({ newest: { seq: 2 }, covered: { snapshot: { seq: 1 } } });
    expect(seen.checks).toMatchObject([
      { vault: 'east', checkedAt: null, damaged: [] },
      { vault: 'west', damaged: [{ seqs: [2] }] },
    ]);
    // It was verified, and waits for the next check: it is not verified again and again.
    expect(await world.pull('west')).toMatchObject({ unverified: null });
    await put(said([], at(-5)));
    expect(await covered()).toBe(2);
  });

  it('counts for nothing when it is forged, of the other site, of another place, or of the future', async () => {
    await put(said([2], at(-10)), 'east');
    await put(said([2], at(-9)), 'east', undefined, 'east');
    await put(said([2], at(-8), { site: 'east' }), 'east', checkKey(said([2], at(-8))));
    await put(said([2], at(-7), { customer: 'globex' }), 'west', checkKey(said([2], at(-7))));
    await put(said([2], at(-6), { of: 'west' }), 'west', checkKey(said([2], at(-6))));
    await put(said([2], at(60)));
    await overwrite(world.access.westRoot, checkKey(said([2], at(-4))), 'nothing to see');
    await put(said([2], at(-3)), 'west', receiptKey('west', { customer: CUSTOMER, site: 'east', gen: 1, seq: 9 }));
    expect(await covered()).toBe(2);
  });

  it('does not cover again when an older one is replayed, under its own time or a new one', async () => {
    const good = said([], at(-20));
    await put(said([2], at(-10)));
    await put(good);
    await put(good, 'west', checkKey(said([], at(-1))));
    await put(good, 'west', checkKey(said([2], at(-10)))); // Over the one that stands.
    await remove(world.access.westRoot, checkKey(said([2], at(-10))));
    expect(await covered()).toBe(1);
  });
});
