import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { appliedSnapshot } from '../../activities/contacts/applied.ts';
import { readUnsalvaged } from '../../activities/contacts/salvaged.ts';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { followPeer } from '../../activities/services/gone-to-peer.ts';
import type { CustomerSettings } from '../../activities/settings.ts';
import { newestCovered } from '../../activities/vault/catalog.ts';
import { salvageHalves } from '../../activities/vault/salvage.ts';
import type { PeerHalf } from '../../workflows/model/opening.ts';
import type { ApplyCounts, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { copyRows, differences } from '../contacts/same.ts';
import { CUSTOMER, openWorld, quiet, type Site, type World } from './world.ts';

/**
 * East was lost under epoch 1 with changes that no snapshot has; west serves everybody under epoch 2, and its users go on. Then
 * east is back. One story: each test goes on where the one before has come to.
 */

let world: World;
let taken: SnapshotSummary;
const sites = ['east', 'west'] as const;

beforeAll(async () => {
  world = await openWorld(20);
  for (const site of sites) await world.take(site);
  for (const site of sites) await world.pull(site);
  await apply('west', { customer: CUSTOMER, site: 'east', gen: 1, seq: 1 });
  await apply('east', { customer: CUSTOMER, site: 'west', gen: 1, seq: 1 });
  // Unsent: of one whom the snapshot has, and of one who came after it.
  const [changed] = await usersOf('east');
  await contact('east', changed ?? '', 'unsent@example');
  for (const site of sites) await world.sql(site, "insert into tandem.home values ('new-at-east', 'east')");
  await contact('east', 'new-at-east', 'first@example');
  await world.sql('west', "update tandem.epoch set number = 2, site = 'west', move = 'm'");
  await world.sql('west', "update tandem.serving set site = 'west', epoch = 2");
  const [, other] = await usersOf('east');
  await contact('west', other ?? '', 'at-the-survivor@example');
  await contact('west', changed ?? '', 'also-there@example');
  await contact('west', (await usersOf('west'))[0] ?? '', 'as-ever@example');
  // East is back, and obeys.
  await world.sql('east', "update tandem.epoch set number = 2, site = 'west', move = 'm'");
  taken = await world.take('west');
  await world.pull('east');
});
afterAll(() => world.drop());

async function usersOf(half: Site): Promise<string[]> {
  const rows = await world.sql('west', 'select username from tandem.home where site = $1 order by 1', [half]);
  return rows.map(({ username }) => String(username));
}
const contact = (site: Site, username: string, jid: string) =>
  world.sql(
    site,
    `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
     values ($1, $2, '', 'B', 'N', '', 'N', '', 'item')`,
    [username, jid],
  );

async function apply(at: Site, id: Parameters<World['open']>[1]): Promise<ApplyCounts> {
  const snapshot = await world.open(at, id);
  return applyStandby({ database: world.databases[at], site: at, snapshot, keys: world.keys, ...quiet });
}
const due = () => readUnsalvaged(world.databases.east, CUSTOMER, 'east');
const applied = () => appliedSnapshot(world.databases.east, CUSTOMER, 'west');
/** As the watch of east hears it. */
async function follow(): Promise<string[]> {
  const rows = await world.sql('west', 'select * from tandem.observe()');
  const halves = rows.map(({ half, site, epoch, open }) => ({ half, site, epoch: Number(epoch), open }) as PeerHalf);
  const customer = { id: CUSTOMER, peer: 'west' } as CustomerSettings;
  return followPeer(world.databases.east, customer, { epoch: { number: 2, site: 'west', move: 'm' }, halves });
}
async function differing(): Promise<number[]> {
  const found: number[] = [];
  for (const half of sites) found.push(await differences(world, 'east', half, await copyRows(world, 'west', half)));
  return found;
}

describe('a site that came back', () => {
  it('does not follow its peer while anything is to be salvaged, and is nobody’s copy', async () => {
    expect(await follow()).toEqual([]);
    expect(await due()).toEqual([{ epoch: 1, halves: ['east'] }]);
    expect(await world.sql('east', 'select half, site from tandem.serving order by half')).toEqual([
      { half: 'east', site: 'east' },
      { half: 'west', site: 'west' },
    ]);
  });

  it('is not taken for a copy of the whole while it does not know who serves its users', async () => {
    const before = await copyRows(world, 'east', 'east');
    await salvageHalves({
      vault: world.vaults.east,
      database: world.databases.east,
      customer: CUSTOMER,
      site: 'east',
      keys: world.keys,
      signingKey: world.signingKeys.east,
      publicKeys: world.publicKeys,
      maxAgeMs: 60_000,
      restored: () => Promise.resolve(null),
      ...quiet,
    });
    expect(await apply('east', taken)).toMatchObject({ users: 10, held: 11 });
    expect(await differences(world, 'east', 'east', before)).toBe(0);
    expect(await applied()).toMatchObject({ seq: 1 });
    // It is offered again.
    expect(await world.pull('east')).toMatchObject({ unverified: { seq: taken.seq } });
    await world.verify('east', taken);
    expect(await world.pull('east')).toMatchObject({ unapplied: { seq: taken.seq } });
  });

  it('follows it once that is done, by its word, once; nothing becomes due by it', async () => {
    expect(await follow()).toEqual(['east']);
    expect(await follow()).toEqual([]);
    expect(await due()).toEqual([]);
    expect(await world.sql('east', 'select half, site, epoch::int from tandem.serving order by half')).toEqual([
      { half: 'east', site: 'west', epoch: 2 },
      { half: 'west', site: 'west', epoch: 1 },
    ]);
    expect(await world.sql('east', 'select from tandem.home where tandem.may_serve(username)')).toHaveLength(0);
    expect(await world.sql('east', 'select half, epoch::int, released_at from tandem.salvage')).toEqual([
      { half: 'east', epoch: 1, released_at: null },
    ]);
  });

  it('holds everybody as the survivor has him; what it alone had is kept aside as well', async () => {
    expect(await differing()).not.toEqual([0, 0]);
    expect(await apply('east', taken)).toMatchObject({ users: 21, held: 0, conflicts: 2 });
    expect(await differing()).toEqual([0, 0]);
    expect(await applied()).toMatchObject({ seq: taken.seq, manifest: taken.manifest });
    expect(await world.sql('east', 'select served_by, count(*)::int as users from tandem.ledger group by 1')).toEqual([
      { served_by: 'west', users: 21 },
    ]);
    expect(await world.sql('east', 'select username from tandem.conflict order by 1')).toEqual([
      { username: 'new-at-east' },
      { username: (await usersOf('east')).find((name) => name !== 'new-at-east') },
    ]);
    const shelf = { vault: world.vaults.east, customer: CUSTOMER, site: 'west', publicKeys: world.publicKeys };
    expect(await newestCovered(shelf, 'east')).toMatchObject({ summary: { seq: taken.seq, counts: { users: 21 } } });
    expect(await world.pull('east')).toMatchObject({ unverified: null, unapplied: null });
  });

  it('takes no word of its peer for newer than what was handed over to it since', async () => {
    await world.sql('west', "update tandem.epoch set number = 3, site = 'west', move = 'n'");
    const handed = await world.sql(
      'east',
      `select outcome from tandem.hand_over('${CUSTOMER}', 'east', 3, 'west', 'n')`,
    );
    expect(handed).toEqual([{ outcome: 'open' }]);
    const stale = {
      epoch: { number: 3, site: 'west', move: 'n' },
      halves: [{ half: 'east', site: 'west', epoch: 3, open: true }],
    };
    const customer = { id: CUSTOMER, peer: 'west' } as CustomerSettings;
    expect(await followPeer(world.databases.east, customer, stale)).toEqual([]);
    expect(await world.sql('east', 'select from tandem.home where tandem.may_serve(username)')).toHaveLength(11);
  });

  it('is copied by the survivor in its turn, without a conflict, also after that took a snapshot without its users', async () => {
    await world.sql('west', "update tandem.serving set site = 'east', epoch = 3 where half = 'east'");
    await world.sql('west', "update tandem.serving set epoch = 3 where half = 'west'");
    await world.sql('west', "update tandem.salvage set manifest = 'm'");
    expect(await world.take('west')).toMatchObject({ counts: { users: 10 } });
    const changed = (await usersOf('east')).at(-1);
    await contact('east', changed ?? '', 'home-again@example');
    const home = await world.take('east');
    await world.pull('west');
    expect(await apply('west', home)).toMatchObject({ users: 11, written: 1, conflicts: 0, held: 0 });
    expect(await differences(world, 'west', 'east', await copyRows(world, 'east', 'east'))).toBe(0);
    expect(
      await world.sql('west', 'select served_by, count(*)::int as users from tandem.ledger group by 1 order by 1'),
    ).toEqual([
      { served_by: 'east', users: 11 },
      { served_by: 'west', users: 10 },
    ]);
  });
});
