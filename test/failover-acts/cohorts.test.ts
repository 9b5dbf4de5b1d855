import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { adoptCohorts } from '../../activities/services/adopt-cohorts.ts';
import { cohortsAt, setCohort, whyApart } from '../../activities/services/cohorts.ts';
import { drainSessions } from '../../activities/services/drain.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { openSource } from '../../activities/services/give-back.ts';
import { takeHandedOver } from '../../activities/services/handed-over.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { usersOfFile, usersOfShare } from '../../ops/cohort-users.ts';
import type { Act } from '../../workflows/model/acts.ts';
import type { PlannedMove } from '../../workflows/model/planned-move.ts';
import { copyNow, eastSite, plannedStep, quietWest, rowsAt, servedAt, servedTwice } from './planned-world.ts';
import { CUSTOMER, endMove, kindOf, makeWorld, startMove, step, type World } from './world.ts';

/** Cohorts: some users of a half move on their own. Whoever they are, one site serves them, and both sites agree who they are. */

const PILOT = 'west/pilot';
const EAST = ['e1', 'e2', 'e3'];
const ofPilot: PlannedMove = { half: PILOT, keeps: ['east'], servedAt: ['east', 'west'], reconcile: null };
const ofWest: PlannedMove = { half: 'west', keeps: ['east'], servedAt: ['east'], reconcile: null };

let world: World;
let west: OwnSite;
beforeEach(async () => {
  world = await makeWorld();
  west = quietWest(world);
});
afterEach(() => world.close());

const divide = (names: string[]) => setCohort(west, west.customer(CUSTOMER), { half: PILOT, names });
const both = async () => [await servedAt(world, 'east'), await servedAt(world, 'west')];
/** A move of west's users to east, up to the hand-over. */
async function handOver(planned: PlannedMove, { epoch = 2, cohorts }: { epoch?: number; cohorts?: string[] } = {}) {
  const move = await startMove(world);
  const of = (act: Act) => plannedStep(act, move, { epoch, planned, ...(cohorts && { cohorts }) });
  await advanceEpoch(west, of('advance-epoch'));
  await drainSessions(west, of('drain-sessions'));
  expect(await servedTwice(world)).toEqual([]);
  await copyNow(world);
  const result = await serveUsers(west, of('serve-users'));
  await endMove(world, move);
  return result;
}

describe('a cohort is never made', () => {
  it.each([
    [
      'of a half that another site serves',
      "update tandem.serving set site = 'east' where half = 'west'",
      /another site/,
    ],
    ['under an older epoch', 'update tandem.epoch set number = 2', /older epoch/],
    [
      'while a move is under way',
      "insert into tandem.move values ('m', 'contoso', 'failover', 'w', 'moving', '{}', now())",
      /a move is under way/,
    ],
    ['of a half that is drained', "insert into tandem.drained values ('contoso', 'west', 1, 'm')", /about to hand/],
    ['of a half with unsent changes', "insert into tandem.salvage values ('contoso', 'west', 1)", /not brought home/],
    ['of users of another half', "update tandem.home set site = 'east' where username = 'w2'", /not of this half/],
  ])('%s', async (_, change, why) => {
    await world.westDb.query(change);
    await expect(divide(['w2'])).rejects.toThrow(why);
    expect(await world.westDb.query("select from tandem.home where site = 'west/pilot'")).toEqual([]);
    expect(await rowsAt(world, 'west')).not.toContainEqual(expect.stringContaining(PILOT));
  });

  it('anew while it is elsewhere than its half', async () => {
    await divide(['w2']);
    await handOver(ofPilot);
    await expect(divide(['w1', 'w2'])).rejects.toThrow(/served by different sites/);
    expect(await both()).toEqual([[...EAST, 'w2'], ['w1']]);
  });
});

