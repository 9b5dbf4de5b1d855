import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import type { Keyring } from '../../activities/settings.ts';
import { listSnapshots } from '../../activities/vault/catalog.ts';
import { openSnapshot } from '../../activities/vault/open.ts';
import { createPeople } from '../../ops/embedded/people/people.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { scratchDatabase, type ScratchDatabase } from '../rig/databases.ts';
import { CUSTOMER, openWorld, ringOf, type World } from './world.ts';

/** Two customers in the same vaults, each with a ring of its own; both have a key of the same id. */
const OTHER = 'globex';
let world: World;
let scratch: Record<'east' | 'west', ScratchDatabase>;
let database: Database;
const rings: Record<string, Keyring> = { [CUSTOMER]: ringOf('k2', 'k1'), [OTHER]: ringOf('k1') };
const taken: Record<string, SnapshotSummary> = {};

beforeAll(async () => {
  world = await openWorld(20);
  scratch = { east: await scratchDatabase('east'), west: await scratchDatabase('west') };
  const urls = { east: scratch.east.url, west: scratch.west.url };
  const sites = ['east', 'west'] as const;
  await createPeople({ seed: 'erase', users: 20, customer: OTHER, sites, urls });
  database = new Database('database of globex at east', scratch.east.url, {
    connections: 2,
    connectMs: 2000,
    statementMs: 60_000,
  });
  taken['old'] = await world.take('east', { keys: { ...ringOfCustomer(CUSTOMER), current: 'k1' } });
  taken[CUSTOMER] = await world.take('east', { keys: ringOfCustomer(CUSTOMER) });
  taken[OTHER] = await world.take('east', { customer: OTHER, database, keys: ringOfCustomer(OTHER) });
  await world.pull('west');
  await world.pull('west', { customer: OTHER });
});
afterAll(async () => {
  await database.close();
  await Promise.all([scratch.east.drop(), scratch.west.drop(), world.drop()]);
});

function ringOfCustomer(customer: string): Keyring {
  const ring = rings[customer];
  if (!ring) throw new Error(`no ring of ${customer}`);
  return ring;
}

function idOf(name: string): SnapshotSummary {
  const id = taken[name];
  if (!id) throw new Error(`no snapshot ${name}`);
  return id;
}

const without = (keys: Keyring, ...ids: string[]): Keyring => ({
  current: keys.current,
  ring: new Map([...keys.ring].filter(([id]) => !ids.includes(id))),
});

/** How many users can be read of a snapshot, in either vault, with these keys. */
async function readable(at: 'east' | 'west', id: SnapshotSummary, keys: Keyring): Promise<number> {
  const snapshot = await openSnapshot({ vault: world.vaults[at], keys, publicKeys: world.publicKeys, id });
  let users = 0;
  for await (const record of snapshot.records()) users += record.username === '' ? 0 : 1;
  return users;
}

describe('the destruction of a customer’s keys', () => {
  for (const at of ['east', 'west'] as const) {
    it(`leaves nothing of it to be read in the vault of ${at}, and names the key`, async () => {
      const keys = ringOfCustomer(CUSTOMER);
      expect(await readable(at, idOf(CUSTOMER), keys)).toBe(10);
      await expect(readable(at, idOf(CUSTOMER), without(keys, 'k1', 'k2'))).rejects.toMatchObject({
        type: 'key-missing',
        message: expect.stringMatching(/key "k2", which is not in the ring/) as string,
      });
    });

    it(`leaves another customer whole in the vault of ${at}, whose key has the same id`, async () => {
      const keys = ringOfCustomer(OTHER);
      expect(await readable(at, idOf(OTHER), keys)).toBe(10);
      // A key of the same id is another key: the erased customer is not brought back by it.
      await expect(readable(at, idOf('old'), keys)).rejects.toMatchObject({ type: 'key-wrong' });
    });
  }

  it('of one key takes the snapshots under it, and no others', async () => {
    const left = without(ringOfCustomer(CUSTOMER), 'k1');
    await expect(readable('west', idOf('old'), left)).rejects.toMatchObject({
      type: 'key-missing',
      message: expect.stringContaining('"k1"') as string,
    });
    expect(await readable('west', idOf(CUSTOMER), left)).toBe(10);
  });

  it('closes the look-up of one user as it closes the reading of all', async () => {
    const snapshot = await openSnapshot({
      vault: world.vaults.west,
      keys: without(ringOfCustomer(CUSTOMER), 'k2'),
      publicKeys: world.publicKeys,
      id: idOf(CUSTOMER),
    });
    await expect(snapshot.record('anybody')).rejects.toMatchObject({ type: 'key-missing' });
  });

  it('leaves the manifests, which name no user: times, counts and sizes', async () => {
    const shelf = { vault: world.vaults.west, customer: CUSTOMER, site: 'east', publicKeys: world.publicKeys };
    const { snapshots } = await listSnapshots(shelf);
    expect(snapshots.map((s) => s.seq)).toEqual([2, 1]);
    const names = await world.sql('east', 'select username from users');
    const text = JSON.stringify(snapshots);
    expect(names.length).toBeGreaterThan(0);
    for (const { username } of names) expect(text).not.toContain(String(username));
  });
});
