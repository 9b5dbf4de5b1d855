import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Message } from '../../activities/notify/port.ts';
import { prepareSite } from '../../ops/prepare.ts';
import { describeSchedule } from '../../ops/schedules.ts';
import { scheduleIds, searchAttributes } from '../../workflows/model/names.ts';
import type { Readiness } from '../../workflows/model/readiness.ts';
import { webhookEnd, type WebhookEnd } from '../notify/ends.ts';
import { cover } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** The failover that nobody has asked for, evaluated by its schedule. */

const id = scheduleIds.readiness(CUSTOMER);
let region: Region;
let hook: WebhookEnd;
beforeAll(async () => {
  region = await openRegion();
  hook = await webhookEnd();
  region.settings.west = { ...region.settings.west, channels: new Map([['hook', hook.settings]]), paging: ['hook'] };
  await prepareSite(region.settings.west, region.clients.west, () => undefined);
  // A look that the clock begins between two of this test would be taken for the second of them.
  await region.clients.west.schedule.getHandle(id).pause();
  await region.work('west');
});
afterAll(async () => {
  await region.close();
  await hook.close();
});

const pages = (): string[] => hook.received.map(({ body }) => (JSON.parse(body) as Message).subject);
const printed = (): Promise<string> =>
  readFile(join(region.settings.west.reportsFolder, `paper-runbook-${CUSTOMER}.txt`), 'utf8');

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
  expect(await printed()).toMatch(/WHEN SITE EAST IS LOST[^]*No plan can be made now: .*no snapshot/);
  expect(pages()).toEqual([]); // The next look may find it mended.
  const again = await run(1);
  expect(again.found.notReady).toEqual({ looks: 2, since: before.found.at });
  expect((await run(2)).found.news).toBeUndefined();
  expect(pages()).toEqual([`${CUSTOMER}: should east be lost, it could NOT be failed over`]);
  await cover(region);
  const after = await run(3);
  expect(after.found).toMatchObject({ state: 'ready', stops: [], asks: [] });
  expect(after.held).toBeUndefined();
  expect(pages().slice(1)).toEqual([`${CUSTOMER}: should east be lost, it can be failed over again`]);
  const paper = await printed();
  expect(paper).toMatch(/may sign: operator-2 \(.*commander.*\)[^]*\[ \] serve: /);
  expect(paper).not.toContain('@');
}, 60_000);