describe('a cohort', () => {
  it('is served by whoever serves the half, from the moment that it is made to the one in which it ends', async () => {
    const before = await both();
    await divide(['w2']);
    expect(await both()).toEqual(before);
    expect(await rowsAt(world, 'east')).toEqual([
      'east: east under 1',
      'west: west under 1',
      'west/pilot: west under 1',
    ]);
    expect(await divide(['w1'])).toBe(1);
    expect(await both()).toEqual(before);
    await divide([]);
    expect(await both()).toEqual(before);
    for (const site of ['east', 'west'] as const)
      expect(await rowsAt(world, site)).toEqual(['east: east under 1', 'west: west under 1']);
    // Nothing is left to be salvaged of a cohort that has only ended.
    expect(await world.westDb.query('select half from tandem.salvage')).toEqual([]);
  });

  it('moves alone, and comes back alone', async () => {
    await divide(['w2']);
    await handOver(ofPilot);
    expect(await both()).toEqual([[...EAST, 'w2'], ['w1']]);
    expect(await rowsAt(world, 'east')).toEqual(await rowsAt(world, 'west'));
    expect(await cohortsAt(world.westDb, CUSTOMER, 'west', 'west')).toEqual([]);
    const rest = { ...ofWest, keeps: ['east', PILOT] };
    expect((await handOver(rest, { epoch: 3 })).facts).toMatchObject({ users: 1 });
    expect(await both()).toEqual([[...EAST, 'w1', 'w2'], []]);
  });

  it('moves with its half while it is where that is', async () => {
    await divide(['w2']);
    const cohorts = await cohortsAt(world.westDb, CUSTOMER, 'west', 'west');
    expect(cohorts).toEqual([PILOT]);
    expect((await handOver(ofWest, { cohorts })).facts).toMatchObject({ users: 2 });
    expect(await both()).toEqual([[...EAST, 'w1', 'w2'], []]);
    expect(await rowsAt(world, 'east')).toEqual(await rowsAt(world, 'west'));
  });
});

describe('who is to be in a cohort', () => {
  const none = new Map<string, string>();
  const named = (text: string, probes: ReadonlyMap<string, string> = none) =>
    usersOfFile(world.westDb, { file: 'pilot.txt', text, half: PILOT, domain: 'contoso.example', probes });

  it('is nobody while a line names somebody else: every fault at once, each with its line', async () => {
    const file = '# the first\nw1\nnobody\ne1\n\nw1@contoso.example\nw2@elsewhere.example\n';
    const said = await named(file).catch((error: unknown) => (error instanceof Error ? error.message : ''));
    expect(String(said).split('\n')).toEqual([
      '4 faults; nothing was changed',
      'pilot.txt:3: "nobody" is nobody that this site knows',
      'pilot.txt:4: "e1" is at home at east',
      'pilot.txt:6: "w1" stands in line 2 already',
      'pilot.txt:7: "w2@elsewhere.example" is nobody that this site knows',
    ]);
    await expect(named('# nobody\n')).rejects.toThrow(/pilot\.txt: names nobody/);
    await expect(named('w1', new Map([['w1', 'west']]))).rejects.toThrow(/is an account of the probes of west/);
  });

  it('is read by name or address, or is the same share of all whenever it is asked for', async () => {
    expect(await named('w2@contoso.example\r\nw1\r\n')).toEqual(['w2', 'w1']);
    const share = (percent: number, probes: ReadonlyMap<string, string> = none) =>
      usersOfShare(world.westDb, PILOT, { share: percent, probes });
    expect(await share(1)).toHaveLength(1);
    expect(await share(1)).toEqual(await share(1));
    expect((await share(100)).toSorted()).toEqual(['w1', 'w2']);
    expect(await share(100, new Map([['w1', 'west']]))).toEqual(['w2']);
  });
});

