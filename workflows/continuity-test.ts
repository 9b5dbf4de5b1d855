import {
  ActivityCancellationType,
  CancellationScope,
  proxyActivities,
  setCurrentDetails,
  setWorkflowOptions,
  workflowInfo,
} from '@temporalio/workflow';
import type { ContinuityActivities } from '../activities/types.ts';
import type { ContinuityTestInput, TestReceipt } from './model/continuity.ts';
import { failure, failureText } from './model/failures.ts';
import type { SnapshotCounts, SnapshotId } from './model/snapshots.ts';
import { HEARTBEAT_TIMEOUT } from './move/activities.ts';

/** A test that was held ends with its receipt; one that was not this site's turn ends with that reason. */
export type ContinuityTestResult =
  | { held: true; receipt: TestReceipt; vaultKey: string }
  | { held: false; because: string };

const acts = proxyActivities<ContinuityActivities>({
  startToCloseTimeout: '2h',
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '2s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 10 },
});

const NO_COUNTS: SnapshotCounts = { users: 0, contacts: 0, groups: 0, lists: 0, aclItems: 0, defaults: 0 };

/** Proves that the peer's newest covered snapshot can be restored, without touching what users see. */
export async function continuityTest(test: ContinuityTestInput): Promise<ContinuityTestResult> {
  const at = workflowInfo().startTime.toISOString();
  const { site, turn, snapshot, point } = await acts['plan-test']({ test, at });
  setCurrentDetails(turn.because);
  if (!turn.turn) return { held: false, because: turn.because };
  if (!snapshot || !point)
    throw failure('no-recovery-point', `${test.customer}: ${site} holds no covered snapshot of its peer`);

  const run = workflowInfo().firstExecutionRunId;
  const proof = await prove(run, snapshot);
  const receipt: TestReceipt = {
    format: 1,
    customer: test.customer,
    kind: test.kind,
    site,
    run,
    outcome: proof.because === '' ? 'passed' : 'failed',
    snapshot,
    point,
    startedAt: at,
    endedAt: new Date(Date.now()).toISOString(),
    counts: proof.counts,
    mismatches: proof.mismatches,
    because: proof.because || turn.because,
    notTested: [
      'the service itself: no user was moved, nobody signed in',
      'steering of traffic',
      'archives and uploaded files',
    ],
  };
  const { vaultKey } = await acts['write-test-receipt']({ receipt });
  const { users, contacts } = proof.counts;
  setCurrentDetails(
    `${receipt.outcome}: ${users} users, ${contacts} contacts compared, ${proof.mismatches} rows differ. ${receipt.because}`,
  );
  if (receipt.outcome === 'failed')
    throw failure('restore-differs', `${test.customer}: ${proof.because}`, { vaultKey });
  return { held: true, receipt, vaultKey };
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, continuityTest);

/** Restores, compares, and drops the scratch database whatever happened. A failure is an outcome, and gets its receipt. */
async function prove(
  run: string,
  snapshot: SnapshotId,
): Promise<{ counts: SnapshotCounts; mismatches: number; because: string }> {
  try {
    await acts['restore-scratch']({ run, snapshot });
    const { counts, mismatches } = await acts['compare-scratch']({ run, snapshot });
    return {
      counts,
      mismatches,
      because: mismatches === 0 ? '' : `${mismatches} rows differ from the records of the vault`,
    };
  } catch (error) {
    return { counts: NO_COUNTS, mismatches: 0, because: failureText(error) };
  } finally {
    await CancellationScope.nonCancellable(() => acts['drop-scratch']({ run, customer: snapshot.customer }));
  }
}
