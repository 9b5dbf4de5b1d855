import {
  ActivityCancellationType,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setWorkflowOptions,
} from '@temporalio/workflow';
import type { StandbyActivities } from '../activities/types.ts';
import type { ApplyCounts, Receipt, SalvageSummary, SnapshotId } from './model/snapshots.ts';
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
  /** What this site alone had when it came back; left out when that was nothing. */
  salvaged?: SalvageSummary[];
}

/** A salvage that keeps failing must not keep the peer unprotected: its vault is covered all the same. */
const SALVAGE_ATTEMPTS = 3;

/**
 * Pulls what the peer has protected, proves it here, and keeps the standby copy at the newest covered snapshot. At a site
 * that came back it salvages first what that alone has: over anything else no copy is applied.
 */
export async function standby(input: StandbyInput): Promise<StandbyResult> {
  const limits = {
    startToCloseTimeout: input.budgetMs,
    scheduleToCloseTimeout: 1.8 * input.budgetMs,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  };
  const retry = { initialInterval: '2s', backoffCoefficient: 2, maximumInterval: '1m' } as const;
  const acts = proxyActivities<StandbyActivities>({ ...limits, retry });
  const few = proxyActivities<StandbyActivities>({ ...limits, retry: { ...retry, maximumAttempts: SALVAGE_ATTEMPTS } });
  const { customer } = input;
  let pull = await acts['pull-snapshots']({ customer, follow: true });
  let salvaged: SalvageSummary[] = [];
  let fault: Error | null = null;
  if (pull.unsalvaged) {
    try {
      salvaged = await few['salvage-halves']({ customer });
    } catch (error) {
      if (isCancellation(error)) throw error;
      fault = error as Error;
    }
    pull = await acts['pull-snapshots']({ customer, goOn: true });
  }
  const receipt =
    pull.receipt ?? (pull.unverified ? await acts['verify-snapshot']({ snapshot: pull.unverified }) : null);
  // A suspect one is kept, and whatever was to be applied before stays.
  const snapshot = receipt && receipt.suspect === undefined ? receipt.snapshot : pull.unapplied;
  if (fault) throw fault;
  const applied = snapshot ? { snapshot, counts: pull.applied ?? (await acts['apply-standby']({ snapshot })) } : null;
  const newest = receipt
    ? receipt.suspect === undefined
      ? `snapshot ${receipt.snapshot.seq} of ${receipt.snapshot.site} is covered, recovery point ${receipt.point}`
      : `snapshot ${receipt.snapshot.seq} of ${receipt.snapshot.site} is SUSPECT: ${receipt.suspect}. It is kept, and neither applied nor counted until \`tandem snapshot accept\``
    : 'nothing new';
  const quarantined = applied?.counts.quarantined ?? 0;
  const held = quarantined > 0 ? ` ${quarantined} users are in quarantine: their ACL cannot be read.` : '';
  const users = salvaged.reduce((sum, { counts }) => sum + counts.users, 0);
  const kept = salvaged.length > 0 ? ` What this site alone has of ${users} users was salvaged.` : '';
  setCurrentDetails(
    (pull.peer === 'reached' ? `${newest}.` : `The peer did not answer: ${pull.because}.`) + held + kept,
  );
  return { peer: pull.peer, pulled: pull.pulled.length, receipt, applied, ...(salvaged.length > 0 && { salvaged }) };
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, standby);
