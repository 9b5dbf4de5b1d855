import { ActivityCancellationType, proxyActivities, setCurrentDetails, setWorkflowOptions } from '@temporalio/workflow';
import type { RetentionActivities } from '../activities/types.ts';
import type { RetentionResult } from './model/retention.ts';
import { HEARTBEAT_TIMEOUT } from './move/activities.ts';

export interface RetentionInput {
  customer: string;
  /** How long a run may take, in ms. */
  budgetMs: number;
}

/**
 * Keeps this site's own vault to what is kept: of its own snapshots and of its copies of the peer's. Nothing waits for
 * it: a run that fails leaves what it would have deleted to the next one.
 */
export async function retention(input: RetentionInput): Promise<RetentionResult> {
  const acts = proxyActivities<RetentionActivities>({
    startToCloseTimeout: input.budgetMs,
    // Below the run's own time-out of twice the budget, so that the run ends with the cause and not with silence.
    scheduleToCloseTimeout: 1.8 * input.budgetMs,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '10s', backoffCoefficient: 2, maximumInterval: '5m' },
  });
  const done = await acts['delete-expired']({ customer: input.customer });
  setCurrentDetails(detailsOf(done));
  return done;
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, retention);

function detailsOf({ site, mode, heldBy, totals }: RetentionResult): string {
  const lines = [
    `Vault of ${site}: ${totals.deleted.generations} generations deleted (${totals.deleted.bytes} bytes), ` +
      `${totals.kept.generations} kept, ${totals.pinned.generations} pinned, ${totals.locked.generations} locked.`,
  ];
  if (mode === 'no-cleaner')
    lines.push(
      `${totals.expired.generations} could go (${totals.expired.bytes} bytes), but this site has no \`vault.cleaner\`.`,
    );
  if (heldBy !== null) lines.push(`Move ${heldBy} is live: nothing is deleted while it lasts.`);
  return lines.join('\n\n');
}
