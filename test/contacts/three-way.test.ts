import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ConflictRule } from '../../workflows/model/planned-move.ts';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { liveSurvivor, snapshotSurvivor } from '../../activities/contacts/survivors.ts';
import {
  countMerge,
  diffThreeWays,
  noThreeWayCounts,
  type Survivor,
  type UserMerge,
} from '../../activities/contacts/three-way.ts';
import { differencesByTaken } from '../../activities/contacts/taken-differences.ts';
import { openSalvage } from '../../activities/vault/open-salvage.ts';
import { salvageHalves } from '../../activities/vault/salvage.ts';
import type { OpenRecords, OpenSnapshot } from '../../activities/vault/open.ts';
import type { SnapshotIndex } from '../../activities/vault/snapshot-index.ts';
import { CUSTOMER, openWorld, quiet, ringOf, type World } from '../vault/world.ts';

/** East's users were restored at west from its snapshot; since then west has changed some, and east had, before it was lost. */

let world: World;
let base: OpenSnapshot;
let names: string[];
beforeEach(async () => {
  world = await openWorld(40);
  base = await world.open('east', await world.take('east'));
  const copy = { database: world.databases.west, site: 'west', snapshot: base, keys: world.keys, ...quiet };
  await applyStandby(copy);
  await world.sql('west', "update tandem.epoch set number = 2, site = 'west', move = 'm'");
  await world.sql('west', "update tandem.serving set site = 'west', epoch = 2");
  const rows = await world.sql('west', "select username from tandem.home where site = 'east' order by 1");
  names = rows.map((r) => String(r['username']));
});
afterEach(() => world.drop());

const add = (site: 'east' | 'west', username: string | undefined, jid: string) =>
  world.sql(
    site,
    `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
     values ($1, $2, '', 'B', 'N', '', 'N', '', 'item')`,
    [username, jid],
  );

async function salvaged() {
  await world.sql('east', "update tandem.epoch set number = 2, site = 'west', move = 'm'");
  const { keys, publicKeys } = world;
  const request = { vault: world.vaults.east, customer: CUSTOMER, site: 'east', keys, publicKeys };
  const database = world.databases.east;
  const restored = () => Promise.resolve(null);
  await salvageHalves({
    ...request,
    database,
    signingKey: world.signingKeys.east,
    maxAgeMs: 60_000,
    restored,
    ...quiet,
  });
  return openSalvage({ ...request, vault: world.readers.east }, 1);
}

const live = (index: SnapshotIndex): Promise<Survivor> =>
  liveSurvivor({ database: world.databases.west, keys: world.keys, halves: ['east'], signal: quiet.signal }, index);

async function diff(
  salvage: OpenRecords | null,
  survivor: (index: SnapshotIndex) => Promise<Survivor> = live,
  rule: ConflictRule = 'survivor',
): Promise<{ users: Map<string, UserMerge>; read: string[] }> {
  const users = new Map<string, UserMerge>();
  const read: string[] = [];
  const noting = async (index: SnapshotIndex): Promise<Survivor> => {
    const found = await survivor(index);
    return { ...found, read: (of) => (read.push(...of), found.read(of)) };
  };
  for await (const user of diffThreeWays({ base, salvage, survivor: noting, rule, ...quiet })) {
    expect(users.has(user.username)).toBe(false);
    users.set(user.username, user);
  }
  return { users, read };
}
const jids = (user: UserMerge | undefined) => user?.rows?.contacts.map(([jid]) => jid) ?? [];
const why = (user: UserMerge | undefined) => user?.differences.map((d) => d.why);

