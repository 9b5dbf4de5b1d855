import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setCohort, whyApart } from '../../activities/services/cohorts.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { takeHandedOver } from '../../activities/services/handed-over.ts';
import { adoptHomes } from '../../activities/services/rehomed.ts';
import type { Epoch } from '../../workflows/model/epoch.ts';
import { copyNow, eastSite, plannedStep, rowsAt, servedTwice } from './planned-world.ts';
import { EAST, ofPilot, PILOT, rehomeGround, type Ground } from './rehome-ground.ts';
import { CUSTOMER, kindOf, startMove } from './world.ts';

/** One site knows that users have another home before the other does, or no longer: never are they served by both. */

const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern);

let ground: Ground;
beforeEach(async () => {
  ground = await rehomeGround();
});
afterEach(() => ground.world.close());

describe('a site that knows it before the other', () => {
  it('serves nobody twice; a repeat, or the next look of the other site, comes to the same', async () => {
    await ground.moved();
    const before = await ground.both();
    await ground.cutOff();
    expect(await ground.homes()).toEqual(['w1: east w2: east', 'w1: west w2: west']);
    expect(await ground.both()).toEqual(before);
    expect(await whyApart(ground.west, ground.west.customer(CUSTOMER), 'west')).toMatch(/another home/);
    expect(await adoptHomes(ground.world.westDb, ground.west.customer(CUSTOMER))).toMatchObject({
      users: 2,
      left: null,
    });
    expect((await ground.homes())[1]).toBe('w1: east w2: east');
    expect(await adoptHomes(ground.world.westDb, ground.west.customer(CUSTOMER))).toBeNull();
    expect((await ground.rehome()).facts).toMatchObject({ users: 0 });
    expect(await ground.both()).toEqual(before);
  });

  it('tells it before the epoch of another move is claimed', async () => {
    await ground.moved();
    await ground.cutOff();
    await ground.at('west', 'update tandem.move set ended_at = now()');
    const next = plannedStep('advance-epoch', await startMove(ground.world), { epoch: 3, planned: ofPilot });
    await kindOf(advanceEpoch(ground.west, next));
    expect(await ground.homes()).toEqual(['w1: east w2: east', 'w1: east w2: east']);
  });

  it('takes no entry that is not newer than its own; of two of one epoch both sites take the same', async () => {
    const [mine, theirs] = [ground.west.customer(CUSTOMER), eastSite(ground.world).customer(CUSTOMER)];
    const entry = (site: 'east' | 'west', home: string, epoch: number, move: string) =>
      ground.at(
        site,
        `delete from tandem.rehomed; insert into tandem.rehomed values ('w2', '${home}', ${epoch}, '${move}', now());
                       update tandem.home set site = '${home}' where username = 'w2'`,
      );
    for (const [epoch, move] of [
      [1, 'z'],
      [5, 'a'],
    ] as const) {
      // By nobody's right: neither serves anybody.
      for (const site of ['east', 'west'] as const)
        await ground.at(site, "update tandem.serving set site = 'nobody'; delete from tandem.salvage");
      await entry('west', 'west', 5, 'b');
      await entry('east', 'east', epoch, move);
      expect(await adoptHomes(ground.world.westDb, mine)).toMatchObject({ users: 0 });
      expect(await adoptHomes(ground.world.eastDb, theirs)).toMatchObject({ users: 1, left: null });
      expect(await ground.homes()).toEqual(['w1: west w2: west', 'w1: west w2: west']);
    }
  });

  it('gives way to a failover that came between the two, and took them as what they were', async () => {
    await ground.moved();
    await ground.cutOff();
    // East is lost; west takes over its users of west, and not yet those of east.
    await ground.at('west', "update tandem.epoch set number = 3, site = 'west', move = 'failover'");
    await ground.at('west', "update tandem.serving set site = 'west', epoch = 3 where half = 'west'");
    await ground.at('east', "select tandem.fence('contoso', 3, 'west', 'failover')");
    expect(await ground.both()).toEqual([[], ['w1', 'w2']]);
    // The entry is older than the right under which they are served: it is taken back.
    await adoptHomes(ground.world.westDb, ground.west.customer(CUSTOMER));
    expect(await ground.both()).toEqual([[], ['w1', 'w2']]);
    // What they changed at east is salvaged first, by the half that they were of there.
    const east = eastSite(ground.world).customer(CUSTOMER);
    expect(await adoptHomes(ground.world.eastDb, east)).toMatchObject({ users: 0, left: matching(/salvaged/) });
    for (const half of ['east', 'west'])
      await ground.at(
        'east',
        `insert into tandem.salvage (customer, half, epoch, manifest) values ('contoso', '${half}', 2, 'm')`,
      );
    expect(await adoptHomes(ground.world.eastDb, east)).toMatchObject({ users: 2, left: null });
    expect(await ground.homes()).toEqual(['w1: west w2: west', 'w1: west w2: west']);
    expect(await ground.both()).toEqual([[], ['w1', 'w2']]);
  });
});

