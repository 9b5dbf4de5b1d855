import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { checkEffect } from '../../activities/services/check.ts';
import { fenceSite } from '../../activities/services/fence.ts';
import { openSource } from '../../activities/services/give-back.ts';
import { takeHandedOver } from '../../activities/services/handed-over.ts';
import { askPeerRights } from '../../activities/services/peer-rights.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import { readClaims } from '../../activities/vault/epochs.ts';
import { scratchDatabase, type Site } from '../rig/databases.ts';
import { sql } from '../rig/sql.ts';
import { CUSTOMER, eastAt, kindOf, makeWorld, startMove, step, type World } from './world.ts';

/** Back before anybody was served: the source gets its users back, and nothing of the move lands any more. */

let world: World;
let move: string;
beforeEach(async () => {
  world = await makeWorld();
  move = await startMove(world);
  await world.eastDb.query("select * from tandem.fence('contoso', 2, 'west', $1)", [move]);
  await advanceEpoch(world.west, step('advance-epoch', move, 2));
});
afterEach(() => world.close());

const at = (site: Site) => (site === 'east' ? world.eastDb : world.westDb);
const served = async (site: Site): Promise<string[]> =>
  (
    await at(site).query<{ username: string }>(
      'select username from tandem.home where tandem.may_serve(username) order by 1',
    )
  ).map(({ username }) => username);
const EAST = ['e1', 'e2', 'e3'];
const WEST = ['w1', 'w2'];
const back = (round = 0) => step('open-site', move, 2, undefined, round);
const signal = new AbortController().signal;

describe('open-site never', () => {
  it('opens the source once its users are served here', async () => {
    await fenceSite(world.west, step('fence-site', move, 2));
    await serveUsers(world.west, step('serve-users', move, 2));
    expect(await kindOf(openSource(world.west, back()))).toBe('already-served');
    expect(await served('east')).toEqual([]);
    expect(await served('west')).toEqual([...EAST, ...WEST]);
  });

  it('leaves both sites with a right to the same users, whatever becomes of it in the middle', async () => {
    const away = world.westWith(eastAt(world, '127.0.0.1:1'));
    expect(await kindOf(openSource(away, back()))).toBe('source-unreachable');
    expect(await served('east')).toEqual([]);
    // An attempt of the failover that wakes up now finds that its epoch is over.
    expect(await kindOf(serveUsers(world.west, step('serve-users', move, 2)))).toBe('epoch-superseded');
    expect(await kindOf(fenceSite(world.west, step('fence-site', move, 2)))).toBe('epoch-superseded');
    expect(await served('west')).toEqual(WEST);
    await openSource(world.west, back(1));
    expect(await served('east')).toEqual(EAST);
    expect(await served('west')).toEqual(WEST);
  });

  it('goes over the head of a newer move, at either site', async () => {
    await world.eastDb.query("update tandem.epoch set number = 7, move = 'another'");
    expect(await kindOf(openSource(world.west, back()))).toBe('epoch-superseded');
    expect(await served('east')).toEqual([]);
    await world.eastDb.query('update tandem.epoch set number = 1');
    for (const number of [2, 4]) {
      await world.westDb.query(`update tandem.epoch set number = ${number}, move = 'another'`);
      expect(await kindOf(openSource(world.west, back(1)))).toBe('epoch-superseded');
    }
    expect(await world.westDb.query("select epoch::int from tandem.serving where half = 'east'")).not.toContainEqual({
      epoch: 5,
    });
  });

  it('is taken from whoever is not the peer, nor opens what is another customer’s', async () => {
    const other = await scratchDatabase('east');
    try {
      expect(
        await world.eastDb.query("select outcome from tandem.hand_over('another', 'east', 9, 'west', 'm')"),
      ).toEqual([{ outcome: 'unknown-customer' }]);
      const rights = await world.eastDb.query<{ what: string; who: string[] }>(
        `select routine_name as what, array_agg(distinct grantee::text order by grantee::text) as who
           from information_schema.routine_privileges
          where routine_schema = 'tandem' and routine_name in ('hand_over', 'release_salvages', 'observe_applied', 'observe_salvage')
          group by 1 order by 1`,
      );
      const who = ['tandem', 'tandem_peer'];
      const whats = ['hand_over', 'observe_applied', 'observe_salvage', 'release_salvages'];
      expect(rights).toEqual(whats.map((what) => ({ what, who })));
      await expect(sql(other.peerUrl, "select tandem.hand_over('contoso', 'east', 9, 'west', 'm')")).rejects.toThrow();
    } finally {
      await other.drop();
    }
  });
});

