import type { Client } from '@temporalio/client';
import proto from '@temporalio/proto';
import { searchAttributes } from '../workflows/model/names.ts';
import { DEPLOYMENT, isServed } from './current.ts';
import { grpcCode } from './temporal.ts';

/**
 * A move that was begun by a build which no worker runs any more. It keeps the code it was approved with, so that no other
 * build may go on with it: its clock, its queries and its updates stand still, and Temporal UI shows it as running.
 */
export interface StrandedMove {
  customer: string;
  workflowId: string;
  runId: string;
  build: string;
}

const NOT_FOUND = 5;
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
  const query = "WorkflowType = 'failover' and ExecutionStatus = 'Running'";
  for await (const { workflowId, runId, typedSearchAttributes } of client.workflow.list({ query })) {
    const customer = typedSearchAttributes.get(searchAttributes.customer) ?? '';
    const { raw } = await client.workflow.getHandle(workflowId, runId).describe();
    const { behavior, deploymentVersion } = raw.workflowExecutionInfo?.versioningInfo ?? {};
    const build = deploymentVersion?.buildId;
    // A run that no worker has begun is bound to no build: the current one takes it.
    if (behavior !== VERSIONING_BEHAVIOR_PINNED || !build) continue;
    served.set(build, served.get(build) ?? isAlive(build));
    if (!(await served.get(build))) found.push({ customer, workflowId, runId, build });
  }
  return found;
}

/** What goes on with it. */
export const takeOverCommand = ({ customer }: StrandedMove): string =>
  `tandem failover resume --customer ${customer} --take-over`;

export const strandedText = ({ workflowId, build }: StrandedMove): string =>
  `${workflowId} waits for build ${build}, which no worker runs any more: it goes on with nothing and answers nobody`;
