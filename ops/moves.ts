import {
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  type Client,
  type WorkflowHandle,
} from '@temporalio/client';
import type { ClosedMove, FailoverInput, FailoverStatus } from '../workflows/model/moves.ts';
import { failoverId, searchAttributes, taskQueue } from '../workflows/model/names.ts';
import { endPhases } from '../workflows/model/phases.ts';
import { Fault } from './fault.ts';
import { pause } from './temporal.ts';

/** The failover of a customer, as operators and tests drive it. */

export type FailoverHandle = WorkflowHandle<(input: FailoverInput) => Promise<ClosedMove>>;

export function failoverHandle(client: Client, customer: string): FailoverHandle {
  return client.workflow.getHandle<(input: FailoverInput) => Promise<ClosedMove>>(failoverId(customer));
}

/**
 * Declares a site lost. A customer has one failover at a time: a second start names the one that runs. One that has ended
 * and only waits for its vault is ended: the worker seals what it leaves.
 */
export async function startFailover(
  client: Client,
  site: string,
  input: FailoverInput,
  { replace = false } = {},
): Promise<FailoverHandle> {
  try {
    await client.workflow.start<(input: FailoverInput) => Promise<ClosedMove>>('failover', {
      workflowId: failoverId(input.customer),
      taskQueue: taskQueue(site),
      args: [input],
      workflowIdConflictPolicy: replace ? 'TERMINATE_EXISTING' : 'FAIL',
      typedSearchAttributes: [{ key: searchAttributes.customer, value: input.customer }],
      staticSummary: `${input.customer}: ${input.from} is lost, ${site} takes over`,
      staticDetails: `Declared by ${input.requestedBy}: ${input.reason}`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    const handle = failoverHandle(client, input.customer);
    const there = await handle.query<FailoverStatus>('status').catch(() => null); // One that answers nobody is not ended.
    if (!replace && there?.notSealed && endPhases.includes(there.phase))
      return startFailover(client, site, input, { replace: true });
    throw new Fault(
      `failover of ${input.customer}: one is already running`,
      `\`tandem failover watch --customer ${input.customer}\` shows where it stands.`,
    );
  }
  return failoverHandle(client, input.customer);
}

/**
 * Goes on with the move that holds the customer's slot, from its journal: after a terminate, on an empty Temporal service,
 * or with another build. `replace`: a run that is there is ended first, in the same call.
 */
export async function resumeFailover(
  client: Client,
  site: string,
  customer: string,
  { replace = false } = {},
): Promise<FailoverHandle> {
  try {
    await client.workflow.start<(input: { customer: string; resume: true }) => Promise<ClosedMove>>('failover', {
      workflowId: failoverId(customer),
      taskQueue: taskQueue(site),
      args: [{ customer, resume: true }],
      workflowIdConflictPolicy: replace ? 'TERMINATE_EXISTING' : 'FAIL',
      typedSearchAttributes: [{ key: searchAttributes.customer, value: customer }],
      staticSummary: `${customer}: ${site} goes on with the move that holds the slot`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw new Fault(
      `resume of ${customer}: a run of it is there`,
      `\`tandem failover watch --customer ${customer}\` follows it. Is it paused? Then \`tandem failover resume --operator ID --key FILE\`. Does it answer nobody, because its build has no worker any more or its workflow task fails again and again? Then \`tandem failover resume --take-over\` ends it and goes on.`,
    );
  }
  return failoverHandle(client, customer);
}

/** What the run says of itself; also of one that has ended, for as long as Temporal keeps it. */
export async function failoverStatus(handle: FailoverHandle): Promise<FailoverStatus> {
  try {
    return await handle.query<FailoverStatus>('status');
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw noFailover(handle.workflowId.slice('failover/'.length));
    // An empty Temporal service: its first worker prepares it.
    if (error instanceof Error && error.message.startsWith('Namespace not found'))
      throw new Fault(
        `Temporal of this site: ${error.message}; no worker was ever started on it`,
        '`tandem worker --site SITE` prepares it (in the embedded stack `tandem dev up`); then `tandem failover resume`, or `start`.',
      );
    throw error;
  }
}

export function noFailover(customer: string): Fault {
  return new Fault(
    `failover of ${customer}: none is known to this site's Temporal service`,
    `\`tandem failover start --customer ${customer} --from SITE --reason TEXT --requested-by ID --isolation TEXT\` declares one; \`tandem failover report\` reads the vault.`,
  );
}

/** Why a move stands although its status says that it goes on: its run failed, or somebody ended it. Null when it runs. */
export async function standsBecause(
  handle: FailoverHandle,
  { customer, phase }: Pick<FailoverStatus, 'customer' | 'phase'>,
): Promise<Error | null> {
  if (endPhases.includes(phase)) return null;
  const { name } = (await handle.describe()).status;
  if (name === 'RUNNING') return null;
  if (name === 'FAILED')
    return handle.result().then(
      () => null,
      (error: Error) => error,
    );
  return new Fault(
    `failover of ${customer}: its run is ${name.toLowerCase().replaceAll('_', ' ')}; it stood in phase ${phase}, and its move holds the slot`,
    `\`tandem failover resume --customer ${customer}\` goes on from its journal: what was signed and done counts.`,
  );
}

/**
 * Follows a run and hands on every status in which something changed, until it has ended or `enough` says so. A worker
 * that restarts meanwhile is waited for.
 */
export async function followFailover(
  handle: FailoverHandle,
  seen: (status: FailoverStatus) => void,
  {
    enough = () => false,
    everyMs = 250,
    signal,
  }: { enough?: (status: FailoverStatus) => boolean; everyMs?: number; signal?: AbortSignal } = {},
): Promise<FailoverStatus> {
  let last = '';
  for (;;) {
    const status = await failoverStatus(handle);
    const now = JSON.stringify(status);
    if (now !== last) seen(status);
    last = now;
    if (endPhases.includes(status.phase) || enough(status) || signal?.aborted) return status;
    // A run that failed before it had a phase to end in has no more to say.
    if ((await handle.describe()).status.name !== 'RUNNING') return failoverStatus(handle);
    await pause(everyMs, signal);
  }
}
