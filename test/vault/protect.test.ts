import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { coverage, listSnapshots } from '../../activities/vault/catalog.ts';
import { CUSTOMER, openWorld, quiet, type World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await openWorld(400);
});
afterAll(() => world.drop());

const shelf = (vault: World['vaults']['east'], site = 'east') => ({
  vault,
  customer: CUSTOMER,
  site,
  publicKeys: world.publicKeys,
});

describe('from a snapshot to a standby copy', () => {
  it('covers users by a receipt of the peer, for bytes that the peer has opened in its own vault', async () => {
    const taken = await world.take('east');
    expect(taken).toMatchObject({ gen: 1, seq: 1, counts: { users: 200 } });
    const who = { customer: CUSTOMER, site: 'east', peer: 'west', publicKeys: world.publicKeys };
    const vaults = { source: world.vaults.east, cover: world.vaults.west };
    expect(await coverage(who, vaults)).toMatchObject({ newest: { seq: 1 }, covered: null });

    const pull = await world.pull('west');
    expect(pull).toMatchObject({ peer: 'reached', pulled: [{ seq: 1 }], unverified: { seq: 1 }, unapplied: null });
    expect((await coverage(who, vaults)).covered).toBeNull(); // Copied is not covered.

    const receipt = await world.verify('west', taken);
    expect(receipt).toMatchObject({ site: 'west', manifest: taken.manifest, point: taken.point, counts: taken.counts });
    expect(await world.verify('west', taken)).toEqual(receipt);
    expect(await coverage(who, { source: null, cover: world.vaults.west })).toMatchObject({
      newest: { seq: 1 },
      covered: receipt,
    });
    expect(await world.pull('west')).toMatchObject({ pulled: [], unverified: null, unapplied: { seq: 1 } });

    const opened = await world.open('west', taken);
    const applied = await applyStandby({
      database: world.databases.west,
      site: 'west',
      snapshot: opened,
      keys: world.keys,
      ...quiet,
    });
    expect(applied).toMatchObject({ users: 200, contacts: taken.counts.contacts, held: 0, conflicts: 0 });
    expect(await world.pull('west')).toMatchObject({ unverified: null, unapplied: null });
    expect((await listSnapshots(shelf(world.vaults.west))).snapshots).toHaveLength(1);
  });
});
