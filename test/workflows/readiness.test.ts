import { afterAll, beforeAll, expect, it } from 'vitest';
import { prepareSite } from '../../ops/prepare.ts';
import { describeSchedule } from '../../ops/schedules.ts';
import { scheduleIds, searchAttributes } from '../../workflows/model/names.ts';
import type { Readiness } from '../../workflows/model/readiness.ts';
import { cover } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** The failover that nobody has asked for, evaluated by its schedule. */

const id = scheduleIds.readiness(CUSTOMER);
let region: Region;
beforeAll(async () => {
  region = await openRegion();
  await prepareSite(region.settings.west, region.clients.west, () => undefined);
  await region.work('west');
});
afterAll(() => region.close());

/** One more run of the schedule, once it has ended; `runs` have ended before. */
async function run(runs: number): Promise<{ found: Readiness; held: unknown }> {
  const client = region.clients.west;
  await client.schedule.getHandle(id).trigger();
  const started = async () => (await describeSchedule(client, id))?.info.recentActions[runs]?.action.workflow;
  await expect.poll(started, { timeout: 10_000 }).toBeDefined();
  const { workflowId = '', firstExecutionRunId } = (await started()) ?? {};
  const handle = client.workflow.getHandle<() => Promise<Readiness>>(workflowId, firstExecutionRunId);
  const found = await handle.result();
  const { typedSearchAttributes } = await handle.describe();
  return { found, held: typedSearchAttributes.get(searchAttributes.held) };
}

it('finds by its schedule what would stop it, marks that where people look, and finds when it is mended', async () => {
  const before = await run(0);
  expect(before.found).toMatchObject({ customer: CUSTOMER, from: 'east', to: 'west', state: 'not-ready' });
  expect(before.held).toBe('readiness');
  await cover(region);
  const after = await run(1);
  expect(after.found).toMatchObject({ state: 'ready', stops: [], asks: [] });
  expect(after.held).toBeUndefined();
}, 60_000);
