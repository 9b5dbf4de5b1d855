import { CancellationScope, sleep } from '@temporalio/workflow';
import type { CohortNews } from '../../activities/test-types.ts';
import type { LiveWalk } from '../model/continuity.ts';
import type { CohortStand } from '../model/test-live.ts';
import { nothingFound, type Found } from '../model/test-verdict.ts';
import { acts, guard } from './activities.ts';
import type { TestRun } from './run.ts';

/** A live test: a cohort's users come to this site and go home again, by planned moves that operators start and sign. */

/** People read a plan and sign it twice. */
const GOING_MS = 4 * 3_600_000;
/** Below the time-out of the run, so that it ends with a receipt. */
const RETURNING_MS = 6 * 3_600_000;

/** Waits until they are here, and looks what they find. */
export async function bringHere(run: TestRun): Promise<Found> {
  const { cohort = '' } = run.test;
  const live = (run.live = { ...nobody, cohort });
  run.soFar = () => ({ ...nothingFound, counts: { ...nothingFound.counts, users: live.users }, live: { ...live } });
  run.show('going', `where users of ${cohort} are is looked at`);
  const found = await within(GOING_MS, untilAt(run, 'here'));
  if (found === null) return { ...run.soFar(), failed: `nobody moved users of ${cohort} within four hours` };
  if ('because' in found) return yieldsTo(run, found.because);
  live.went = found.move;
  const began = Date.now();
  run.show('there', `${cohort} is served at ${run.site}`);
  Object.assign(live, await acts['look-at-cohort']({ customer: run.test.customer, cohort }));
  live.hereMs = Date.now() - began;
  return run.soFar();
}

/** Whatever has ended the test: its users go home. Only what ends all tests, a real event, leaves them where they are. */
export async function bringHome(run: TestRun, found: Found): Promise<Found> {
  const { live } = run;
  if (!live) return found;
  const superseded = run.ended?.outcome === 'superseded';
  if (!superseded) run.tellWayHome();
  const at = superseded ? null : await untilHome(run);
  if (at && 'because' in at) run.end({ outcome: 'superseded', because: at.because });
  // Of those who never went there is no way back.
  if (at && 'move' in at && live.went !== null) live.back = at.move;
  return { ...found, live: { ...live } };
}

const nobody: LiveWalk = {
  cohort: '',
  went: null,
  back: null,
  hereMs: null,
  users: 0,
  unserved: 0,
  services: [],
};

async function untilHome(run: TestRun): Promise<Came | null> {
  const scope = new CancellationScope();
  try {
    return await scope.run(() => within(RETURNING_MS, untilAt(run, 'home')));
  } catch {
    return null; // Nobody could look: the receipt says that they are not known to be home.
  } finally {
    scope.cancel();
  }
}

/** Null once the time is over; the other one ends with its scope. */
const within = <T>(ms: number, what: Promise<T>): Promise<T | null> => Promise.race([what, sleep(ms).then(() => null)]);

type Came = Exclude<CohortNews, { stand: CohortStand }> | { move: string };

/** Tells on the way what is waited for, as often as that changes. */
async function untilAt(run: TestRun, at: 'here' | 'home'): Promise<Came> {
  const { cohort = '' } = run.test;
  for (let told: CohortStand | undefined; ;) {
    const news = await guard['await-cohort']({ ...run.key, cohort, at, ...(told && { told }) });
    if ('because' in news) return news;
    if (news.stand) run.stand = news.stand;
    if ('move' in news) return news;
    told = news.stand;
    // They came although the test was ended before.
    if (run.live && at === 'home' && told.site === run.site) run.live.went ??= told.move;
    if (at === 'home' || run.ended) run.tellWayHome();
    else run.tellWayHere();
  }
}

function yieldsTo(run: TestRun, because: string): Found {
  run.end({ outcome: 'superseded', because });
  return run.soFar();
}
