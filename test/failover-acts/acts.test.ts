import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { OBSERVER_LIMIT_MS } from '../../activities/probes/observers.ts';
import { fenceSite } from '../../activities/services/fence.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import { chainFault, readJournal, type JournalLine } from '../../activities/journal/chain.ts';
import { claimEpoch } from '../../activities/vault/epochs.ts';
import type { Isolation } from '../../workflows/model/plan.ts';
import { blackHole, type BlackHole } from '../rig/black-holes.ts';
import { CUSTOMER, eastAt, isolated, kindOf, makeWorld, startMove, step, type World } from './world.ts';

let world: World;
let hole: BlackHole;
let move: string;
beforeAll(async () => {
  hole = await blackHole();
});
afterAll(() => hole.close());
beforeEach(async () => {
  world = await makeWorld();
  move = await startMove(world);
});
afterEach(() => world.close());

const closeEast = (): Promise<unknown> => world.eastDb.query('update tandem.serving set epoch = 0');
const epochAt = async (site: 'east' | 'west'): Promise<unknown> =>
  (await world[`${site}Db`].query('select number::int, site, move from tandem.epoch'))[0];
const served = async (site: 'east' | 'west', user: string): Promise<unknown> =>
  (await world[`${site}Db`].query<{ yes: boolean }>('select tandem.may_serve($1) as yes', [user]))[0]?.yes;
const lines = (): Promise<JournalLine[]> => world.westDb.connection((c) => readJournal(c, move));
const setEpoch = (number: number, by: string): Promise<unknown> =>
  world.westDb.query("update tandem.epoch set number = $1, site = 'west', move = $2", [number, by]);
const claims = async (): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { key } of world.west.vault.list(`${CUSTOMER}/epochs/`)) keys.push(key);
  return keys;
};

describe('advance-epoch never', () => {
  it.each([
    ['an older epoch', 3, 'another'],
    ['the same number of another move', 2, 'another'],
  ])('takes %s, nor burns its number in the vault', async (_, number, by) => {
    await closeEast();
    await setEpoch(number, by);
    expect(await kindOf(advanceEpoch(world.west, step('advance-epoch', move, 2)))).toBe('epoch-superseded');
    expect(await epochAt('west')).toEqual({ number, site: 'west', move: by });
    expect(await claims()).toEqual([]);
    expect(await lines()).toEqual([]);
  });

  it('takes a number that another move has claimed in the vault', async () => {
    await closeEast();
    await claimEpoch(world.west.vault, world.settings, CUSTOMER, { number: 2, site: 'west', move: 'another' });
    expect(await kindOf(advanceEpoch(world.west, step('advance-epoch', move, 2)))).toBe('epoch-taken');
    expect(await epochAt('west')).toMatchObject({ number: 1 });
  });

  it('goes on when the source holds a newer one, or the same of another move', async () => {
    await world.eastDb.query("update tandem.epoch set number = 2, site = 'east', move = 'theirs'");
    expect(await kindOf(advanceEpoch(world.west, step('advance-epoch', move, 2)))).toBe('epoch-taken');
    await world.eastDb.query("update tandem.epoch set number = 5, site = 'east', move = 'theirs'");
    expect(await kindOf(advanceEpoch(world.west, step('advance-epoch', move, 2)))).toBe('epoch-superseded');
  });

  it('goes on when the source serves, although the plan says otherwise', async () => {
    expect(await kindOf(advanceEpoch(world.west, step('advance-epoch', move, 2)))).toBe('world-worse');
    expect(await claims()).toEqual([]);
    expect(await epochAt('west')).toMatchObject({ number: 1 });
  });

  it('goes on when only a machine vouched for the isolation, and can no longer be reached', async () => {
    const byMachine: Isolation = {
      verdict: 'unknown',
      observers: [{ name: 'database', saw: 'closed' }],
      statement: null,
    };
    const silent = world.westWith(eastAt(world, `127.0.0.1:${hole.port}`));
    expect(await kindOf(advanceEpoch(silent, step('advance-epoch', move, 2, byMachine)))).toBe('world-worse');
  });

  it('opens again what an earlier move has closed here', async () => {
    await closeEast();
    await setEpoch(2, 'theirs'); // West's own half stays behind at epoch 1: closed.
    await advanceEpoch(world.west, step('advance-epoch', move, 3));
    expect(await served('west', 'w1')).toBe(false);
  });
});

