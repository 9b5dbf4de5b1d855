import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { drainSessions } from '../../activities/services/drain.ts';
import { undoDrain } from '../../activities/services/drained.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { handOver } from '../../activities/services/hand-over.ts';
import { takeHandedOver } from '../../activities/services/handed-over.ts';
import { askPeerRights } from '../../activities/services/peer-rights.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { PostgresProxy } from '../rig/postgres-proxy.ts';
import { Tripwire, type Blow } from '../rig/tripwire.ts';
import { copyNow, eastSite, plannedStep, quietWest, rowsAt, servedAt, servedTwice } from './planned-world.ts';
import { CUSTOMER, kindOf, makeWorld, startMove, type World } from './world.ts';

/** West's process dies, or loses both databases for good, before each statement of the hand-over and after each. */

/** Dead from one call on: nothing that it still asks comes through. */
class Death extends Tripwire {
  private dead = false;
  override next(call: string): Blow | null {
    const blow = super.next(call);
    if (this.dead) return { when: 'before', strike: () => undefined };
    this.dead = blow !== null;
    return blow;
  }
}

let world: World;
let east: OwnSite;
let west: OwnSite;
let move: string;
let round = 0;
beforeAll(async () => {
  world = await makeWorld();
  east = eastSite(world);
  west = quietWest(world);
  move = await startMove(world);
  await advanceEpoch(world.west, plannedStep('advance-epoch', move));
});
afterAll(() => world.close());
/** As before the hand-over: drained, and copied. */
beforeEach(() => ready());
async function ready(): Promise<void> {
  round += 1;
  await world.eastDb.query("update tandem.serving set site = 'west', epoch = 2 where half = 'west'");
  await world.westDb.query("update tandem.serving set site = 'west', epoch = 2 where half = 'west'");
  // Whatever writes on this server is waited for, of another test file, too: past its limit the step is tried again.
  await vi.waitFor(() => drainSessions(world.west, plannedStep('drain-sessions', move, { round })), {
    timeout: 60_000,
  });
  await copyNow(world);
}

const step = (act: 'serve-users' | 'open-site') => plannedStep(act, move, { round });
const all = ['e1', 'e2', 'e3', 'w1', 'w2'];

/** One attempt that is struck at its `at`th call to either database; whether it came so far. */
async function struck(at: number, when: Blow['when']): Promise<{ calls: string[]; ended: string }> {
  const wire = new Death();
  const [own, peer] = await Promise.all([
    PostgresProxy.open(world.urls.west, wire),
    PostgresProxy.open(world.customer.peerDatabaseUrl, wire),
  ]);
  const dies = new AbortController();
  const strike = (): void => {
    dies.abort();
    void Promise.all([own.close(), peer.close()]);
  };
  wire.set({ at, when, strike });
  const dying = world.westWith({
    site: { peerTemporals: new Map() },
    customer: {
      databaseUrl: own.through(world.urls.west),
      peerDatabaseUrl: peer.through(world.customer.peerDatabaseUrl),
    },
  });
  const ended = await kindOf(handOver(dying, step('serve-users'), dies.signal));
  if (!dies.signal.aborted) await Promise.all([own.close(), peer.close()]);
  return { calls: wire.calls, ended };
}

/** What east does by itself, by what it reads in west's database; it looks again while it hears nothing. */
async function eastLooks(): Promise<void> {
  const customer = east.customer(CUSTOMER);
  let told = await askPeerRights(customer, world.eastDb);
  for (let looks = 1; told.state !== 'says' && looks < 10; looks += 1)
    told = await askPeerRights(customer, world.eastDb);
  if (told.state !== 'says') throw new Error(told.because);
  await takeHandedOver(world.eastDb, customer, told);
}

const isGiven = async (): Promise<boolean> => (await rowsAt(world, 'west')).includes('west: east under 2');

/** The three who may go on after a death, in turns, and how it stands then. */
async function goesOn(turn: number, given: boolean): Promise<string> {
  if (turn === 0) await eastLooks();
  if (turn === 1) await handOver(west, step('serve-users'));
  const back = turn === 2 ? await kindOf(undoDrain(world.west, step('open-site'))) : 'not tried';
  await world.westDb.query("delete from tandem.journal where body::jsonb->>'act' = 'open-site'");
  const served = [await servedAt(world, 'west'), await servedAt(world, 'east')].map((users) => users.length);
  const [atWest, atEast] = given || turn === 1 ? [0, turn === 2 ? null : 5] : [turn === 2 ? 2 : 0, 3];
  const asItShould = served[0] === atWest && (atEast === null || served[1] === atEast);
  const backAsItShould = turn !== 2 || back === (given ? 'already-served' : 'no failure');
  return asItShould && backAsItShould ? '' : `served ${served.join(' and ')}, turned back: ${back}`;
}

describe.each(['before', 'after'] as const)('killed %s any statement of the hand-over', (when) => {
  it('both sites never serve one user, and whoever goes on brings it to one end', async () => {
    const wrong: string[] = [];
    const ends: boolean[] = [];
    for (let at = 1; at < 200; at += 1) {
      if (at > 1) await ready();
      const attempt = await struck(at, when);
      if (attempt.ended === 'no failure') break;
      const twice = await servedTwice(world);
      const given = await isGiven();
      ends.push(given);
      const told = await goesOn(at % 3, given);
      twice.push(...(await servedTwice(world)));
      if (twice.length > 0 || told !== '')
        wrong.push(`${when} call ${at}, ${attempt.calls.at(-1)}: ${told} ${twice.join()}`);
    }
    expect(wrong).toEqual([]);
    // From the one commit on it is given, and never again not.
    expect([ends.length > 20, ends[0], ends.at(-1)]).toEqual([true, false, true]);
    expect(ends.toSorted((a, b) => Number(a) - Number(b))).toEqual(ends);
  }, 240_000);
});

it('left alone, it comes to the same end in the destination’s own time', async () => {
  await handOver(west, step('serve-users'));
  await eastLooks();
  expect([await servedAt(world, 'west'), await servedAt(world, 'east')]).toEqual([[], all]);
});
