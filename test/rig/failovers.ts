import type { KeyObject } from 'node:crypto';
import { createJobs } from '../../activities/mover/jobs.ts';
import type { Running } from '../../activities/running.ts';
import { failoverStatus, followFailover, startFailover, type FailoverHandle } from '../../ops/moves.ts';
import { sendVerb, signVerb, type VerbRequest } from '../../ops/verbs.ts';
import type { FailoverInput, FailoverStatus } from '../../workflows/model/moves.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import type { Site } from './databases.ts';
import { CUSTOMER, type Region } from './region.ts';
import { sql } from './sql.ts';

/** A snapshot of each site, covered by the other; by the jobs themselves, with neither Temporal nor workers. */
export async function cover({ settings }: Region): Promise<SnapshotSummary> {
  const running = (): Running => ({ heartbeat: () => undefined, signal: new AbortController().signal });
  const [east, west] = [createJobs(settings.east, running), createJobs(settings.west, running)];
  const customer = CUSTOMER;
  const taken = await Promise.all([east, west].map((jobs) => jobs['take-snapshot']({ customer })));
  const stand = async (jobs: typeof west, { site, gen, seq }: SnapshotSummary): Promise<void> => {
    const snapshot = { customer, site, gen, seq };
    await jobs['pull-snapshots']({ customer });
    await jobs['verify-snapshot']({ snapshot });
    await jobs['apply-standby']({ snapshot });
  };
  const [ofEast, ofWest] = taken;
  if (!ofEast || !ofWest) throw new Error('two sites take a snapshot each');
  await Promise.all([stand(west, ofEast), stand(east, ofWest)]);
  return ofEast;
}

export const declaration = (change: Partial<FailoverInput> = {}): FailoverInput => ({
  customer: CUSTOMER,
  from: 'east',
  reason: 'the hall is dark',
  requestedBy: 'operator-1',
  isolation: 'the breaker of the hall is open, seen by the duty engineer',
  ...change,
});

/** As if the users of a half had come home since they were moved. */
export async function comeHome(region: Region, half: Site = 'east'): Promise<void> {
  for (const site of ['east', 'west'] as const)
    await ask(region, site, `update tandem.serving set site = half where half = '${half}'`);
}

/** Declares east lost, whose users are at home, and waits for its plan. */
export async function declare(region: Region, change: Partial<FailoverInput> = {}): Promise<FailoverHandle> {
  await comeHome(region);
  const handle = await startFailover(region.clients.west, 'west', declaration(change));
  await reach(handle, (s) => s.phase === 'approving');
  return handle;
}

export async function reach(handle: FailoverHandle, point: (s: FailoverStatus) => boolean): Promise<FailoverStatus> {
  return followFailover(handle, () => undefined, { enough: point, everyMs: 100, signal: AbortSignal.timeout(50_000) });
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
    `select count(*)::int as n from tandem.home where tandem.home_of(site) = '${half}' and tandem.may_serve(username)`,
  );
  return row?.n ?? -1;
}
