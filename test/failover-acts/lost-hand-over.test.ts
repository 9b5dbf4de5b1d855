import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readUnsalvaged } from '../../activities/contacts/salvaged.ts';
import { Watchers } from '../../activities/probes/watch/watchers.ts';
import { drainSessions } from '../../activities/services/drain.ts';
import { endForgottenDrains, undoDrain } from '../../activities/services/drained.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { handOver } from '../../activities/services/hand-over.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import type { News } from '../../workflows/model/watch-news.ts';
import { guarded } from '../watch/ground.ts';
import { copyNow, plannedStep, quietWest, servedAt, servedTwice } from './planned-world.ts';
import { CUSTOMER, kindOf, makeWorld, startMove, step, type World } from './world.ts';

/** West has handed its half over to east; then its database is a replica that was promoted without that commit. */

let world: World;
let west: OwnSite;
let move: string;
let round = 0;
const WEST = ['w1', 'w2'];
const all = ['e1', 'e2', 'e3', ...WEST];
const of = (act: 'serve-users' | 'open-site' | 'drain-sessions') => plannedStep(act, move, { round });
const unsalvaged = () => readUnsalvaged(world.westDb, CUSTOMER, 'west');
const isLoss = ({ about }: News): boolean => about === 'hand-over';
const KEPT = [{ epoch: 2, halves: ['west'] }];

beforeAll(async () => {
  world = await makeWorld();
  west = quietWest(world);
  move = await startMove(world);
  await advanceEpoch(world.west, plannedStep('advance-epoch', move));
});
afterAll(() => world.close());
beforeEach(async () => {
  round += 1;
  for (const database of [world.eastDb, world.westDb])
    await database.query("update tandem.serving set site = 'west', epoch = 2 where half = 'west'");
  await world.westDb.query('delete from tandem.salvage');
  await drainSessions(world.west, of('drain-sessions'));
  await copyNow(world);
  const [drained] = await world.westDb.query('select to_jsonb(d) as row from tandem.drained d');
  await handOver(west, of('serve-users'));
  for (const lost of [
    "update tandem.serving set site = 'west' where half = 'west'",
    'delete from tandem.handed',
    "delete from tandem.journal where body::jsonb->>'act' = 'serve-users'",
  ])
    await world.westDb.query(lost);
  const again = 'insert into tandem.drained select * from jsonb_populate_record(null::tandem.drained, $1)';
  await world.westDb.query(again, [drained?.['row']]);
});

describe('a hand-over whose commit was lost', () => {
  it('is not turned back: the destination’s database says whose the half is', async () => {
    expect(await kindOf(undoDrain(west, of('open-site')))).toBe('already-served');
    expect([await servedTwice(world), await unsalvaged()]).toEqual([[], KEPT]);
  });

  it('is found done by a move that is resumed, and what was changed since is not taken for copied', async () => {
    expect((await handOver(west, of('serve-users'))).facts).toMatchObject({ users: 2 });
    expect([await servedTwice(world), await unsalvaged()]).toEqual([[], KEPT]);
  });

  it('does not go along with a further epoch', async () => {
    const failover = step('advance-epoch', move, 3);
    failover.plan.decisions.isolation = { verdict: 'serving', observers: [], statement: null };
    expect((await advanceEpoch(west, failover)).facts).toMatchObject({ before: 2, keptOpen: 0 });
    expect([await servedAt(world, 'west'), await unsalvaged()]).toEqual([[], KEPT]);
    for (const database of [world.eastDb, world.westDb])
      await database.query("update tandem.epoch set number = 2, site = 'west', move = $1", [move]);
    await world.westDb.query("update tandem.serving set epoch = 2 where site = 'west'");
  });

  it('ends within a look what it lets both sites serve, and is told', async () => {
    await world.westDb.query("update tandem.move set ended_at = now(), phase = 'closed'");
    expect(await endForgottenDrains(world.westDb, CUSTOMER)).toEqual(['west']);
    expect(await servedTwice(world)).toEqual(WEST);
    const [ending, said] = [new AbortController(), [] as string[]];
    const watchers = new Watchers();
    const looking = guarded(west.settings, new SiteMetrics(), ending.signal, (line) => said.push(line), watchers);
    await expect.poll(() => servedTwice(world)).toEqual([]);
    const paged = async () => (await watchers.differing(CUSTOMER, {}, 1, ending.signal)).find(isLoss)?.severity;
    await expect.poll(paged).toBe('critical');
    ending.abort();
    await looking;
    expect(await servedAt(world, 'east')).toEqual(all);
    expect(said).toContainEqual(expect.stringContaining('SERVED TWICE'));
    expect(await unsalvaged()).toEqual(KEPT);
  });
});
