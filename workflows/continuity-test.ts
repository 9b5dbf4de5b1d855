import { CancellationScope, CancelledFailure, condition, patched, setWorkflowOptions } from '@temporalio/workflow';
import type { TestPlan } from '../activities/test-types.ts';
import { acts } from './continuity/activities.ts';
import { goOnAsBefore } from './continuity/before.ts';
import { bringHere, bringHome } from './continuity/live.ts';
import { TestRun } from './continuity/run.ts';
import { judge, notTested, nothingFound, type Found } from './model/test-verdict.ts';
import { isTestKind, type ContinuityTestInput, type TestReceipt, type TestTimes } from './model/continuity.ts';
import { failure, failureText } from './model/failures.ts';
import type { SnapshotId } from './model/snapshots.ts';
import { leftBy, type Inventory } from './model/test-inventory.ts';
import { pager } from './move/activities.ts';

/** A test that was held ends with its receipt; one that was not this site's turn, or could not be held, with that reason. */
export type ContinuityTestResult =
  | { held: true; receipt: TestReceipt; vaultKey: string }
  | { held: false; because: string };

/** People come together and are gone again within a working day. */
const CONFIRM_WITHIN_MS = 8 * 3_600_000;

/**
 * Proves that a failover to this site would work: on paper, or beside the service with the
 * peer's newest covered snapshot, or with a cohort of real users. It yields to any move, ends at an operator's word, and fails on what it leaves behind.
 */
export async function continuityTest(test: ContinuityTestInput): Promise<ContinuityTestResult> {
  const run = new TestRun(test); // Handlers first: somebody may already want to end it.
  const plan = await run.plan();
  if (!('turn' in plan)) {
    run.show('ended', plan.because);
    return { held: false, because: plan.because };
  }
  const { customer, kind } = test;
  const { snapshot } = plan;
  if (kind === 'isolated' && !(snapshot && plan.point))
    throw failure('no-recovery-point', `${customer}: ${plan.site} holds no covered snapshot of its peer`);
  if (!patched('whole-test') && snapshot)
    return goOnAsBefore(test, { ...plan, snapshot }, { run: run.run, at: run.startedAt });
  if (!isTestKind(kind)) throw failure('input-invalid', `${JSON.stringify(kind)} test of ${customer}: no such kind`);

  run.show('beginning', plan.turn.because);
  // Whoever cancels now leaves nothing behind: what has begun is closed.
  const begun = await CancellationScope.nonCancellable(() => acts['begin-test']({ ...run.key, kind }));
  const found = await run.hold(() =>
    snapshot ? restoreBeside(run, snapshot) : kind === 'live' ? bringHere(run) : walkOnPaper(run),
  );
  return CancellationScope.nonCancellable(async () => close(run, { plan, begun, found: await bringHome(run, found) }));
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, continuityTest);

/** Restores the snapshot into a database of its own, by the code of a real restore, and compares every row. */
async function restoreBeside(run: TestRun, snapshot: SnapshotId): Promise<Found> {
  const input = { run: run.run, snapshot };
  run.show('restoring');
  const began = Date.now();
  await acts['restore-scratch'](input);
  const restored = Date.now();
  run.soFar = () => ({ ...nothingFound, restoreMs: restored - began });
  run.show('comparing');
  const compared = await acts['compare-scratch'](input);
  return { ...compared, restoreMs: restored - began, compareMs: Date.now() - restored };
}

/** Reads the plan of a failover out, and waits until people have said of each of their steps that they can do it. */
async function walkOnPaper(run: TestRun): Promise<Found> {
  const { customer, page, confirmWithinMs = CONFIRM_WITHIN_MS } = run.test;
  const walk = await acts['read-paper']({ customer, at: run.startedAt });
  run.people = walk.people;
  let paged: string[] | null = null;
  run.soFar = () => ({ ...nothingFound, paper: { ...walk, people: run.people, paged } });
  if (page) paged = await pageForTabletop(run);
  const everybody = (): boolean => run.people.every(({ confirmedBy }) => confirmedBy !== null);
  run.show('on-paper', 'until everybody has confirmed');
  if (confirmWithinMs > 0)
    await condition(() => run.finished || everybody(), confirmWithinMs, { summary: 'people confirm their steps' });
  return run.soFar();
}

