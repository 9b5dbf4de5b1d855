import { CancellationScope, setCurrentDetails } from '@temporalio/workflow';
import type { TestPlan } from '../../activities/test-types.ts';
import type { ContinuityTestInput, TestReceipt } from '../model/continuity.ts';
import { failure, failureText } from '../model/failures.ts';
import type { SnapshotCounts, SnapshotId } from '../model/snapshots.ts';
import { acts } from './activities.ts';
import { NO_COUNTS, notTested } from '../model/test-verdict.ts';

/** The rest of a run that a build began which looked for no residue: in its order, so that it replays. */
export async function goOnAsBefore(
  test: ContinuityTestInput,
  { site, turn, snapshot, point }: TestPlan & { snapshot: SnapshotId },
  { run, at }: { run: string; at: string },
): Promise<{ held: true; receipt: TestReceipt; vaultKey: string }> {
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
    notTested: notTested('isolated'),
  };
  const { vaultKey } = await acts['write-test-receipt']({ receipt });
  setCurrentDetails(`${receipt.outcome}: ${proof.mismatches} rows differ. ${receipt.because}`);
  if (receipt.outcome === 'failed')
    throw failure('restore-differs', `${test.customer}: ${proof.because}`, { vaultKey });
  return { held: true, receipt, vaultKey };
}

async function prove(
  run: string,
  snapshot: SnapshotId,
): Promise<{ counts: SnapshotCounts; mismatches: number; because: string }> {
  try {
    await acts['restore-scratch']({ run, snapshot });
    const { counts, mismatches } = await acts['compare-scratch']({ run, snapshot });
    const because = mismatches === 0 ? '' : `${mismatches} rows differ from the records of the vault`;
    return { counts, mismatches, because };
  } catch (error) {
    return { counts: NO_COUNTS, mismatches: 0, because: failureText(error) };
  } finally {
    await CancellationScope.nonCancellable(() => acts['drop-scratch']({ run, customer: snapshot.customer }));
  }
}
