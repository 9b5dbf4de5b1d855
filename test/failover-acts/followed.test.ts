import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { forkHere, noteFollowed, noteFork } from '../../activities/services/fork.ts';
import { claimEpoch } from '../../activities/vault/epochs.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { loop } from '../watch/ground.ts';
import { CUSTOMER, makeWorld, type World } from './world.ts';

/** A claim that came to nothing, of the number that both sites hold: in a vault it stays for good. */

let world: World;
beforeEach(async () => {
  world = await makeWorld();
  await world.westDb.query("update tandem.epoch set number = 7, site = 'west', move = 'ours'");
});
afterEach(() => world.close());

const seenIn = (store: string) =>
  noteFork(
    world.westDb,
    { id: CUSTOMER, sites: ['east', 'west'] },
    { number: 7, here: { site: 'west', move: 'ours' }, there: { site: 'east', move: 'theirs', store } },
  );

describe('a claim of the same number by the peer', () => {
  it('closes nobody once the peer was seen to hold this site’s own, when only a vault or the witness tells it', async () => {
    await noteFollowed(world.westDb, CUSTOMER, { number: 7, site: 'west', move: 'ours' });
    expect([await seenIn('vault of the peer'), await seenIn('witness')]).toEqual([false, false]);
    expect(await forkHere(world.westDb, CUSTOMER)).toBeNull();
    expect(await world.westDb.query('select from tandem.closed')).toEqual([]);
    // What the peer's database holds now is another matter.
    expect(await seenIn('database of the peer')).toBe(true);
  });

  it('is told to nobody then, while the peer is silent, and is news before', async () => {
    const { settings, customer, vaults, keys } = world;
    const east = new S3Vault(vaults.east);
    const by = { ...settings, site: 'east', signingKey: keys.east };
    await claimEpoch(east, by, CUSTOMER, { number: 7, site: 'east', move: 'theirs' });
    east.close();
    const alone = { ...customer, peerDatabaseUrl: 'postgres://tandem_peer:x@127.0.0.1:1/contacts' };
    const looking = loop({ ...settings, customers: new Map([[CUSTOMER, alone]]) }, 100);
    const isTold = async () => {
      const news = await looking.watchers.differing(CUSTOMER, {}, 1, new AbortController().signal);
      return news.find(({ about }) => about === 'fork')?.value;
    };
    await expect.poll(isTold).toBe('7 east theirs');
    await noteFollowed(world.westDb, CUSTOMER, { number: 7, site: 'west', move: 'ours' });
    await expect.poll(isTold).toBe('none');
    await looking.stop();
  });

  it('is a fork while nothing is known of the peer, and under each further epoch again', async () => {
    await noteFollowed(world.westDb, CUSTOMER, { number: 6, site: 'west', move: 'before' });
    expect(await seenIn('vault of the peer')).toBe(true);
    expect(await world.westDb.query('select from tandem.closed')).toHaveLength(1);
  });
});