describe('sites that do not agree who is in a cohort', () => {
  it('hand nobody over: nothing is claimed before both know the same', async () => {
    await world.westDb.query(
      "select tandem.make_cohort('contoso', 'west/pilot', 'west'), tandem.divide('contoso', 'west/pilot', '{w2}', 'west')",
    );
    expect(await whyApart(west, west.customer(CUSTOMER), 'west')).toMatch(
      /west\/pilot are not the same at west and at east/,
    );
    await world.eastDb.query("insert into tandem.drained values ('contoso', 'west', 1, 'm')");
    const move = await startMove(world);
    expect(await kindOf(advanceEpoch(west, plannedStep('advance-epoch', move, { planned: ofWest })))).toBe(
      'cohorts-differ',
    );
    expect(await rowsAt(world, 'west')).toContain('west: west under 1');
    await world.eastDb.query('delete from tandem.drained');
    await advanceEpoch(west, plannedStep('advance-epoch', move, { planned: ofWest }));
    expect(await whyApart(west, west.customer(CUSTOMER), 'west')).toBeNull();
  });

  it('serve nobody twice, when one of them was put back to a backup of before', async () => {
    await divide(['w2']);
    await handOver(ofWest); // The pilot stays at west.
    expect(await both()).toEqual([[...EAST, 'w1'], ['w2']]);
    // East as it was before: it knows of no pilot, and takes what west's database says that it was given.
    await world.eastDb.query(`
      update tandem.home set site = 'west' where site = 'west/pilot';
      delete from tandem.serving where half = 'west/pilot';
      update tandem.serving set site = 'west', epoch = 1 where half = 'west';
      delete from tandem.salvage`);
    const east = eastSite(world).customer(CUSTOMER);
    const [epoch] = await world.westDb.query<{ number: number; site: string; move: string }>(
      'select number::int, site, move from tandem.epoch',
    );
    if (!epoch) throw new Error('unreachable');
    const told = { epoch, halves: [{ half: 'west', site: 'east', epoch: 2, open: false }] };
    expect(await takeHandedOver(world.eastDb, east, told)).toEqual([]);
    expect(await servedTwice(world)).toEqual([]);
    const halves = [...told.halves, { half: PILOT, site: 'west', epoch: 2, open: true }];
    await world.eastDb.query("update tandem.serving set site = 'east', epoch = 2 where half = 'west'");
    // While it serves anybody of that home, its own list is what it serves by.
    expect(await adoptCohorts(world.eastDb, east, { halves })).toEqual([]);
    await world.eastDb.query("update tandem.serving set site = 'west', epoch = 1 where half = 'west'");
    // What was changed here lies nowhere else, and is read by the old list.
    expect(await adoptCohorts(world.eastDb, east, { halves })).toEqual([]);
    await world.eastDb.query('delete from tandem.salvage');
    expect(await adoptCohorts(world.eastDb, east, { halves })).toEqual(['west']);
    expect(await both()).toEqual([EAST, ['w2']]);
    expect(await takeHandedOver(world.eastDb, east, told)).toEqual(['west']);
    expect(await both()).toEqual([[...EAST, 'w1'], ['w2']]);
  });
});

describe('a failover', () => {
  it('takes the cohorts that are at the lost site along, and gives them back when it is turned back', async () => {
    for (const database of [world.eastDb, world.westDb])
      await database.query(
        "select tandem.make_cohort('contoso', 'east/pilot', 'east'), tandem.divide('contoso', 'east/pilot', '{e2}', 'east')",
      );
    expect(await cohortsAt(world.westDb, CUSTOMER, 'east', 'east')).toEqual(['east/pilot']);
    const move = await startMove(world);
    const of = (act: Act) => {
      const one = step(act, move, 2);
      return { ...one, plan: { ...one.plan, decisions: { ...one.plan.decisions, cohorts: ['east/pilot'] } } };
    };
    await world.eastDb.query(`select tandem.fence('contoso', 2, 'west', '${move}')`);
    await advanceEpoch(world.west, of('advance-epoch'));
    await openSource(world.west, of('open-site'));
    expect(await both()).toEqual([EAST, ['w1', 'w2']]);
    expect(await rowsAt(world, 'west')).toEqual([
      'east: east under 3',
      'east/pilot: east under 3',
      'west: west under 3',
    ]);
  });

  it('of others’ users is turned back to the site that had them, and to it alone', async () => {
    // East was lost once, and west served its users since; now west is lost.
    for (const database of [world.eastDb, world.westDb])
      await database.query("update tandem.serving set site = 'east'");
    const move = await startMove(world);
    const of = (act: Act) => {
      const one = step(act, move, 2);
      return { ...one, plan: { ...one.plan, decisions: { ...one.plan.decisions, half: 'west' } } };
    };
    await world.eastDb.query(`select tandem.fence('contoso', 2, 'west', '${move}')`);
    await advanceEpoch(world.west, of('advance-epoch'));
    await openSource(world.west, of('open-site'));
    expect(await servedTwice(world)).toEqual([]);
    expect(await rowsAt(world, 'west')).toContain('west: east under 3');
    // The fence had closed it for its own users, too.
    expect(await servedAt(world, 'east')).toEqual([...EAST, 'w1', 'w2']);
  });
});