async function pageForTabletop(run: TestRun): Promise<string[]> {
  const { customer } = run.test;
  const { sent } = await pager['page-operators']({
    customer,
    move: null,
    key: `continuity-test/${customer}/${run.run}`,
    severity: 'info',
    subject: `${customer}: a failover is walked through ON PAPER, nothing is lost`,
    text: `Say which of your steps you can do.\nNext: tandem test list --customer ${customer}`,
  });
  return sent;
}

interface Held {
  plan: TestPlan;
  begun: { before: Inventory; removed: string[] };
  found: Found;
}

/** Cleans up whatever happened, looks what is left, and signs what was found. */
async function close(run: TestRun, { plan, begun, found }: Held): Promise<ContinuityTestResult> {
  const { customer, kind } = run.test;
  run.show('cleaning');
  const { left, yields } = await cleanUp(run, begun.before);
  if (yields !== null) run.ended ??= { outcome: 'superseded', because: yields };
  const times = timesOf(run, plan, found);
  const { accounts } = plan;
  const judged = judge({ found, ended: run.ended, left, times, accounts: kind === 'isolated' ? accounts : null });
  const receipt: TestReceipt = {
    format: 1,
    customer,
    kind,
    site: plan.site,
    run: run.run,
    outcome: judged.outcome,
    snapshot: plan.snapshot,
    point: plan.point,
    startedAt: run.startedAt,
    endedAt: new Date(Date.now()).toISOString(),
    counts: found.counts,
    mismatches: found.mismatches,
    because: judged.because || plan.turn.because,
    notTested: isTestKind(kind)
      ? notTested(kind, { ...(accounts !== undefined && { accounts }), ...(found.live && { live: found.live }) })
      : [],
    residue: { left, removed: begun.removed },
    ...(times && { times }),
    ...(found.quarantined !== undefined && { quarantined: found.quarantined }),
    ...(accounts !== undefined && { accounts }),
    ...(found.paper && { paper: found.paper }),
    ...(found.live && { live: found.live }),
    ...(run.test.despiteBlackout !== undefined && { despiteBlackout: run.test.despiteBlackout }),
  };
  const { vaultKey } = await acts['write-test-receipt']({ receipt });
  await acts['end-test'](run.key);
  run.close(receipt.outcome, receipt.because);
  if (judged.outcome === 'failed') throw failure(judged.kind, `${customer}: ${judged.because}`, { vaultKey });
  // Whoever cancelled the run in Temporal UI sees that it was.
  if (run.cancelled) throw new CancelledFailure(judged.because);
  return { held: true, receipt, vaultKey };
}

/** A database that stays away is told in the receipt: the test must not end without one. */
async function cleanUp(run: TestRun, before: Inventory): Promise<{ left: string[]; yields: string | null }> {
  try {
    if (run.test.kind === 'isolated') await acts['drop-scratch'](run.key);
    const { after, yields } = await acts['inspect-test'](run.key);
    const moved = yields !== null || run.ended?.outcome === 'superseded';
    return { left: leftBy(before, after, { moved, back: run.live !== null && !moved }), yields };
  } catch (error) {
    return { left: [`nobody could look what is left: ${failureText(error)}`], yields: null };
  }
}

function timesOf(run: TestRun, { promised, point }: TestPlan, { restoreMs, compareMs }: Found): TestTimes | undefined {
  if (!promised) return undefined;
  const pointAgeMs = point === null ? null : Date.parse(run.startedAt) - Date.parse(point);
  return { restoreMs, compareMs, pointAgeMs, ...promised };
}
