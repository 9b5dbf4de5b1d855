import type { Client, WorkflowHandle } from '@temporalio/client';
import type { CustomerSettings } from '../activities/settings.ts';
import type { SnapshotSummary } from '../workflows/model/snapshots.ts';
import { scheduleIds, searchAttributes, taskQueue } from '../workflows/model/names.ts';
import type { Followed } from '../activities/types.ts';
import type { ProvisioningInput } from '../workflows/provisioning.ts';
import type { RetentionInput, RetentionRun } from '../workflows/retention.ts';
import type { SnapshotInput } from '../workflows/snapshot.ts';
import type { StandbyInput, StandbyResult } from '../workflows/standby.ts';
import { Fault } from './fault.ts';
import { pause } from './temporal.ts';

/** Runs that an operator asks for, beside those of the schedules. */

const stamp = (): string => new Date().toISOString().slice(0, 19);

/** Who waits for a run: he hears why it is tried again, each reason once, and may leave; the run goes on. */
interface Waiting {
  tell: (because: string) => void;
  signal: AbortSignal;
}

/** How often a run that is waited for is asked what stops it. */
const ASK_MS = 2000;
/** Four attempts to ask a directory, as the schedule has them. */
const FOLLOWING_LIMIT_MS = 600_000;

/** Takes a snapshot of what a site serves, and waits for it. */
export async function snapshotNow(
  client: Client,
  site: string,
  customer: Pick<CustomerSettings, 'id' | 'snapshots'>,
  { read = 'all', waiting }: { read?: 'all' | 'changes'; waiting?: Waiting } = {},
): Promise<SnapshotSummary> {
  const handle = await client.workflow.start<(input: SnapshotInput) => Promise<SnapshotSummary>>('snapshot', {
    workflowId: `snapshot/${customer.id}/now-${stamp()}`,
    taskQueue: taskQueue(site),
    args: [{ customer: customer.id, budgetMs: customer.snapshots.budgetMs, read }],
    typedSearchAttributes: [{ key: searchAttributes.customer, value: customer.id }],
    workflowExecutionTimeout: 2 * customer.snapshots.budgetMs,
    staticSummary: 'asked for by an operator',
  });
  if (!waiting) return handle.result();
  const over = new AbortController();
  const asking = tellFailures(handle, waiting, AbortSignal.any([over.signal, waiting.signal]));
  const left = Promise.withResolvers<never>();
  waiting.signal.addEventListener('abort', () => left.reject(notWaitedFor(handle.workflowId)), { once: true });
  try {
    return await Promise.race([handle.result(), left.promise]);
  } finally {
    over.abort();
    await asking;
  }
}

/** Lets a site ask the customer's directory, and waits for what becomes of its answer. */
export async function followNow(client: Client, site: string, customer: string): Promise<Followed> {
  return client.workflow.execute<(input: ProvisioningInput) => Promise<Followed>>('provisioning', {
    workflowId: `${scheduleIds.provisioning(customer)}/now-${stamp()}`,
    taskQueue: taskQueue(site),
    args: [{ customer }],
    typedSearchAttributes: [{ key: searchAttributes.customer, value: customer }],
    workflowExecutionTimeout: FOLLOWING_LIMIT_MS,
    staticSummary: 'asked for by an operator',
  });
}

const notWaitedFor = (run: string): Fault =>
  new Fault(
    `${run}: not waited for any longer, as asked; it goes on`,
    '`tandem snapshot list` shows it when it is there.',
  );

async function tellFailures(handle: WorkflowHandle, { tell }: Waiting, signal: AbortSignal): Promise<void> {
  let told = '';
  for (await pause(ASK_MS, signal); !signal.aborted; await pause(ASK_MS, signal)) {
    const run = await handle.describe().catch(() => null); // Away for a moment: asked again.
    const failed = run?.raw.pendingActivities?.find((activity) => activity.lastFailure);
    const because = failed?.lastFailure?.message ?? '';
    if (because !== '' && because !== told) tell(because);
    told = because || told;
  }
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
