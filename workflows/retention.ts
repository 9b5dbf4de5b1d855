import {
  ActivityCancellationType,
  patched,
  proxyActivities,
  setCurrentDetails,
  setWorkflowOptions,
} from '@temporalio/workflow';
import type { ArchiveActivities, HeldResult, RetentionActivities, StandbyActivities } from '../activities/types.ts';
import type { ArchiveResult, RetentionResult } from './model/retention.ts';
import { HEARTBEAT_TIMEOUT } from './move/activities.ts';

export interface RetentionInput {
  customer: string;
  /** How long a run may take, in ms. */
  budgetMs: number;
}

export interface RetentionRun extends RetentionResult {
  /** Of the snapshots of each site in this vault. */
  checks: HeldResult[];
  /** Left out by runs of older builds. */
  archive?: ArchiveResult;
}

/**
 * Opens what this site's own vault holds, of its own snapshots and of its copies of the peer's, and then keeps it to what is
 * kept; and so the archive of the site's service. Nothing waits for it: a run that fails leaves the rest to the next one, and
 * no part of it to the others.
 */
export async function retention(input: RetentionInput): Promise<RetentionRun> {
  const acts = proxyActivities<RetentionActivities & ArchiveActivities & Pick<StandbyActivities, 'verify-held'>>({
    startToCloseTimeout: input.budgetMs,
    // Two, one after the other, stay below the run's own time-out of four times the budget: it ends with the cause, not with silence.
    scheduleToCloseTimeout: 1.8 * input.budgetMs,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '10s', backoffCoefficient: 2, maximumInterval: '5m' },
  });
  const { customer } = input;
  const [checks, archive] = await Promise.allSettled([
    acts['verify-held']({ customer }),
    patched('archive') ? acts['delete-expired-archive']({ customer }) : undefined,
  ]);
  const done = await acts['delete-expired']({ customer });
  if (checks.status === 'rejected') throw checks.reason;
  if (archive.status === 'rejected') throw archive.reason;
  const lines = [...checks.value.map(checkLine), detailsOf(done), ...archiveLine(archive.value)];
  setCurrentDetails(lines.join('\n\n'));
  return { ...done, checks: checks.value, ...(archive.value && { archive: archive.value }) };
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, retention);

function checkLine({ of, snapshots, packs, bytes, damaged, repaired, uncovered, because }: HeldResult): string {
  const opened = `Snapshots of ${of}: ${snapshots} checked, ${packs} packs opened (${bytes} bytes)`;
  if (damaged === 0) return `${opened}${repaired > 0 ? `, ${repaired} objects mended from the peer's vault` : ''}.`;
  return `${opened}. **DAMAGED: ${damaged} objects** (${because}); snapshots ${uncovered.join(', ')} do not count.`;
}

function archiveLine(result: ArchiveResult | undefined): string[] {
  if (!result || result.archive === 'no-option') return [];
  if (result.archive === 'missing')
    return ['**The service of this site has no archive**, and the customer has bought one.'];
  return [`Archive: ${result.deleted} messages from before ${result.before} deleted.`];
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
