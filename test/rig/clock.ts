import { randomUUID } from 'node:crypto';
import type { Client, Connection } from '@temporalio/client';

/** What the SDK's types do not know yet of moving a run's clock: raw requests of the server's own interface. */
interface TimeSkipping {
  updateWorkflowExecutionOptions: (request: object) => Promise<unknown>;
  pollWorkflowExecutionTimeSkipping: (request: object) => Promise<unknown>;
}

/**
 * Moves a run's clock on by `ms`, on the real server: its timers fire, its activities run as ever. Returns once the
 * clock stands there. An update may be sent then; never to a run that skips freely.
 */
export async function passTime(client: Client, workflowId: string, ms: number): Promise<void> {
  const service = (client.connection as Connection).workflowService as unknown as TimeSkipping;
  const { namespace } = client.options;
  const id = randomUUID();
  const workflowExecution = { workflowId };
  const duration = { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1_000_000 };
  await service.updateWorkflowExecutionOptions({
    namespace,
    workflowExecution,
    workflowExecutionOptions: {
      timeSkippingConfig: { enabled: true, maxSessionSkipCount: 1000, fastForwardConfig: { id, duration } },
    },
    updateMask: { paths: ['time_skipping_config'] },
  });
  await service.pollWorkflowExecutionTimeSkipping({ namespace, workflowExecution, fastForwardId: id });
}
