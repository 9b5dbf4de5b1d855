import type { Client, Connection } from '@temporalio/client';
import { ScheduleOverlapPolicy } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { prepareSite } from '../../ops/prepare.ts';
import { applySchedule, describeSchedule, drift, schedulesOf } from '../../ops/schedules.ts';
import { startTest } from '../../ops/tests.ts';
import { scheduleIds } from '../../workflows/model/names.ts';
import { cover } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

let region: Region;
const customerAt = (site: 'east' | 'west'): Parameters<typeof schedulesOf>[0] => {
  const found = region.settings[site].customers.get(CUSTOMER);
  if (!found) throw new Error('no customer');
  return found;
};

beforeAll(async () => {
  region = await openRegion();
  await Promise.all(
    (['east', 'west'] as const).map((site) =>
      prepareSite(region.settings[site], region.clients[site], () => undefined),
    ),
  );
});
afterAll(() => region.close());

/** When a schedule would start, by the server's own reckoning. */
async function times(client: Client, scheduleId: string, from: string, to: string): Promise<string[]> {
  const { workflowService } = client.connection as Connection;
  const stamp = (at: string): { seconds: never } => ({ seconds: (Date.parse(at) / 1000) as never });
  const { namespace } = client.options;
  const answer = await workflowService.listScheduleMatchingTimes({
    namespace,
    scheduleId,
    startTime: stamp(from),
    endTime: stamp(to),
  });
  return answer.startTime.map((t) => new Date(Number(t.seconds) * 1000).toISOString());
}

describe('the yearly test', () => {
  const id = scheduleIds.continuityTest(CUSTOMER);

  it('comes once a year at each site, six months apart, for the next five years', async () => {
    const years = [2027, 2028, 2029, 2030, 2031];
    expect(await times(region.clients.east, id, '2027-01-01T00:00:00Z', '2032-01-01T00:00:00Z')).toEqual(
      years.map((y) => `${y}-03-10T02:00:00.000Z`),
    );
    expect(await times(region.clients.west, id, '2027-01-01T00:00:00Z', '2032-01-01T00:00:00Z')).toEqual(
      years.map((y) => `${y}-09-10T02:00:00.000Z`),
    );
  });

  it('is held when triggered, by the site whose turn it is; when backfilled, by nobody whose turn it is not', async () => {
    const workers = await Promise.all([region.work('east'), region.work('west')]);
    await cover(region);
    const { clients } = region;
    const handle = clients.west.schedule.getHandle(id);
    await handle.trigger();
    const first = await runOf(clients.west, 1);
    expect(first).toMatchObject({ held: true, receipt: { outcome: 'passed', site: 'west', mismatches: 0 } });
    await handle.backfill({
      start: new Date('2027-09-09T00:00:00Z'),
      end: new Date('2027-09-11T00:00:00Z'),
      overlap: ScheduleOverlapPolicy.ALLOW_ALL,
    });
    expect(await runOf(clients.west, 2)).toMatchObject({
      held: false,
      because: expect.stringMatching(/west passed the last test on .*; the next is its peer's/) as string,
    });
    // The other site sees the receipt in its peer's vault: it is its turn.
    await clients.east.schedule.getHandle(id).trigger();
    expect(await runOf(clients.east, 1)).toMatchObject({ held: true, receipt: { outcome: 'passed', site: 'east' } });
    // A person who starts a test means it.
    expect(await startTest(clients.east, 'east', CUSTOMER)).toMatchObject({ held: true });
    await Promise.all(workers.map((w) => w.stop()));
  });

  /** The result of the n-th run that the schedule has started. */
  async function runOf(client: Client, n: number): Promise<unknown> {
    for (const deadline = Date.now() + 30_000; Date.now() < deadline; await new Promise((r) => setTimeout(r, 100))) {
      const started = (await describeSchedule(client, id))?.info.recentActions ?? [];
      const action = started[n - 1]?.action;
      if (action)
        return client.workflow.getHandle(action.workflow.workflowId, action.workflow.firstExecutionRunId).result();
    }
    throw new Error(`run ${n} of ${id} was not started`);
  }
});

describe('snapshots', () => {
  it('never leave more than two hours between two starts, and never start two at once', async () => {
    const from = '2027-05-01T00:00:00Z';
    const to = '2027-05-02T00:00:00Z';
    const every = await times(region.clients.east, scheduleIds.snapshotEvery(CUSTOMER), from, to);
    const between = await times(region.clients.east, scheduleIds.snapshotBetween(CUSTOMER), from, to);
    expect(every.filter((t) => between.includes(t))).toEqual([]);
    const all = [...every, ...between].toSorted().map((t) => Date.parse(t));
    expect(Math.max(...all.slice(1).map((t, i) => t - (all[i] ?? 0)))).toBeLessThanOrEqual(2 * 3_600_000);
    expect(every).toHaveLength(3);
  });
});

describe('reconciling', () => {
  it('finds what was changed by hand, mends it, and leaves a pause alone', async () => {
    const client = region.clients.west;
    for (const want of schedulesOf(customerAt('west'), 'west')) {
      expect(drift(want, await describeSchedule(client, want.scheduleId))).toBe('as configured');
    }
    const [want] = schedulesOf(customerAt('west'), 'west');
    if (!want) throw new Error('no schedule');
    const handle = client.schedule.getHandle(want.scheduleId);
    await handle.update((old) => ({ ...old, spec: { intervals: [{ every: '12h' }] } }));
    expect(await applySchedule(client, want)).toBe('changed by hand');
    expect(await applySchedule(client, want)).toBe('as configured');
    await handle.pause('an operator wants it so');
    expect(await applySchedule(client, want)).toBe('paused');
    expect((await handle.describe()).state.paused).toBe(true);
    await handle.delete();
    expect(await applySchedule(client, want)).toBe('missing');
  });
});
