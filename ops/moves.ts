import type { Client, WorkflowHandle } from '@temporalio/client';
import {
  moveCommand,
  moveName,
  type ClosedMove,
  type FailoverInput,
  type FailoverStatus,
  type MoveInput,
  type MoveName,
  type MoveWorkflow,
} from '../workflows/model/moves.ts';
import { moveId, searchAttributes, taskQueue } from '../workflows/model/names.ts';
import { endPhases } from '../workflows/model/phases.ts';
import { Fault } from './fault.ts';
import { pause } from './temporal.ts';
import { isTemporal } from './temporal-errors.ts';

/** The moves of a customer, as operators and tests drive them. */

type Move = (input: MoveInput) => Promise<ClosedMove>;

/** Of the run of a move, whichever workflow that has. */
export type FailoverHandle = WorkflowHandle<Move>;

export const workflowOf = (name: MoveName): MoveWorkflow => (name === 'failover' ? name : 'relocate');

export const moveHandle = (client: Client, workflow: MoveWorkflow, customer: string): FailoverHandle =>
  client.workflow.getHandle<Move>(moveId(workflow, customer));

export const failoverHandle = (client: Client, customer: string): FailoverHandle =>
  moveHandle(client, 'failover', customer);

/** It has failed before there was a plan: its start was refused, and nothing of it ever was to be signed. */
const wasRefused = ({ plan, phase }: Pick<FailoverStatus, 'plan' | 'phase'>): boolean =>
  plan === null && (phase === 'declared' || phase === 'planning');

/** Older runs that are looked through for one that began: nobody is refused so often in a row. */
const MOST_RUNS = 20;

/** The run that lives, else the last one that really began: a start that was refused hides none. Null where there is none. */
export async function lastBegun(
  client: Client,
  workflow: MoveWorkflow,
  customer: string,
): Promise<FailoverHandle | null> {
  const newest = moveHandle(client, workflow, customer);
  const { status, runId } = await newest.describe().catch((error: unknown) => {
    if (isUnknown(error)) return { status: { name: 'NONE' }, runId: '' };
    throw error;
  });
  if (status.name === 'NONE') return null;
  if (status.name !== 'FAILED' || !(await isRefused(newest))) return newest;
  const query = `WorkflowId = '${newest.workflowId}'`;
  const older: { runId: string; name: string; at: number }[] = [];
  for await (const run of client.workflow.list({ query, pageSize: MOST_RUNS })) {
    if (run.runId !== runId) older.push({ runId: run.runId, name: run.status.name, at: run.startTime.getTime() });
    if (older.length >= MOST_RUNS) break;
  }
  for (const { runId: id, name } of older.toSorted((a, b) => b.at - a.at)) {
    const handle = client.workflow.getHandle<Move>(newest.workflowId, id);
    if (name !== 'FAILED' || !(await isRefused(handle))) return handle;
  }
  return null;
}

/** None was ever started there, or its service is empty. */
const isUnknown = (error: unknown): boolean =>
  isTemporal(error, 'WorkflowNotFoundError') ||
  (error instanceof Error && error.message.startsWith('Namespace not found'));

const isRefused = async (handle: FailoverHandle): Promise<boolean> => {
  const status = await handle.query<FailoverStatus>('status').catch(() => null); // Its worker is away: it counts as begun.
  return status !== null && wasRefused(status);
};

/** Declares a site lost; see `startMove`. */
export const startFailover = (
  client: Client,
  site: string,
  input: FailoverInput,
  options: { replace?: boolean } = {},
): Promise<FailoverHandle> => startMove(client, site, 'failover', input, options);

/**
 * Asks for a move. A customer has one of a workflow at a time: a second start names the one that runs. One that has ended
 * and only waits for its vault is ended: the worker seals what it leaves.
 */
export async function startMove(
  client: Client,
  site: string,
  workflow: MoveWorkflow,
  input: MoveInput,
  { replace = false }: { replace?: boolean } = {},
): Promise<FailoverHandle> {
  const { customer, from, half, to } = input;
  const name = moveName(workflow, input);
  try {
    await client.workflow.start<Move>(workflow, {
      workflowId: moveId(workflow, customer),
      taskQueue: taskQueue(site),
      args: [input],
      workflowIdConflictPolicy: replace ? 'TERMINATE_EXISTING' : 'FAIL',
      typedSearchAttributes: [{ key: searchAttributes.customer, value: customer }],
      staticSummary:
        workflow === 'failover'
          ? `${customer}: ${from} is lost, ${site} takes over`
          : `${customer}: ${name}, users of ${half} from ${from} to ${to}`,
      staticDetails: `${workflow === 'failover' ? 'Declared' : 'Asked for'} by ${input.requestedBy}: ${input.reason}`,
    });
  } catch (error) {
    if (!isTemporal(error, 'WorkflowExecutionAlreadyStartedError')) throw error;
    const handle = moveHandle(client, workflow, customer);
    const there = await handle.query<FailoverStatus>('status').catch(() => null); // One that answers nobody is not ended.
    if (!replace && there?.notSealed && endPhases.includes(there.phase))
      return startMove(client, site, workflow, input, { replace: true });
    const running = there?.kind ?? workflow;
    throw new Fault(
      `${name} of ${customer}: ${running === name ? 'one' : `a ${running}`} is already running`,
      `\`tandem ${running} watch --customer ${customer} --site ${site}\` shows where it stands.`,
    );
  }
  return moveHandle(client, workflow, customer);
}

