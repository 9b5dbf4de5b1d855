import { Client, Connection } from '@temporalio/client';
import { scheduleIds } from '../../workflows/model/names.ts';
import type { SiteSettings } from '../settings.ts';

/** A nudge saves the peer a few minutes; it is not worth more than this. */
const NUDGE_LIMIT_MS = 3000;

/**
 * Triggers the peer's standby schedule, so that a new snapshot is covered at once. A silent peer is an answer: it looks
 * by itself every few minutes.
 */
export async function nudgeStandby(
  settings: SiteSettings,
  customer: string,
): Promise<{ nudged: boolean; because: string }> {
  const peer = settings.customers.get(customer)?.peer;
  const temporal = peer === undefined ? undefined : settings.peerTemporals.get(peer);
  if (!temporal) return { nudged: false, because: `no Temporal service of the peer of ${customer} is configured` };
  const connection = Connection.lazy({ address: temporal.address });
  try {
    const client = new Client({ connection, namespace: temporal.namespace });
    await connection.withDeadline(Date.now() + NUDGE_LIMIT_MS, () =>
      client.schedule.getHandle(scheduleIds.standby(customer)).trigger(),
    );
    return { nudged: true, because: `${peer} was told` };
  } catch (error) {
    const text =
      error instanceof Error ? (error.cause instanceof Error ? error.cause.message : error.message) : String(error);
    return { nudged: false, because: `${peer}: ${text}` };
  } finally {
    await connection.close();
  }
}
