import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkEffect } from '../../activities/services/check.ts';
import { setCohort, whyApart } from '../../activities/services/cohorts.ts';
import type { Site } from '../rig/databases.ts';
import { rowsAt } from './planned-world.ts';
import { EAST, ofPilot, ofWest, PILOT, rehomeGround, type Ground } from './rehome-ground.ts';
import { CUSTOMER, kindOf } from './world.ts';

/** Users of west become east’s own, at both sites, by a move that has given them to it. */

const never = new AbortController().signal;

let ground: Ground;
beforeEach(async () => {
  ground = await rehomeGround();
});
afterEach(() => ground.world.close());

describe('nobody gets another home', () => {
  const refusals: [string, Site, string, string, RegExp][] = [
    [
      'while east does not serve its own half',
      'west',
      "update tandem.serving set site = 'west' where half = 'east'",
      'rehome-refused',
      /own users/,
    ],
    [
      'while it does not by its own database',
      'east',
      "update tandem.serving set epoch = 1 where half = 'east'",
      'rehome-refused',
      /at east: .*own users/,
    ],
    [
      'while east does not serve him under this epoch',
      'east',
      "update tandem.serving set epoch = 1 where half = 'west'",
      'rehome-refused',
      /does not serve them/,
    ],
    [
      'under an epoch that east has left behind',
      'east',
      "update tandem.epoch set number = 3, move = 'later'",
      'epoch-superseded',
      /epoch 3 stands/,
    ],
    [
      'under an epoch that west has left behind',
      'west',
      "update tandem.epoch set number = 3, move = 'later'",
      'epoch-superseded',
      /epoch 3 stands/,
    ],
    [
      'under an epoch of another move',
      'east',
      "update tandem.epoch set move = 'other'",
      'epoch-superseded',
      /epoch 2 stands/,
    ],
    [
      'while east has unsent changes',
      'east',
      "insert into tandem.salvage values ('contoso', 'east', 1)",
      'rehome-refused',
      /not brought home/,
    ],
    [
      'while east is about to hand its own over',
      'east',
      "insert into tandem.drained values ('contoso', 'east', 2, 'm')",
      'rehome-refused',
      /hand some of them over/,
    ],
    [
      'while a move is under way at east',
      'east',
      "insert into tandem.move values ('m', 'contoso', 'failover', 'w', 'approving', '{}', now())",
      'rehome-refused',
      /another move/,
    ],
    [
      'who is of another half at east',
      'east',
      "update tandem.home set site = 'west/x' where username = 'w2'",
      'rehome-refused',
      /another half/,
    ],
    [
      'who is in no copy of east',
      'west',
      "update tandem.ledger set epoch = 1 where username = 'w2'",
      'not-covered',
      /1 users of west/,
    ],
    [
      'while his copy is of before he was there',
      'west',
      "update tandem.ledger set served_by = '-' where username = 'w2'",
      'not-covered',
      /1 users/,
    ],
  ];
  it.each(refusals)('%s', async (_, site, change, kind, why) => {
    await ground.moved();
    await ground.at(site, change);
    const before = [await ground.homes(), await ground.both()];
    await expect(ground.rehome()).rejects.toThrow(why);
    expect(await kindOf(ground.rehome())).toBe(kind);
    expect([await ground.homes(), await ground.both()]).toEqual(before);
    expect(await ground.at('east', 'select from tandem.rehomed')).toEqual([]);
  });

  it('when nobody has signed it', async () => {
    await ground.moved();
    const { rehome: _asked, ...unasked } = ofWest;
    expect(await kindOf(ground.rehome(unasked))).toBe('rehome-refused');
    expect((await ground.homes())[0]).toBe('w1: west w2: west');
  });
});

