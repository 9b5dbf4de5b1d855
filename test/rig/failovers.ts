import type { KeyObject } from 'node:crypto';
import {
  failoverStatus,
  followFailover,
  sendVerb,
  signVerb,
  startFailover,
  type FailoverHandle,
  type VerbRequest,
} from '../../ops/moves.ts';
import { snapshotNow, standbyNow } from '../../ops/snapshots.ts';
import type { FailoverInput, FailoverStatus } from '../../workflows/model/moves.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import type { Site } from './databases.ts';
import { CUSTOMER, type Region } from './region.ts';
import { sql } from './sql.ts';

/** A snapshot of each site, covered by the other. Needs both sites' workers. */
export async function cover(region: Region): Promise<SnapshotSummary> {
  const { clients, settings } = region;
  const customer = settings.east.customers.get(CUSTOMER);
  if (!customer) throw new Error('no customer');
  const [east] = await Promise.all([
    snapshotNow(clients.east, 'east', customer),
    snapshotNow(clients.west, 'west', customer),
  ]);
  await Promise.all([standbyNow(clients.west, 'west', customer), standbyNow(clients.east, 'east', customer)]);
  return east;
}

export const declaration = (change: Partial<FailoverInput> = {}): FailoverInput => ({
  customer: CUSTOMER,
  from: 'east',
  reason: 'the hall is dark',
  requestedBy: 'operator-1',
  isolation: 'the breaker of the hall is open, seen by the duty engineer',
  ...change,
});

/** Declares east lost and waits for its plan. */
export async function declare(region: Region, change: Partial<FailoverInput> = {}): Promise<FailoverHandle> {
  const handle = await startFailover(region.clients.west, 'west', declaration(change));
  await reach(handle, (s) => s.phase === 'approving');
  return handle;
}

export async function reach(handle: FailoverHandle, point: (s: FailoverStatus) => boolean): Promise<FailoverStatus> {
  return followFailover(handle, () => undefined, { enough: point, everyMs: 30, signal: AbortSignal.timeout(50_000) });
}

export async function approve(
  handle: FailoverHandle,
  by: { id: string; key: KeyObject },
  change: Partial<VerbRequest> = {},
): Promise<void> {
  await sendVerb(
    handle,
    signVerb(await failoverStatus(handle), { verb: 'approve', operator: by.id, key: by.key, ...change }),
  );
}

export const ask = <Row extends object>(region: Region, site: Site, text: string): Promise<Row[]> =>
  sql<Row>(region.urls[site], text);

/** How many users of a half a site may serve, by its own database. */
export async function servable(region: Region, at: Site, half: Site): Promise<number> {
  const [row] = await ask<{ n: number }>(
    region,
    at,
    `select count(*)::int as n from tandem.home where site = '${half}' and tandem.may_serve(username)`,
  );
  return row?.n ?? -1;
}
