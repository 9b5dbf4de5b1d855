import { ActivityCancellationType, proxyActivities, setCurrentDetails, setWorkflowOptions } from '@temporalio/workflow';
import type { SnapshotActivities } from '../activities/types.ts';
import type { SnapshotSummary } from './model/snapshots.ts';
import { HEARTBEAT_TIMEOUT } from './move/activities.ts';

export interface SnapshotInput {
  customer: string;
  /** How long a run may take before it is ended with its cause, in ms. */
  budgetMs: number;
  /** `all` (the default) reads every row and checks the ledger; `changes` reads the users that the ledger says differ. */
  read?: 'all' | 'changes';
}

/** Copies the contacts and ACLs of the users served here into this site's own vault, and tells the peer. */
export async function snapshot(input: SnapshotInput): Promise<SnapshotSummary> {
  const acts = proxyActivities<SnapshotActivities>({
    startToCloseTimeout: input.budgetMs,
    // Below the run's own time-out of twice the budget, so that the run ends with the cause and not with silence.
    scheduleToCloseTimeout: 1.8 * input.budgetMs,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '2s', backoffCoefficient: 2, maximumInterval: '1m' },
  });
  const taken = await acts['take-snapshot']({ customer: input.customer, ...(input.read && { read: input.read }) });
  const { nudged, because } = await acts['nudge-standby']({ customer: input.customer });
  const { users, contacts, aclItems } = taken.counts;
  setCurrentDetails(
    `Snapshot ${taken.seq} of ${taken.site}: ${users} users, ${contacts} contacts, ${aclItems} ACL items, recovery point ${taken.point}.\n\n` +
      (nudged ? 'The peer was told.' : `The peer was not told (${because}); it looks by itself.`),
  );
  return taken;
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, snapshot);