describe('users who have moved', () => {
  it('are of the other site’s half at both, are served there all along, and leave nothing behind', async () => {
    await ground.moved();
    const before = await ground.both();
    expect(await checkEffect(ground.west, ground.step(ofWest), never)).toMatchObject({ seen: false });
    expect((await ground.rehome()).facts).toEqual({ half: 'west', users: 2, epoch: 2 });
    expect(await ground.both()).toEqual(before);
    expect(await ground.homes()).toEqual(['w1: east w2: east', 'w1: east w2: east']);
    expect(await rowsAt(ground.world, 'east')).toEqual(await rowsAt(ground.world, 'west'));
    expect(await checkEffect(ground.west, ground.step(ofWest), never)).toMatchObject({ seen: true });
    // By hand, and at this site only.
    const byHand = (half: string) => ground.at('east', `update tandem.home set site = '${half}' where username = 'w1'`);
    await byHand('west');
    expect(await checkEffect(ground.west, ground.step(ofWest), never)).toMatchObject({ seen: false });
    await byHand('east');
    await ground.at('east', 'update tandem.rehomed set epoch = 1');
    expect(await checkEffect(ground.west, ground.step(ofWest), never)).toMatchObject({ seen: false });
    await ground.at('east', 'update tandem.rehomed set epoch = 2');
    // Again, and in a later round.
    expect((await ground.rehome()).facts).toMatchObject({ users: 2 });
    expect((await ground.rehome(ofWest, { round: 1 })).facts).toMatchObject({ users: 0 });
    for (const site of ['east', 'west'] as const)
      expect(await ground.at(site, 'select from tandem.salvage')).toEqual([]);
  });

  it('are taken out of their cohort, which ends; the others of their half stay where they are', async () => {
    await setCohort(ground.west, ground.west.customer(CUSTOMER), { half: PILOT, names: ['w2'] });
    await ground.moved(ofPilot);
    const before = await ground.both();
    expect(before).toEqual([[...EAST, 'w2'], ['w1']]);
    expect((await ground.rehome(ofPilot)).facts).toMatchObject({ users: 1, ended: 1 });
    expect(await ground.both()).toEqual(before);
    expect(await ground.homes()).toEqual(['w1: west w2: east', 'w1: west w2: east']);
    for (const site of ['east', 'west'] as const) {
      expect(await rowsAt(ground.world, site)).toEqual(['east: east under 2', 'west: west under 2']);
      for (const table of ['salvage', 'handed'])
        expect(await ground.at(site, `select from tandem.${table}`)).toEqual([]);
    }
    expect((await ground.rehome(ofPilot, { round: 1 })).facts).toMatchObject({ users: 0 });
  });

  it('take the cohorts along that came with them', async () => {
    await setCohort(ground.west, ground.west.customer(CUSTOMER), { half: PILOT, names: ['w2'] });
    await ground.moved(ofWest, [PILOT]);
    await ground.rehome(ofWest, { cohorts: [PILOT] });
    expect(await ground.homes()).toEqual(['w1: east w2: east', 'w1: east w2: east']);
    expect(await rowsAt(ground.world, 'east')).toEqual(['east: east under 2', 'west: east under 2']);
  });

  it('come back by a move of their own, under a newer entry', async () => {
    await setCohort(ground.west, ground.west.customer(CUSTOMER), { half: PILOT, names: ['w2'] });
    await ground.moved(ofPilot);
    await ground.rehome(ofPilot);
    // East asks for it: what it says of ground.west, and west of east, is what was said the other way round.
    const back = { halves: "'{east/back}'", names: "'{w2}'" };
    for (const site of ['east', 'west'] as const)
      await ground.at(
        site,
        `update tandem.move set ended_at = now();
         select tandem.make_cohort('contoso', 'east/back', 'east'), tandem.divide('contoso', 'east/back', ${back.names}, 'east');
         update tandem.epoch set number = 3, site = 'east', move = 'back';
         update tandem.serving set epoch = 3, site = case half when 'east' then 'east' else 'west' end;
         delete from tandem.salvage;
         select tandem.rehome('contoso', ${back.halves}, 'west', ${back.names}, 3, 'east', 'back', now())`,
      );
    expect(await ground.homes()).toEqual(['w1: west w2: west', 'w1: west w2: west']);
    expect(await ground.both()).toEqual([EAST, ['w1', 'w2']]);
    expect(await whyApart(ground.west, ground.west.customer(CUSTOMER), 'west')).toBeNull();
    expect(await ground.at('east', 'select username, home, epoch::int from tandem.rehomed')).toEqual([
      { username: 'w2', home: 'west', epoch: 3 },
    ]);
  });
});
