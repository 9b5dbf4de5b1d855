import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { afterAll, describe, expect, it } from 'vitest';
import { buildWorkflows } from '../../ops/build.ts';
import { retentionNow } from '../../ops/snapshots.ts';
import { startTest } from '../../ops/tests.ts';
import { approve, cover, declare } from '../rig/failovers.ts';
import { CUSTOMER, openRegion } from '../rig/region.ts';

/**
 * Histories replay: those just made, and those saved when a workflow last changed on purpose. A change that would break
 * a run in progress is red here. TANDEM_RECORD=1 saves the new ones.
 */

const folder = fileURLToPath(new URL('../histories/', import.meta.url));
const build = buildWorkflows();
let close: () => Promise<void> = () => Promise.resolve();
afterAll(() => close());

const replay = async (name: string, history: unknown): Promise<void> => {
  const { workflowBundle } = await build;
  await Worker.runReplayHistory({ workflowBundle }, history, name);
};

describe('replay', () => {
  it('goes through for a run of each workflow made by this build', async () => {
    const region = await openRegion({ users: 10 });
    close = region.close;
    const workers = await Promise.all([region.work('east'), region.work('west')]);
    await cover(region);
    await startTest(region.clients.west, 'west', CUSTOMER);
    const customer = region.settings.west.customers.get(CUSTOMER);
    if (!customer) throw new Error('no customer');
    const { totals } = await retentionNow(region.clients.west, 'west', customer);
    expect(totals).toMatchObject({ kept: { generations: 2 }, deleted: { generations: 0 } });
    await Promise.all(workers.map((w) => w.stop()));
    region.lose('east');
    await region.work('west');
    const handle = await declare(region);
    for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
    await handle.result();

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
    expect([...seen].toSorted()).toEqual(['continuity-test', 'failover', 'retention', 'snapshot', 'standby']);
  });

  it('goes through for every saved history', async () => {
    const saved = (await readdir(folder)).filter((name) => name.endsWith('.json'));
    expect(saved.length).toBeGreaterThanOrEqual(5);
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