describe('a site that was put back to a backup of before', () => {
  const unknown = `delete from tandem.rehomed; update tandem.home set site = '${PILOT}' where username = 'w2'`;

  it('the destination: serves them no sooner than it holds the copy with which they came', async () => {
    await setCohort(ground.west, ground.west.customer(CUSTOMER), { half: PILOT, names: ['w2'] });
    await ground.moved(ofPilot);
    await ground.rehome(ofPilot);
    await ground.at(
      'east',
      `${unknown}; insert into tandem.serving values ('contoso', '${PILOT}', 'west', 1); delete from tandem.applied`,
    );
    expect(await ground.both()).toEqual([EAST, ['w1']]);
    const east = eastSite(ground.world).customer(CUSTOMER);
    expect(await whyApart(ground.west, ground.west.customer(CUSTOMER), 'west')).toMatch(/another home/);
    expect(await adoptHomes(ground.world.eastDb, east)).toMatchObject({ users: 0, left: matching(/older copy/) });
    expect(await ground.both()).toEqual([EAST, ['w1']]);
    // Nobody is handed over, or claimed for, while the sites do not agree who they are.
    await ground.at('west', 'update tandem.move set ended_at = now()');
    const next = plannedStep('advance-epoch', await startMove(ground.world), { epoch: 3, planned: ofPilot });
    expect(await kindOf(advanceEpoch(ground.west, next))).toBe('cohorts-differ');
    expect(await rowsAt(ground.world, 'west')).toEqual(['east: east under 2', 'west: west under 2']);
    await copyNow(ground.world);
    expect(await adoptHomes(ground.world.eastDb, east)).toMatchObject({ users: 1, left: null });
    expect(await ground.both()).toEqual([[...EAST, 'w2'], ['w1']]);
    expect(await rowsAt(ground.world, 'east')).toEqual(['east: east under 2', 'west: west under 2']);
  });

  it('the destination: takes none of the half that they were of before it knows them again', async () => {
    await setCohort(ground.west, ground.west.customer(CUSTOMER), { half: PILOT, names: ['w2'] });
    await ground.moved(ofPilot);
    await ground.rehome(ofPilot);
    await ground.at('east', "delete from tandem.rehomed; update tandem.home set site = 'west' where username = 'w2'");
    // West has handed its half over since, and could not tell east.
    await ground.at('west', "update tandem.serving set site = 'east' where half = 'west'");
    const east = eastSite(ground.world).customer(CUSTOMER);
    const [epoch] = await ground.world.westDb.query<Epoch & Record<string, unknown>>(
      'select number::int, site, move from tandem.epoch',
    );
    if (!epoch) throw new Error('unreachable');
    const told = { epoch, halves: [{ half: 'west', site: 'east', epoch: 2, open: false }] };
    expect(await takeHandedOver(ground.world.eastDb, east, told)).toEqual([]);
    expect(await adoptHomes(ground.world.eastDb, east)).toMatchObject({ users: 1, left: null });
    expect(await takeHandedOver(ground.world.eastDb, east, told)).toEqual(['west']);
  });

  it('the site that they left: lets go of their cohort at its first look, and has it salvaged before it forgets it', async () => {
    await setCohort(ground.west, ground.west.customer(CUSTOMER), { half: PILOT, names: ['w2'] });
    await ground.moved(ofPilot);
    await ground.rehome(ofPilot);
    await ground.at('west', `${unknown}; insert into tandem.serving values ('contoso', '${PILOT}', 'west', 2)`);
    expect(await servedTwice(ground.world)).toEqual(['w2']);
    const customer = ground.west.customer(CUSTOMER);
    expect(await adoptHomes(ground.world.westDb, customer)).toMatchObject({ servedTwice: true });
    expect(await servedTwice(ground.world)).toEqual([]);
    expect(await ground.at('west', 'select half from tandem.salvage')).toEqual([{ half: PILOT }]);
    expect(await adoptHomes(ground.world.westDb, customer)).toMatchObject({
      users: 0,
      left: matching(/salvaged/),
    });
    await ground.at('west', "update tandem.salvage set manifest = 'm'");
    expect(await adoptHomes(ground.world.westDb, customer)).toMatchObject({ users: 1, left: null });
    expect((await ground.homes())[1]).toBe('w1: west w2: east');
    expect(await ground.both()).toEqual([[...EAST, 'w2'], ['w1']]);
  });

  it('the site that they left, and that knew no cohort then: serves nobody any more', async () => {
    await setCohort(ground.west, ground.west.customer(CUSTOMER), { half: PILOT, names: ['w2'] });
    await ground.moved(ofPilot);
    await ground.rehome(ofPilot);
    await ground.at('west', "delete from tandem.rehomed; update tandem.home set site = 'west' where username = 'w2'");
    expect(await servedTwice(ground.world)).toEqual(['w2']);
    expect(await adoptHomes(ground.world.westDb, ground.west.customer(CUSTOMER))).toMatchObject({ servedTwice: true });
    expect(await ground.both()).toEqual([[...EAST, 'w2'], []]);
    expect(await adoptHomes(ground.world.westDb, ground.west.customer(CUSTOMER))).toMatchObject({ servedTwice: false });
  });
});