/** Goes on with a failover; see `resumeMove`. */
export const resumeFailover = (
  client: Client,
  site: string,
  customer: string,
  options: { replace?: boolean } = {},
): Promise<FailoverHandle> => resumeMove(client, site, { workflow: 'failover', customer }, options);

/**
 * Goes on with the move that holds the customer's slot, from its journal: after a terminate, on an empty Temporal service,
 * or with another build. `replace`: a run that is there is ended first, in the same call.
 */
export async function resumeMove(
  client: Client,
  site: string,
  { workflow, customer, name = workflow }: { workflow: MoveWorkflow; customer: string; name?: MoveName },
  { replace = false }: { replace?: boolean } = {},
): Promise<FailoverHandle> {
  const about = `--customer ${customer} --site ${site}`;
  try {
    await client.workflow.start<(input: { customer: string; resume: true }) => Promise<ClosedMove>>(workflow, {
      workflowId: moveId(workflow, customer),
      taskQueue: taskQueue(site),
      args: [{ customer, resume: true }],
      workflowIdConflictPolicy: replace ? 'TERMINATE_EXISTING' : 'FAIL',
      typedSearchAttributes: [{ key: searchAttributes.customer, value: customer }],
      staticSummary: `${customer}: ${site} goes on with the move that holds the slot`,
    });
  } catch (error) {
    if (!isTemporal(error, 'WorkflowExecutionAlreadyStartedError')) throw error;
    throw new Fault(
      `resume of ${customer}: a run of it is there`,
      `\`tandem ${name} watch ${about}\` follows it. Is it paused? Then \`tandem ${name} resume ${about} --operator ID --key FILE\`. Does it answer nobody, because its build has no worker any more or its workflow task fails again and again? Then \`tandem ${name} resume ${about} --take-over\` ends it and goes on.`,
    );
  }
  return moveHandle(client, workflow, customer);
}

/** What the run says of itself; also of one that has ended, for as long as Temporal keeps it. */
export async function failoverStatus(handle: FailoverHandle): Promise<FailoverStatus> {
  try {
    return await handle.query<FailoverStatus>('status');
  } catch (error) {
    if (isTemporal(error, 'WorkflowNotFoundError')) throw noFailover(handle.workflowId);
    // An empty Temporal service: its first worker prepares it.
    if (error instanceof Error && error.message.startsWith('Namespace not found'))
      throw new Fault(
        `Temporal of this site: ${error.message}; no worker was ever started on it`,
        '`tandem worker --site SITE` prepares it (in the embedded stack `tandem dev up`); then `resume` the move, or `start` it.',
      );
    throw error;
  }
}

/** `workflowId`: as `moveId` gives it. */
export function noFailover(workflowId: string): Fault {
  const [workflow = '', customer = ''] = workflowId.split('/');
  return noMove(workflow === 'failover' ? workflow : 'relocate', customer, "this site's Temporal service");
}

/** `to`: who was asked. */
export function noMove(name: MoveName, customer: string, to: string): Fault {
  const start =
    name === 'failover'
      ? `\`tandem failover start --customer ${customer} --from SITE --reason TEXT --requested-by ID --isolation TEXT\` declares one`
      : `\`tandem ${name} start --customer ${customer} --to SITE --reason TEXT --requested-by ID\` asks for one`;
  return new Fault(
    `${name} of ${customer}: none is known to ${to}`,
    `${start}; \`tandem ${name} list --customer ${customer}\` shows those that the vaults know.`,
  );
}

/** Why a move stands although its status says that it goes on: its run failed, or somebody ended it. Null when it runs. */
export async function standsBecause(
  handle: FailoverHandle,
  s: Pick<FailoverStatus, 'customer' | 'phase' | 'kind' | 'from' | 'to'>,
): Promise<Error | null> {
  const { customer, phase, kind = 'failover' } = s;
  if (endPhases.includes(phase)) return null;
  const { name } = (await handle.describe()).status;
  if (name === 'RUNNING') return null;
  if (name === 'FAILED')
    return handle.result().then(
      () => null,
      (error: Error) => error,
    );
  return new Fault(
    `${kind} of ${customer}: its run is ${name.toLowerCase().replaceAll('_', ' ')}; it stood in phase ${phase}, and its move holds the slot`,
    `\`${moveCommand(s, 'resume')}\` goes on from its journal: what was signed and done counts.`,
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