describe('three versions of all users', () => {
  it('of whom nobody was changed are no difference, and no user is read', async () => {
    expect(await diff(await salvaged())).toEqual({ users: new Map(), read: [] });
  });

  it('are told apart where they differ, and only those users are read', async () => {
    const [one, two, three, four] = names;
    await add('west', one, 'west@example');
    await add('east', two, 'east@example');
    await add('west', three, 'west@example');
    await add('east', three, 'east@example');
    await add('west', four, 'both@example');
    await add('east', four, 'both@example');
    const { users, read } = await diff(await salvaged());
    expect(read.toSorted()).toEqual([one, two, three, four]);
    expect([...users.keys()].toSorted()).toEqual([one, two, three, four]);
    expect(names.slice(0, 4).map((name) => users.get(name)?.changes)).toEqual([false, true, true, false]);
    expect(jids(users.get(String(two)))).toContain('east@example');
    expect(jids(users.get(String(three)))).toEqual(expect.arrayContaining(['east@example', 'west@example']));
    expect(why(users.get(String(four)))).toEqual(['alike']);
    const counts = noThreeWayCounts();
    for (const user of users.values()) countMerge(counts, user);
    expect(counts).toMatchObject({ users: 4, changes: 2, byReason: { 'one-sided': 3, alike: 1, conflict: 0 } });
  });

  it('know who is new on either side, who is gone, and whom the disk does not know', async () => {
    const [gone, unknown] = names;
    await world.sql('west', 'delete from tandem.home where username = $1', [gone]);
    await world.sql('east', 'delete from tandem.home where username = $1', [unknown]);
    await add('west', unknown, 'west@example');
    for (const site of ['east', 'west'] as const) {
      await world.sql(site, "insert into tandem.home values ($1, 'east')", [`new-at-${site}`]);
      await add(site, `new-at-${site}`, 'friend@example');
      await world.sql(site, "insert into tandem.home values ('new-at-both', 'east')");
      await add(site, 'new-at-both', `${site}@example`);
    }
    const { users } = await diff(await salvaged());
    expect(users.get(String(gone))).toMatchObject({ rows: null });
    expect(why(users.get(String(gone)))).toEqual(['gone']);
    expect(why(users.get(String(unknown)))).toEqual(['not-salvaged']);
    expect(jids(users.get(String(unknown)))).toContain('west@example');
    expect(jids(users.get('new-at-east'))).toEqual(['friend@example']);
    expect(jids(users.get('new-at-west'))).toEqual(['friend@example']);
    expect(jids(users.get('new-at-both'))).toEqual(['east@example', 'west@example']);
    expect(users.size).toBe(5);
  });

  it('are the same by a fresh snapshot of the survivor as by his database, also under another key', async () => {
    const [one, two] = names;
    await add('west', one, 'west@example');
    await add('east', one, 'east@example');
    await add('east', two, 'east@example');
    await world.sql('west', "insert into tandem.home values ('new-at-west', 'east')");
    await add('west', 'new-at-west', 'friend@example');
    const salvage = await salvaged();
    const told = async (survivor?: (index: SnapshotIndex) => Promise<Survivor>) =>
      [...(await diff(salvage, survivor)).users.values()]
        .map(({ username, differences, changes }) => ({ username, differences, changes }))
        .toSorted((a, b) => a.username.localeCompare(b.username));
    const byDatabase = await told();
    expect(byDatabase.map(({ username }) => username)).toEqual(expect.arrayContaining([one, two, 'new-at-west']));
    // It has the users of both halves; those of west are nobody's here.
    const ring = ringOf('k2');
    const keys = { current: 'k2', ring: new Map([...world.keys.ring, ...ring.ring]) };
    for (const by of [world.keys, keys]) {
      const snapshot = await world.open('west', await world.take('west', { keys: by }), by);
      const found = await told((index) => snapshotSurvivor(snapshot, index, [...names, 'new-at-west', 'unknown']));
      expect(found).toEqual(byDatabase);
    }
  });

  it('without a salvage tell what the survivor has changed', async () => {
    await add('west', names[0], 'west@example');
    const { users } = await diff(null);
    expect([...users.values()].map((user) => [user.username, user.changes, why(user)])).toEqual([
      [names[0], false, ['not-salvaged']],
    ]);
  });
});

describe('once the survivor has a snapshot of its own', () => {
  const own = { customer: CUSTOMER, site: 'west' };
  const here = (halves: string[]) => ({ database: world.databases.west, keys: world.keys, halves, own, ...quiet });
  const byTaken = (index: SnapshotIndex): Promise<Survivor> => liveSurvivor(here(['east']), index);
  const told = async (halves: string[]) =>
    differencesByTaken({ ...here(halves), index: await base.index(), unknown: () => undefined });

  it.each([
    ['by the digests of all', live],
    ['by rows that are new since', byTaken],
  ])('no user is read, %s, of whom nobody has changed anything', async (_, survivor) => {
    await world.take('west');
    expect(await diff(await salvaged(), survivor)).toEqual({ users: new Map(), read: [] });
  });

  it('users who changed before it and since are found, those who lost rows too, and nobody else is read', async () => {
    const [before, since, both, less, gone] = names;
    await add('west', before, 'before@example');
    await add('west', both, 'before@example');
    await world.take('west');
    await add('west', since, 'since@example');
    await add('west', both, 'since@example');
    await world.sql('west', 'delete from rosterusers where username = $1', [less]);
    await world.sql('west', 'delete from tandem.home where username = $1', [gone]);
    await world.sql('west', "insert into tandem.home (username, site) values ('zz-new', 'east')");
    const salvage = await salvaged();
    const digested = await diff(salvage);
    expect(new Set(digested.read)).toEqual(new Set([before, since, both, less, gone, 'zz-new']));
    const plainly = (users: Map<string, UserMerge>) =>
      [...users].map(([name, user]) => [name, { ...user, again: null }]);
    // Somebody whom the snapshot has is served no more: the ledger is not gone by.
    expect(await told(['east'])).toBeNull();
    await world.take('west');
    await world.sql('west', 'update rosterusers set nick = nick || $2 where username = $1', [since, 'x']);
    expect(await told(['east'])).not.toBeNull();
    const [one, other] = [await diff(salvage), await diff(salvage, byTaken)];
    expect(plainly(other.users)).toEqual(plainly(one.users));
    expect(other.read.toSorted()).toEqual(one.read.toSorted());
  });

  it('its ledger is not gone by for users who are not served there', async () => {
    await world.take('west');
    expect(await told(['east', 'west'])).not.toBeNull();
    await world.sql('west', "update tandem.serving set site = 'east' where half = 'east'");
    expect(await told(['east'])).toBeNull();
  });
});
