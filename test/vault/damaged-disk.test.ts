import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readUnsalvaged } from '../../activities/contacts/salvaged.ts';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { liveSurvivor } from '../../activities/contacts/survivors.ts';
import { diffThreeWays, type UserMerge } from '../../activities/contacts/three-way.ts';
import { openSalvage } from '../../activities/vault/open-salvage.ts';
import { salvageHalves } from '../../activities/vault/salvage.ts';
import type { OpenSnapshot } from '../../activities/vault/open.ts';
import type { SalvageSummary } from '../../workflows/model/snapshots.ts';
import { damagePages } from '../rig/damage-disk.ts';
import { usersOf } from '../walk/look.ts';
import { CUSTOMER, openWorld, quiet, type World } from './world.ts';

/** East was lost under epoch 1, west serves its users under epoch 2, and east is back: its disk has suffered. */

let world: World;
let base: OpenSnapshot;
let first: string;
beforeEach(async () => {
  world = await openWorld(24);
  base = await world.open('east', await world.take('east'));
  await applyStandby({ database: world.databases.west, site: 'west', snapshot: base, keys: world.keys, ...quiet });
  const [row] = await world.sql('east', "select min(username) as name from tandem.home where site = 'east'");
  first = String(row?.['name']);
  // What no snapshot has lies on the last page.
  await world.sql(
    'east',
    `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
     values ($1, 'unsent@example', '', 'B', 'N', '', 'N', '', 'item')`,
    [first],
  );
  for (const site of ['east', 'west'] as const)
    await world.sql(site, "update tandem.epoch set number = 2, site = 'west', move = 'm'");
  await world.sql('west', "update tandem.serving set site = 'west', epoch = 2");
});
afterEach(() => world.drop());

const shelf = () => ({
  vault: world.vaults.east,
  customer: CUSTOMER,
  site: 'east',
  keys: world.keys,
  publicKeys: world.publicKeys,
});
const salvage = (): Promise<SalvageSummary[]> =>
  salvageHalves({
    ...shelf(),
    database: world.databases.east,
    signingKey: world.signingKeys.east,
    maxAgeMs: 60_000,
    restored: () => Promise.resolve(null),
    ...quiet,
  });
const damage = (table: string, pages: number[]): Promise<number> => damagePages('east', world.urls.east, table, pages);
async function stored(): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of world.vaults.east.list('')) found.push(key);
  return found;
}
async function merges(): Promise<UserMerge[]> {
  const opened = await openSalvage({ ...shelf(), vault: world.readers.east }, 1);
  const { databases, keys } = world;
  const found: UserMerge[] = [];
  const survivor = (index: Parameters<typeof liveSurvivor>[1]) =>
    liveSurvivor({ database: databases.west, keys, halves: ['east'], signal: quiet.signal }, index);
  const suspect = opened.salvage.suspect !== null;
  for await (const one of diffThreeWays({ base, salvage: opened, suspect, survivor, rule: 'home', ...quiet }))
    found.push(one);
  return found;
}

describe('of a disk that cannot read some of its pages', () => {
  it('what can be read is salvaged, and what cannot was removed by nobody', async () => {
    const before = await usersOf(world.urls.west);
    const pages = await damage('rosterusers', [0, 2]);
    expect(pages).toBeGreaterThan(4);
    await damage('privacy_list', [0]);
    await damage('rostergroups', [0]);
    const [done] = await salvage();
    expect(done).toMatchObject({ counts: { users: 12 }, halves: ['east'] });
    expect(done?.suspect).toMatch(
      new RegExp(
        `^its disk is damaged: 2 of ${pages} pages of rosterusers, 1 of \\d+ pages of rostergroups, 1 of 1 pages of privacy_list cannot be read$`,
      ),
    );
    const found = await merges();
    // One has a word; of the others the disk lacks rows, and nothing follows from that, by any rule.
    expect(found.filter(({ changes }) => changes).map(({ username }) => username)).toEqual([first]);
    expect(found.flatMap(({ differences }) => differences.map(({ key }) => key.join()))).toEqual(['unsent@example']);
    expect(await usersOf(world.urls.west)).toEqual(before);
    expect(await readUnsalvaged(world.databases.east, CUSTOMER, 'east')).toEqual([]);
  });

  it('no snapshot is taken, nothing is stored, and the error names the place and what to do', async () => {
    await world.sql('east', "update tandem.epoch set number = 1, site = '-', move = '-'");
    await world.sql('east', "update tandem.serving set epoch = 1 where half = 'east'");
    await damage('rosterusers', [1]);
    const before = await stored();
    await expect(world.take('east')).rejects.toMatchObject({
      type: 'database-damaged',
      nonRetryable: false,
      message: expect.stringMatching(/^database of acme at east: invalid page in block 1 of relation/) as string,
      details: [{ try: expect.stringContaining('never have it zero damaged pages') as string }],
    });
    expect(await stored()).toEqual(before);
  });
});

it('a disk that cannot tell whose users these are is not salvaged at all: they stay due, and nothing is stored', async () => {
  const before = await stored();
  await damage('tandem.home', [0]);
  await expect(salvage()).rejects.toMatchObject({
    type: 'database-damaged',
    message: expect.stringMatching(/^database of acme at east: invalid page in block 0 of relation/) as string,
  });
  expect(await stored()).toEqual(before);
  expect(await readUnsalvaged(world.databases.east, CUSTOMER, 'east')).toEqual([{ epoch: 1, halves: ['east'] }]);
});
