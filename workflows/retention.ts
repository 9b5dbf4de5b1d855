import { ActivityCancellationType, proxyActivities, setCurrentDetails, setWorkflowOptions } from '@temporalio/workflow';
import type { HeldResult, RetentionActivities, StandbyActivities } from '../activities/types.ts';
import type { RetentionResult } from './model/retention.ts';
import { HEARTBEAT_TIMEOUT } from './move/activities.ts';

export interface RetentionInput {
  customer: string;
  /** How long a run may take, in ms. */
  budgetMs: number;
}

export interface RetentionRun extends RetentionResult {
  /** Of the snapshots of each site in this vault. */
  checks: HeldResult[];
}

/**
 * Opens what this site's own vault holds, of its own snapshots and of its copies of the peer's, and then keeps it to what is
 * kept. Nothing waits for it: a run that fails leaves the rest to the next one, and neither half of it to the other.
 */
export async function retention(input: RetentionInput): Promise<RetentionRun> {
  const acts = proxyActivities<RetentionActivities & Pick<StandbyActivities, 'verify-held'>>({
    startToCloseTimeout: input.budgetMs,
    // Both together below the run's own time-out of four times the budget: it ends with the cause, not with silence.
    scheduleToCloseTimeout: 1.8 * input.budgetMs,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '10s', backoffCoefficient: 2, maximumInterval: '5m' },
  });
  const { customer } = input;
  const [checks] = await Promise.allSettled([acts['verify-held']({ customer })]);
  const done = await acts['delete-expired']({ customer });
  if (checks.status === 'rejected') throw checks.reason;
  const lines = [...checks.value.map(checkLine), detailsOf(done)];
  setCurrentDetails(lines.join('\n\n'));
  return { ...done, checks: checks.value };
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, retention);

function checkLine({ of, snapshots, packs, bytes, damaged, repaired, uncovered, because }: HeldResult): string {
  const opened = `Snapshots of ${of}: ${snapshots} checked, ${packs} packs opened (${bytes} bytes)`;
  if (damaged === 0) return `${opened}${repaired > 0 ? `, ${repaired} objects mended from the peer's vault` : ''}.`;
  return `${opened}. **DAMAGED: ${damaged} objects** (${because}); snapshots ${uncovered.join(', ')} do not count.`;
}

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
