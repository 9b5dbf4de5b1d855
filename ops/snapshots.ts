import type { Client } from '@temporalio/client';
import type { CustomerSettings } from '../activities/settings.ts';
import type { SnapshotSummary } from '../workflows/model/snapshots.ts';
import { scheduleIds, searchAttributes, taskQueue } from '../workflows/model/names.ts';
import type { RetentionInput, RetentionRun } from '../workflows/retention.ts';
import type { SnapshotInput } from '../workflows/snapshot.ts';
import type { StandbyInput, StandbyResult } from '../workflows/standby.ts';

/** Runs that an operator asks for, beside those of the schedules. */

const stamp = (): string => new Date().toISOString().slice(0, 19);

/** Takes a snapshot of what a site serves, and waits for it. */
export async function snapshotNow(
  client: Client,
  site: string,
  customer: Pick<CustomerSettings, 'id' | 'snapshots'>,
  read: 'all' | 'changes' = 'all',
): Promise<SnapshotSummary> {
  return client.workflow.execute<(input: SnapshotInput) => Promise<SnapshotSummary>>('snapshot', {
    workflowId: `snapshot/${customer.id}/now-${stamp()}`,
    taskQueue: taskQueue(site),
    args: [{ customer: customer.id, budgetMs: customer.snapshots.budgetMs, read }],
    typedSearchAttributes: [{ key: searchAttributes.customer, value: customer.id }],
    workflowExecutionTimeout: 2 * customer.snapshots.budgetMs,
    staticSummary: 'asked for by an operator',
  });
}

/** Lets a site pull and prove what its peer has, and waits for it. */
export async function standbyNow(
  client: Client,
  site: string,
  customer: Pick<CustomerSettings, 'id' | 'snapshots'>,
): Promise<StandbyResult> {
  return client.workflow.execute<(input: StandbyInput) => Promise<StandbyResult>>('standby', {
    workflowId: `${scheduleIds.standby(customer.id)}/now-${stamp()}`,
    taskQueue: taskQueue(site),
    args: [{ customer: customer.id, budgetMs: customer.snapshots.budgetMs }],
    typedSearchAttributes: [{ key: searchAttributes.customer, value: customer.id }],
    workflowExecutionTimeout: 2 * customer.snapshots.budgetMs,
    staticSummary: 'asked for by an operator',
  });
}

/** Lets a site open what its vault holds and delete what is past its keeping, and waits for it. */
export async function retentionNow(
  client: Client,
  site: string,
  customer: Pick<CustomerSettings, 'id' | 'snapshots'>,
): Promise<RetentionRun> {
  return client.workflow.execute<(input: RetentionInput) => Promise<RetentionRun>>('retention', {
    workflowId: `${scheduleIds.retention(customer.id)}/now-${stamp()}`,
    taskQueue: taskQueue(site),
    args: [{ customer: customer.id, budgetMs: customer.snapshots.budgetMs }],
    typedSearchAttributes: [{ key: searchAttributes.customer, value: customer.id }],
    workflowExecutionTimeout: 4 * customer.snapshots.budgetMs,
    staticSummary: 'asked for by an operator',
  });
}