describe('advance-epoch', () => {
  it('claims the epoch in vault and database, and keeps its own half open', async () => {
    await closeEast();
    const first = await advanceEpoch(world.west, step('advance-epoch', move, 2));
    expect(first.facts).toEqual({ epoch: 2, before: 1, keptOpen: 1, claimedIn: 'database, vault' });
    expect(await claims()).toEqual([`${CUSTOMER}/epochs/2.json`]);
    expect(await epochAt('west')).toEqual({ number: 2, site: 'west', move });
    expect([await served('west', 'w1'), await served('west', 'e1')]).toEqual([true, false]);
  });

  it('is done once: a repeat answers the same, also when the source has come back meanwhile', async () => {
    await closeEast();
    const first = await advanceEpoch(world.west, step('advance-epoch', move, 2));
    await world.eastDb.query('update tandem.serving set epoch = 1');
    expect(await advanceEpoch(world.west, step('advance-epoch', move, 2))).toEqual(first);
    expect(await lines()).toHaveLength(1);
  });

  it('goes on from a claim whose attempt died before the database', async () => {
    await closeEast();
    await claimEpoch(world.west.vault, world.settings, CUSTOMER, { number: 2, site: 'west', move });
    expect((await advanceEpoch(world.west, step('advance-epoch', move, 2))).facts['epoch']).toBe(2);
  });

  it('waits no longer than the observers when every connection to the source hangs', async () => {
    const silent = world.westWith(eastAt(world, `127.0.0.1:${hole.port}`));
    const start = performance.now();
    await advanceEpoch(silent, step('advance-epoch', move, 2));
    // All at once: one after the other would take twice the limit of one.
    expect(performance.now() - start).toBeLessThan(2 * OBSERVER_LIMIT_MS);
  });
});

describe('fence-site', () => {
  it('never reaches the source with the step of an old move', async () => {
    await setEpoch(3, 'another');
    expect(await kindOf(fenceSite(world.west, step('fence-site', move, 2)))).toBe('epoch-superseded');
    expect(await epochAt('east')).toMatchObject({ number: 1 });
    expect(await served('east', 'e1')).toBe(true);
  });

  it('never goes on when the source refuses: it holds a newer epoch', async () => {
    await setEpoch(2, move);
    await world.eastDb.query('update tandem.epoch set number = 7');
    expect(await kindOf(fenceSite(world.west, step('fence-site', move, 2)))).toBe('epoch-superseded');
    expect(await lines()).toEqual([]);
  });

  it('never takes silence for isolation', async () => {
    await setEpoch(2, move);
    const silent = world.westWith(eastAt(world, `127.0.0.1:${hole.port}`));
    const start = performance.now();
    const nobody = { ...isolated, statement: null };
    expect(await kindOf(fenceSite(silent, step('fence-site', move, 2, nobody)))).toBe('isolation-unknown');
    expect(performance.now() - start).toBeLessThan(6500);
    expect((await fenceSite(silent, step('fence-site', move, 2))).facts).toEqual({ confirmedBy: 'statement' });
  });

  it('closes the source, and names what confirmed it; a repeat answers the same', async () => {
    await setEpoch(2, move);
    const first = await fenceSite(world.west, step('fence-site', move, 2));
    expect(first.facts).toEqual({ confirmedBy: 'database' });
    expect(await epochAt('east')).toEqual({ number: 2, site: 'west', move });
    expect(await served('east', 'e1')).toBe(false);
    expect(await fenceSite(world.west, step('fence-site', move, 2))).toEqual(first);
    expect(await lines()).toHaveLength(1);
  });
});

describe('serve-users', () => {
  it.each([
    ['older than the one held', 3, 'another'],
    ['of the same number, of another move', 2, 'another'],
    ['not yet claimed', 1, 'provisioned'],
  ])('never serves anybody under an epoch %s', async (_, number, by) => {
    await setEpoch(number, by);
    expect(await kindOf(serveUsers(world.west, step('serve-users', move, 2)))).toBe('epoch-superseded');
    expect(await served('west', 'e1')).toBe(false);
    expect(await lines()).toEqual([]);
  });

  it('never overwrites a right to serve of a newer epoch', async () => {
    await setEpoch(2, move);
    await world.westDb.query("update tandem.serving set epoch = 9 where half = 'east'");
    expect(await kindOf(serveUsers(world.west, step('serve-users', move, 2)))).toBe('epoch-superseded');
  });

  it('serves the lost half, once: two attempts at once and a late one tell the same time', async () => {
    await setEpoch(2, move);
    const input = step('serve-users', move, 2);
    const both = await Promise.all([serveUsers(world.west, input), serveUsers(world.west, input)]);
    const late = await serveUsers(world.west, input);
    expect(both[0]).toEqual(both[1]);
    expect(late).toEqual(both[0]);
    expect(late.facts).toMatchObject({ half: 'east', users: 3, epoch: 2 });
    expect(await served('west', 'e1')).toBe(true);
    const written = await lines();
    expect(written).toHaveLength(1);
    expect(chainFault({ customer: CUSTOMER, move }, written)).toBeNull();
  });

  it('waits for an epoch that is being advanced, and is then refused', async () => {
    await setEpoch(2, move);
    let serving: Promise<string> | undefined;
    await world.westDb.transaction(async (client) => {
      await client.query("update tandem.epoch set number = 3, move = 'newer'");
      serving = kindOf(serveUsers(world.west, step('serve-users', move, 2)));
      await new Promise((r) => setTimeout(r, 200));
    });
    expect(await serving).toBe('epoch-superseded');
    expect(await served('west', 'e1')).toBe(false);
  });
});
