import { Client, Connection } from '@temporalio/client';

/** Asks a Temporal service whether it is there. Apart from other calls to a peer: the data mover needs no Temporal client. */
export async function peerTemporal(
  { address, namespace }: { address: string; namespace: string },
  limitMs: number,
): Promise<void> {
  // Without the SDK's retries: a refused connection is an answer, not worth the rest of the limit.
  const connection = Connection.lazy({ address, interceptors: [] });
  try {
    const client = new Client({ connection, namespace });
    await connection.withDeadline(Date.now() + limitMs, () => client.workflowService.describeNamespace({ namespace }));
  } finally {
    // Not waited for, and nothing hangs on it: the channel is of this call only.
    void connection.close().catch(() => undefined);
  }
}
