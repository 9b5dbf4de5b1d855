import type { Client, Connection } from '@temporalio/client';
import proto from '@temporalio/proto';
import { pause } from './temporal.ts';

/** All workers of all sites are one deployment on their own Temporal service. */
export const DEPLOYMENT = 'tandem';

/** Pollers ask again at least once a minute: one that was not seen for longer is gone. */
const POLLER_GONE_MS = 75_000;
/** How often a build that is not the current one looks whether somebody still serves the current one. */
const LOOK_EVERY_MS = 30_000;

interface Build {
  namespace: string;
  deploymentName: string;
  buildId: string;
  /** A build whose pollers were not seen for so long lives no more. */
  goneMs?: number;
}

/**
 * Makes this build the one that new runs are given to, and answers null; or answers the build that stays the current one,
 * because it is newer and lives: an old build that starts again must not take new runs from it. Newer is which Temporal saw
 * first later; to go back to an old build, stop the workers of the newer one. Without a current version runs hang with no
 * error at all, so the worker is not ready before this has answered; it cannot before the service has seen the worker's
 * first poll.
 */
export async function makeCurrent(client: Client, build: Build, signal?: AbortSignal): Promise<string | null> {
  const { workflowService } = client.connection as Connection;
  const { namespace, deploymentName, buildId } = build;
  for (let attempt = 0; ; attempt += 1) {
    try {
      const { workerDeploymentInfo, conflictToken } = await workflowService.describeWorkerDeployment({
        namespace,
        deploymentName,
      });
      const current = workerDeploymentInfo?.routingConfig?.currentDeploymentVersion?.buildId ?? '';
      if (current === buildId) return null;
      const seen = new Map(
        (workerDeploymentInfo?.versionSummaries ?? []).map((v) => [v.deploymentVersion?.buildId, ms(v.createTime)]),
      );
      const own = seen.get(buildId);
      if (own === undefined) throw new Error(`build ${buildId}: Temporal has not seen it poll yet`);
      if (current !== '' && own < (seen.get(current) ?? 0) && (await isServed(client, { ...build, buildId: current })))
        return current;
      await workflowService.setWorkerDeploymentCurrentVersion({
        namespace,
        deploymentName,
        buildId,
        // Of two builds that start at once the second looks again.
        conflictToken,
        ignoreMissingTaskQueues: true,
        identity: 'tandem worker',
      });
      return null;
    } catch (error) {
      if (signal?.aborted || attempt > 600) throw error;
      await pause(100, signal);
    }
  }
}

/** Waits beside the newer build that is the current one, and takes its place when nobody serves it any more. */
export async function standBy(
  client: Client,
  build: Build,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  while (!signal.aborted) {
    await pause(LOOK_EVERY_MS, signal);
    if (signal.aborted) return;
    try {
      if ((await makeCurrent(client, build, signal)) !== null) continue;
      say(`build ${build.buildId} is the current one now: nobody serves the newer one any more`);
      return;
    } catch (error) {
      say(`the current build cannot be asked for: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

/** Whether a worker of the build was seen at one of its queues of workflows a moment ago. */
export async function isServed(
  client: Client,
  { namespace, deploymentName, buildId, goneMs = POLLER_GONE_MS }: Build,
): Promise<boolean> {
  const { workflowService } = client.connection as Connection;
  const { versionTaskQueues } = await workflowService.describeWorkerDeploymentVersion({
    namespace,
    deploymentVersion: { deploymentName, buildId },
  });
  const type = proto.temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW;
  for (const { name } of (versionTaskQueues ?? []).filter((q) => q.type === type)) {
    const { pollers } = await workflowService.describeTaskQueue({
      namespace,
      taskQueue: { name: name ?? '' },
      taskQueueType: type,
    });
    const living = (pollers ?? []).some(
      (p) => p.deploymentOptions?.buildId === buildId && Date.now() - ms(p.lastAccessTime) < goneMs,
    );
    if (living) return true;
  }
  return false;
}

/** A protobuf timestamp, in ms; 0 when there is none. */
function ms(at: { seconds?: unknown; nanos?: number | null } | null | undefined): number {
  return Number(at?.seconds ?? 0) * 1000 + (at?.nanos ?? 0) / 1e6;
}
