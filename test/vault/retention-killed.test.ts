import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listSnapshots } from '../../activities/vault/catalog.ts';
import { below, openCleaning, type Cleaning } from './cleaning.ts';
import { CUSTOMER } from './world.ts';

let world: Cleaning;
beforeAll(async () => {
  world = await openCleaning();
  await world.oldAndNew();
});
afterAll(() => world.drop());

/** Runs until its second deletion, so that runs together stop at every place. False: it came to its end. */
async function dies(): Promise<boolean> {
  const cleaner = world.cleanerOf('west');
  const remove = cleaner.remove.bind(cleaner);
  let left = 1;
  cleaner.remove = async (version, signal) => {
    if (left === 0) throw new Error('killed');
    left -= 1;
    return remove(version, signal);
  };
  return world.clean('west', { cleaner }).then(
    () => false,
    (error: unknown) => {
      if (error instanceof Error && error.message === 'killed') return true;
      throw error;
    },
  );
}

describe('retention that dies half-way', () => {
  it('leaves every listed snapshot whole wherever it dies, and the next run ends it', async () => {
    const before = await world.everything('west');
    const shelf = { vault: world.vaults.west, customer: CUSTOMER, site: 'east', publicKeys: world.publicKeys };
    let deaths = 0;
    while (await dies()) {
      deaths += 1;
      for (const id of (await listSnapshots(shelf)).snapshots) await world.verify('west', id);
    }
    expect(deaths).toBe(below(before, '0000000001').length + below(before, '0000000003').length - 1);
    expect((await listSnapshots(shelf)).snapshots.map(({ seq }) => seq)).toEqual([6, 5]);
    const after = await world.everything('west');
    expect([...below(after, '/0000000001'), ...below(after, '/0000000003')]).toEqual([]);
  });
});
