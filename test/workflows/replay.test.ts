import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildWorkflows } from '../../ops/build.ts';
import { retentionNow, snapshotNow, standbyNow } from '../../ops/snapshots.ts';
import { startTest } from '../../ops/tests.ts';
import type { ChannelSettings } from '../../activities/notify/port.ts';
import { sendExternal, signExternal } from '../../ops/external-updates.ts';
import type { ExternalUpdate } from '../../workflows/model/external.ts';
import { outboxEnd } from '../notify/ends.ts';
import { passTime } from '../rig/clock.ts';
import { approve, declare } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/**
 * Histories replay: those just made, and those saved when a workflow last changed on purpose. A change that would break
 * a run in progress is red here. TANDEM_RECORD=1 saves the new ones.
 */

const folder = fileURLToPath(new URL('../histories/', import.meta.url));
const build = buildWorkflows();
let region: Region;
let kept: Awaited<ReturnType<typeof retentionNow>>['totals'];
let box: Awaited<ReturnType<typeof outboxEnd>>;
beforeAll(async () => {
  [region, box] = await Promise.all([openRegion({ users: 10 }), outboxEnd()]);
  const workers = await Promise.all([region.work('east'), region.work('west')]);
  const customer = region.settings.west.customers.get(CUSTOMER);
  if (!customer) throw new Error('no customer');
  await Promise.all((['east', 'west'] as const).map((site) => snapshotNow(region.clients[site], site, customer)));
  await standbyNow(region.clients.west, 'west', customer);
  await startTest(region.clients.west, 'west', CUSTOMER);
  kept = (await retentionNow(region.clients.west, 'west', customer)).totals;
  await Promise.all(workers.map((w) => w.stop()));
  region.lose('east');
});
afterAll(() => Promise.all([region.close(), box.close()]));

const replay = async (name: string, history: unknown): Promise<void> => {
  const { workflowBundle } = await build;
  await Worker.runReplayHistory({ workflowBundle }, history, name);
};

/** West's customer has a party outside, who is asked each day. */
function askFabrikam(settings: ChannelSettings): void {
  const { west } = region.settings;
  const customer = west.customers.get(CUSTOMER);
  if (!customer) throw new Error('no customer');
  const option = 'third-party-federation' as const;
  const fabrikam = { option, channel: 'box', chaseMs: 24 * 3_600_000, subject: null, change: 'x', contact: null };
  const asks = { ...customer, options: [option], parties: new Map([['fabrikam', fabrikam]]) };
  const channels = new Map([['box', settings]]);
  region.settings.west = { ...west, channels, paging: ['box'], customers: new Map([[CUSTOMER, asks]]) };
}

async function signDone(): Promise<void> {
  const { clients, operators } = region;
  const [one] = operators;
  const asked = await clients.west.workflow
    .getHandle(`external-update/${CUSTOMER}/fabrikam/2`)
    .query<ExternalUpdate>('status');
  if (!one) throw new Error('no operators');
  const now = Date.now() + 25 * 3_600_000;
  await sendExternal(clients.west, asked, signExternal(asked, { verb: 'done', operator: one.id, key: one.key, now }));
}

describe('replay', () => {
  it('goes through for a run of each workflow made by this build', async () => {
    expect(kept).toMatchObject({ kept: { generations: 2 }, deleted: { generations: 0 } });
    askFabrikam(box.settings);
    await region.work('west');
    const handle = await declare(region);
    for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
    await handle.result();
    const request = region.clients.west.workflow.getHandle(`external-update/${CUSTOMER}/fabrikam/2`);
    await passTime(region.clients.west, request.workflowId, 25 * 3_600_000);
    await signDone();
    await request.result();

    const client = region.clients.west;
    const seen = new Set<string>();
    for await (const { workflowId, runId, type } of client.workflow.list()) {
      const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
      await replay(workflowId, history);
      if (!seen.has(type) && process.env['TANDEM_RECORD'] === '1') {
        await mkdir(folder, { recursive: true });
        await writeFile(`${folder}${type}.json`, historyToJSON(history));
      }
      seen.add(type);
    }
    expect([...seen].toSorted()).toEqual([
      'continuity-test',
      'external-update',
      'failover',
      'retention',
      'snapshot',
      'standby',
    ]);
  });

  it('goes through for every saved history', async () => {
    const saved = (await readdir(folder)).filter((name) => name.endsWith('.json'));
    expect(saved.length).toBeGreaterThanOrEqual(6);
    for (const name of saved) await replay(name, JSON.parse(await readFile(`${folder}${name}`, 'utf8')));
  });

  it('is red for a history that this code would not have made', async () => {
    const history = JSON.parse(await readFile(`${folder}snapshot.json`, 'utf8')) as {
      events: { activityTaskScheduledEventAttributes?: { activityType: { name: string } } }[];
    };
    for (const event of history.events) {
      if (event.activityTaskScheduledEventAttributes)
        event.activityTaskScheduledEventAttributes.activityType.name = 'another';
    }
    await expect(replay('changed', history)).rejects.toThrow(/Nondeterminism|another/i);
  });
});
