import type { Client } from '@temporalio/client';
import proto from '@temporalio/proto';
import { searchAttributes } from '../workflows/model/names.ts';
import { DEPLOYMENT, isServed } from './current.ts';
import { grpcCode } from './temporal.ts';

/**
 * A move that Temporal UI shows as running, while its clock, its queries and its updates stand still. Either no worker runs
 * the build that it was begun by: it keeps the code it was approved with, and no other may go on with it. Or each attempt
 * at its workflow task fails, as when a history cannot be replayed: Temporal tries that for ever.
 */
export interface StrandedMove {
  customer: string;
  workflowId: string;
  runId: string;
  build: string;
  reason: StrandedReason;
  /** Of `task-fails`: which attempt in a row it is at, and the last error. */
  attempts?: number;
  error?: string;
}

export const strandedReasons = ['no-worker', 'task-fails'] as const;
export type StrandedReason = (typeof strandedReasons)[number];

const NOT_FOUND = 5;
/** The try after one that failed may be that of a worker that was killed. The third is known after 20 s at most. */
const ATTEMPTS = 3;
/** Events back from the end of a history among which its last failure lies: tries after the first leave none. */
const LOOK_BACK = 20;
const { VERSIONING_BEHAVIOR_PINNED } = proto.temporal.api.enums.v1.VersioningBehavior;

/** Those of one Temporal service. `goneMs`: a build whose pollers were not seen for so long has no worker. */
export async function strandedMoves(client: Client, { goneMs }: { goneMs?: number } = {}): Promise<StrandedMove[]> {
  const { namespace } = client.options;
  const served = new Map<string, Promise<boolean>>();
  const isAlive = async (buildId: string): Promise<boolean> => {
    try {
      return await isServed(client, {
        namespace,
        deploymentName: DEPLOYMENT,
        buildId,
        ...(goneMs !== undefined && { goneMs }),
      });
    } catch (error) {
      if (grpcCode(error) === NOT_FOUND) return false; // The service has forgotten that there ever was such a build.
      throw error;
    }
  };
  const found: StrandedMove[] = [];
  const query = "WorkflowType in ('failover', 'relocate') and ExecutionStatus = 'Running'";
  for await (const { workflowId, runId, typedSearchAttributes } of client.workflow.list({ query })) {
    const { raw } = await client.workflow.getHandle(workflowId, runId).describe();
    const { behavior, deploymentVersion } = raw.workflowExecutionInfo?.versioningInfo ?? {};
    const build = deploymentVersion?.buildId;
    // A run that no worker has begun is bound to no build: the current one takes it.
    if (behavior !== VERSIONING_BEHAVIOR_PINNED || !build) continue;
    const move = { customer: typedSearchAttributes.get(searchAttributes.customer) ?? '', workflowId, runId, build };
    const attempts = raw.pendingWorkflowTask?.attempt ?? 0;
    served.set(build, served.get(build) ?? isAlive(build));
    if (!(await served.get(build))) found.push({ ...move, reason: 'no-worker' });
    else if (attempts >= ATTEMPTS) {
      const error = await lastError(client, move);
      found.push({ ...move, reason: 'task-fails', attempts, ...(error !== null && { error }) });
    }
  }
  return found;
}

/** Why the last workflow task of a run failed; null when its history's end does not tell. */
async function lastError(client: Client, { workflowId, runId }: { workflowId: string; runId: string }) {
  const { history } = await client.workflowService.getWorkflowExecutionHistoryReverse({
    namespace: client.options.namespace,
    execution: { workflowId, runId },
    maximumPageSize: LOOK_BACK,
  });
  const failed = history?.events?.find((e) => e.workflowTaskFailedEventAttributes);
  return failed?.workflowTaskFailedEventAttributes?.failure?.message ?? null;
}

/** What goes on with it, at the site whose Temporal service has it. */
export const takeOverCommand = ({ customer, workflowId }: StrandedMove, site: string): string =>
  `tandem ${workflowId.split('/')[0]} resume --customer ${customer} --site ${site} --take-over`;

export const strandedText = ({ workflowId, build, reason, attempts = 1, error }: StrandedMove): string =>
  reason === 'no-worker'
    ? `${workflowId} waits for build ${build}, which no worker runs any more: it goes on with nothing and answers nobody`
    : `${workflowId} goes on with nothing and answers nobody: its workflow task failed ${attempts - 1} times in a row${error === undefined ? '' : `, with ${JSON.stringify(error)}`}`;

/** In a few words, as a subject has them. */
export const strandedHeads: Record<StrandedReason, string> = {
  'no-worker': 'no worker runs its build',
  'task-fails': 'its workflow task fails again and again',
};
