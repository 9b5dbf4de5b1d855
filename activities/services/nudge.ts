import { Client, Connection, ScheduleOverlapPolicy } from '@temporalio/client';
import { scheduleIds } from '../../workflows/model/names.ts';
import type { SiteSettings } from '../settings.ts';

/** A nudge saves the peer a few minutes; it is not worth more than this. */
const NUDGE_LIMIT_MS = 3000;

export interface Nudged {
  nudged: boolean;
  because: string;
}

/**
 * Triggers the peer's standby schedule, so that a new snapshot is covered at once, beside whatever runs there. A silent peer is
 * an answer: it looks by itself every few minutes. `again`: after what runs there, and no more than once, so that whoever
 * goes on asking a slow peer does not make it slower.
 */
export const nudgeStandby = (settings: SiteSettings, customer: string, again = false): Promise<Nudged> =>
  trigger(settings, customer, scheduleIds.standby(customer), again ? ScheduleOverlapPolicy.BUFFER_ONE : undefined);

/** The same for its snapshots: whoever was just handed over is in none of them yet. */
export const nudgeSnapshot = (settings: SiteSettings, customer: string): Promise<Nudged> =>
  trigger(settings, customer, scheduleIds.snapshotEvery(customer));

async function trigger(
  settings: SiteSettings,
  customer: string,
  schedule: string,
  overlap?: ScheduleOverlapPolicy,
): Promise<Nudged> {
  const peer = settings.customers.get(customer)?.peer;
  const temporal = peer === undefined ? undefined : settings.peerTemporals.get(peer);
  if (!temporal) return { nudged: false, because: `no Temporal service of the peer of ${customer} is configured` };
  const connection = Connection.lazy({ address: temporal.address });
  try {
    const client = new Client({ connection, namespace: temporal.namespace });
    await connection.withDeadline(Date.now() + NUDGE_LIMIT_MS, () =>
      client.schedule.getHandle(schedule).trigger(overlap),
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
