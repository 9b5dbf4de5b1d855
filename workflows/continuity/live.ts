import { CancellationScope, sleep } from '@temporalio/workflow';
import { homeOf } from '../model/half.ts';
import type { LiveWalk } from '../model/continuity.ts';
import { nothingFound, type Found } from '../model/test-verdict.ts';
import { acts, guard } from './activities.ts';
import type { TestRun } from './run.ts';

/** A live test: a cohort's users come to this site and go home again, by planned moves that operators start and sign. */

/** People read a plan and sign it twice. */
const GOING_MS = 4 * 3_600_000;
/** Below the time-out of the run, so that it ends with a receipt. */
const RETURNING_MS = 6 * 3_600_000;

/** Waits until they are here, and looks what they find. */
export async function bringHere(run: TestRun, site: string): Promise<Found> {
  const { cohort = '' } = run.test;
  const live = (run.live = { ...nobody, cohort });
  run.soFar = () => ({ ...nothingFound, counts: { ...nothingFound.counts, users: live.users }, live: { ...live } });
  run.show('going', `asks for \`tandem relocate start --half ${cohort} --to ${site}\`, signed by two`);
  const found = await within(GOING_MS, awaitCohort(run, cohort, 'here'));
  if (found === null) return { ...run.soFar(), failed: `nobody moved users of ${cohort} within four hours` };
  if ('because' in found) return yieldsTo(run, found.because);
  live.went = found.move;
  const began = Date.now();
  run.show('there', `${cohort} is served at ${site}`);
  Object.assign(live, await acts['look-at-cohort']({ customer: run.test.customer, cohort }));
  live.hereMs = Date.now() - began;
  return run.soFar();
}

/** Whatever has ended the test: its users go home. Only what ends all tests, a real event, leaves them where they are. */
export async function bringHome(run: TestRun, found: Found): Promise<Found> {
  const { live } = run;
  if (!live) return found;
  const { cohort } = live;
  if (run.ended?.outcome !== 'superseded')
    run.show('returning', `asks for \`tandem failback start --to ${homeOf(cohort)} --half ${cohort}\`, signed by two`);
  const at = run.ended?.outcome === 'superseded' ? null : await untilHome(run, cohort);
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

async function untilHome(run: TestRun, cohort: string): Promise<Came | null> {
  const scope = new CancellationScope();
  try {
    return await scope.run(() => within(RETURNING_MS, awaitCohort(run, cohort, 'home')));
  } catch {
    return null; // Nobody could look: the receipt says that they are not known to be home.
  } finally {
    scope.cancel();
  }
}

/** Null once the time is over; the other one ends with its scope. */
const within = <T>(ms: number, what: Promise<T>): Promise<T | null> => Promise.race([what, sleep(ms).then(() => null)]);

type Came = Awaited<ReturnType<typeof awaitCohort>>;
const awaitCohort = (run: TestRun, cohort: string, at: 'here' | 'home') =>
  guard['await-cohort']({ ...run.key, cohort, at });

function yieldsTo(run: TestRun, because: string): Found {
  run.end({ outcome: 'superseded', because });
  return run.soFar();
}
