import { ActivityCancellationType, proxyActivities, setCurrentDetails, setWorkflowOptions } from '@temporalio/workflow';
import type { StandbyActivities } from '../activities/types.ts';
import type { ApplyCounts, Receipt, SnapshotId } from './model/snapshots.ts';
import { HEARTBEAT_TIMEOUT } from './move/activities.ts';

export interface StandbyInput {
  customer: string;
  budgetMs: number;
}

export interface StandbyResult {
  peer: 'reached' | 'unreachable';
  pulled: number;
  receipt: Receipt | null;
  applied: { snapshot: SnapshotId; counts: ApplyCounts } | null;
}

/** Pulls what the peer has protected, proves it here, and keeps the standby copy at the newest covered snapshot. */
export async function standby(input: StandbyInput): Promise<StandbyResult> {
  const acts = proxyActivities<StandbyActivities>({
    startToCloseTimeout: input.budgetMs,
    scheduleToCloseTimeout: 1.8 * input.budgetMs,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '2s', backoffCoefficient: 2, maximumInterval: '1m' },
  });
  const { customer } = input;
  const pull = await acts['pull-snapshots']({ customer });
  const receipt = pull.unverified ? await acts['verify-snapshot']({ snapshot: pull.unverified }) : null;
  // A suspect one is kept, and whatever was to be applied before stays.
  const snapshot = receipt && receipt.suspect === undefined ? receipt.snapshot : pull.unapplied;
  const applied = snapshot ? { snapshot, counts: await acts['apply-standby']({ snapshot }) } : null;
  const newest = receipt
    ? receipt.suspect === undefined
      ? `snapshot ${receipt.snapshot.seq} of ${receipt.snapshot.site} is covered, recovery point ${receipt.point}`
      : `snapshot ${receipt.snapshot.seq} of ${receipt.snapshot.site} is SUSPECT: ${receipt.suspect}. It is kept, and neither applied nor counted until \`tandem snapshot accept\``
    : 'nothing new';
  const quarantined = applied?.counts.quarantined ?? 0;
  const held = quarantined > 0 ? ` ${quarantined} users are in quarantine: their ACL cannot be read.` : '';
  setCurrentDetails((pull.peer === 'reached' ? `${newest}.` : `The peer did not answer: ${pull.because}.`) + held);
  return { peer: pull.peer, pulled: pull.pulled.length, receipt, applied };
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, standby);
