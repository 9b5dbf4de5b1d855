import { afterEach, beforeEach, expect, it } from 'vitest';
import { drainSessions } from '../../activities/services/drain.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { handOver } from '../../activities/services/hand-over.ts';
import { takeHandedOver } from '../../activities/services/handed-over.ts';
import { askPeerRights } from '../../activities/services/peer-rights.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import type { Act } from '../../workflows/model/acts.ts';
import { guarded } from '../watch/ground.ts';
import { copyNow, eastSite, plannedStep, quietWest, servedAt } from './planned-world.ts';
import { CUSTOMER, kindOf, makeWorld, startMove, type World } from './world.ts';

/** East is put back to a backup of when it served its own half under epoch 1, and sees nothing of west but its database. */

let world: World;
let west: OwnSite;
let move: string;
beforeEach(async () => {
  world = await makeWorld();
  west = quietWest(world);
  move = await startMove(world);
});
afterEach(() => world.close());

const EAST = ['e1', 'e2', 'e3'];
const atEast = (sql: string, values: unknown[] = []) => world.eastDb.query(sql, values);
const epochAtEast = async () => (await atEast('select number::int from tandem.epoch'))[0];

async function putBack(): Promise<void> {
  await atEast("update tandem.epoch set number = 1, site = '-', move = 'provisioned'");
  await atEast('update tandem.serving set site = half, epoch = 1');
  await atEast('delete from tandem.applied');
}

/** What it does by itself, until it holds that epoch. */
async function looks(number: number): Promise<string[]> {
  const [ending, said] = [new AbortController(), [] as string[]];
  const settings = { ...eastSite(world).settings, peerVaults: new Map() };
  const looking = guarded(settings, new SiteMetrics(), ending.signal, (line) => said.push(line));
  await expect.poll(epochAtEast, { timeout: 30_000 }).toEqual({ number });
  await takes();
  ending.abort();
  await looking;
  return said;
}

async function takes(): Promise<string[]> {
  const customer = eastSite(world).customer(CUSTOMER);
  const told = await askPeerRights(customer, world.eastDb);
  if (told.state !== 'says') throw new Error(told.because);
  return takeHandedOver(world.eastDb, customer, told);
}

it('does not take what it was handed over for what it always served, nor serves it from rows that nothing was brought over', async () => {
  // West serves everybody since its failover, and gives east its half again.
  for (const database of [world.eastDb, world.westDb]) {
    await database.query("update tandem.epoch set number = 2, site = 'west', move = 'failover'");
    await database.query("update tandem.serving set site = 'west', epoch = 2");
  }
  const planned = { half: 'east', keeps: [], servedAt: ['east', 'west'], reconcile: null };
  const of = (act: Act, round = 0) => plannedStep(act, move, { epoch: 3, planned, round });
  await advanceEpoch(world.west, of('advance-epoch'));
  await drainSessions(world.west, of('drain-sessions'));
  await copyNow(world);
  await handOver(west, of('serve-users'));
  expect(await servedAt(world, 'east')).toEqual(EAST);
  await putBack();
  await looks(3);
  expect([await servedAt(world, 'east'), await takes()]).toEqual([[], []]);
  // A later snapshot of west has none of these users.
  await copyNow(world);
  expect([await takes(), await kindOf(handOver(west, of('serve-users', 1)))]).toEqual([[], 'handed-over']);
  expect(await servedAt(world, 'east')).toEqual([]);
});

it('takes what it was handed over under an older epoch no sooner than that copy', async () => {
  await advanceEpoch(world.west, plannedStep('advance-epoch', move));
  await drainSessions(world.west, plannedStep('drain-sessions', move));
  await copyNow(world);
  await handOver(west, plannedStep('serve-users', move));
  await putBack();
  await world.westDb.query("update tandem.epoch set number = 3, move = 'later'");
  await world.westDb.query("update tandem.serving set epoch = 3 where half = 'west'");
  await looks(3);
  expect(await servedAt(world, 'east')).not.toContain('w1');
  await copyNow(world);
  expect(await takes()).toEqual(['west']);
});

it('goes on with its own half when west does not tell its terms, by what it is given after it has closed', async () => {
  await atEast('revoke execute on all functions in schema tandem from tandem_peer');
  await atEast(
    'grant execute on function tandem.observe(), tandem.observe_cohorts(), tandem.observe_rehomed() to tandem_peer',
  );
  await kindOf(advanceEpoch(world.west, plannedStep('advance-epoch', move)));
  await world.westDb.query('drop function if exists tandem.observe_claim()');
  expect(await looks(2)).toContainEqual(expect.stringContaining('this site is closed'));
  expect(await servedAt(world, 'east')).toEqual(EAST);
});