describe('open-site', () => {
  it('gives the source its users back under a further epoch, claimed in every store, once', async () => {
    expect(await checkEffect(world.west, back(), signal)).toMatchObject({ seen: false });
    const first = await openSource(world.west, back());
    expect(first.summary).toBe('east serves users of east again under epoch 3');
    expect(await openSource(world.west, back())).toEqual(first);
    expect(await openSource(world.west, back(1))).toMatchObject({ facts: { epoch: 3 } });
    expect(await served('east')).toEqual(EAST);
    expect(await served('west')).toEqual(WEST);
    const { publicKeys } = world.settings;
    const { newest } = await readClaims(world.west.vault, CUSTOMER, { publicKeys, signal });
    expect(newest).toMatchObject({ number: 3, site: 'west', move });
    expect(await checkEffect(world.west, back(), signal)).toMatchObject({
      seen: true,
      summary: 'east serves users of east under epoch 3',
    });
  });

  it('opens a source that was never reached by the fence as well', async () => {
    await world.eastDb.query("update tandem.epoch set number = 1, site = '-', move = 'provisioned'");
    await openSource(world.west, back());
    expect(await served('east')).toEqual(EAST);
    // And knows who serves the other half: what its users send there finds its way.
    expect(await world.eastDb.query('select site, epoch::int from tandem.serving order by half')).toEqual([
      { site: 'east', epoch: 3 },
      { site: 'west', epoch: 3 },
    ]);
  });
});

describe('a source that could not be told', () => {
  const heard = (change: Partial<{ number: number; site: string; rows: Site }> = {}) => {
    const { number = 3, site = 'west', rows = 'east' } = change;
    const half = { half: 'east', site: rows, epoch: 3, open: false };
    return { epoch: { number, site, move }, halves: [half, { half: 'west', site: 'west', epoch: 3, open: true }] };
  };
  const east = () => ({ ...world.customer, peer: 'west' });
  const obeys = () => world.eastDb.query("update tandem.epoch set number = 3, site = 'west', move = $1", [move]);

  it('takes nothing under an epoch that it does not hold, of a claim of its own, or that is another’s', async () => {
    expect(await takeHandedOver(world.eastDb, east(), heard())).toEqual([]);
    await obeys();
    expect(await takeHandedOver(world.eastDb, east(), heard({ number: 4 }))).toEqual([]);
    expect(await takeHandedOver(world.eastDb, east(), heard({ site: 'east' }))).toEqual([]);
    expect(await takeHandedOver(world.eastDb, east(), heard({ rows: 'west' }))).toEqual([]);
    expect(await served('east')).toEqual([]);
  });

  it('takes its users as soon as it reads that they are its own again, once', async () => {
    const away = world.westWith(eastAt(world, '127.0.0.1:1'));
    expect(await kindOf(openSource(away, back()))).toBe('source-unreachable');
    await obeys();
    const rights = await askPeerRights({ ...east(), peerDatabaseUrl: world.customer.databaseUrl }, world.eastDb);
    if (rights.state !== 'says') throw new Error(`the peer is ${rights.state}`);
    expect(await takeHandedOver(world.eastDb, east(), rights)).toEqual(['east']);
    expect(await takeHandedOver(world.eastDb, east(), rights)).toEqual([]);
    expect(await served('east')).toEqual(EAST);
    expect(await served('west')).toEqual(WEST);
  });
});
