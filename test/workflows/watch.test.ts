import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createWatchActivities, Watchers } from '../../activities/probes/watch/watchers.ts';
import { running } from '../../activities/running.ts';
import type { Message } from '../../activities/notify/port.ts';
import type { SiteActivities, WatchActivities } from '../../activities/types.ts';
import { buildWorkflows } from '../../ops/build.ts';
import { keepWatching, startWatch } from '../../ops/watch-run.ts';
import { searchAttributes, watchId } from '../../workflows/model/names.ts';
import type { News } from '../../workflows/model/watch-news.ts';
import { webhookEnd, type WebhookEnd } from '../notify/ends.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** The run that tells people what the watch of a site has come to; its loop is played by the test. */

const saved = fileURLToPath(new URL('../histories/watch.json', import.meta.url));
let region: Region;
let hook: WebhookEnd;
let watchers: Watchers;
let worker: { stop: () => Promise<void> };
/** How long one round without news takes: as long as the run asks for, unless a test cannot wait. */
let forMs = (asked: number): number => asked;
beforeAll(async () => {
  region = await openRegion({ users: 10 });
  hook = await webhookEnd();
  region.settings.west = { ...region.settings.west, channels: new Map([['hook', hook.settings]]), paging: ['hook'] };
});
afterEach(async () => {
  await client()
    .workflow.getHandle(watchId(CUSTOMER))
    .terminate()
    .catch(() => undefined);
  await worker.stop();
  forMs = (asked) => asked;
  hook.answer = { status: 204 };
  hook.received.length = 0;
});
afterAll(async () => {
  await region.close();
  await hook.close();
});

const client = () => region.clients.west;
const pages = (): Message[] => hook.received.map(({ body }) => JSON.parse(body) as Message);
const handle = () => client().workflow.getHandle(watchId(CUSTOMER));
const start = (): Promise<void> => startWatch(client(), 'west', CUSTOMER);
const events = async (): Promise<number> => (await handle().fetchHistory()).events?.length ?? 0;

/** A worker whose process has seen nothing yet. */
async function work(): Promise<void> {
  watchers = new Watchers();
  const { 'watch-peer': watch }: WatchActivities = createWatchActivities(watchers, () => running().signal);
  const played = watchers;
  const ours = (real: SiteActivities): SiteActivities => ({
    ...real,
    'watch-peer': (input) => watch({ ...input, forMs: forMs(input.forMs) }),
  });
  const { stop } = await region.work('west', ours);
  worker = {
    async stop() {
      played.end();
      await stop();
    },
  };
}

const news = (value: string, since = '2026-01-01T00:00:00.000Z'): News => ({
  about: 'peer',
  value,
  usual: 'serving',
  since,
  severity: value === 'serving' ? 'info' : 'critical',
  subject: `${CUSTOMER}: east is ${value}`,
  text: `Since ${since}.\nNext: tandem failover start --customer ${CUSTOMER} --from east`,
});
const tell = (...all: News[]): void => watchers.tell(CUSTOMER, all);
const subjects = (): string[] => pages().map(({ subject }) => subject);
const heldAs = async (): Promise<string | undefined> =>
  (await handle().describe()).typedSearchAttributes.get(searchAttributes.held);

describe('a page is never sent twice', () => {
  it('for one thing: by news that say the same, by the next worker, or because the run goes on as a new one', async () => {
    await work();
    await start();
    tell(news('dead'));
    await expect.poll(subjects).toEqual([`${CUSTOMER}: east is dead`]);
    tell(news('dead', '2026-01-01T00:00:30.000Z'));
    await start(); // It runs: that is all the same to it.
    await worker.stop();
    await work();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    tell(news('dead'));
    const [run] = [(await handle().describe()).runId];
    // Rounds without end: until the run is too long, and goes on as a new one.
    forMs = () => 5;
    tell(news('unknown'));
    await expect.poll(subjects).toHaveLength(2);
    await expect.poll(async () => (await handle().describe()).runId, { timeout: 60_000 }).not.toBe(run);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(subjects()).toEqual([`${CUSTOMER}: east is dead`, `${CUSTOMER}: east is unknown`]);
    expect(await heldAs()).toBe('peer');
  });

  it('under two keys: a run that was ended and is started again pages under the one that was used', async () => {
    await work();
    await start();
    tell(news('dead'));
    await expect.poll(subjects).toHaveLength(1);
    await handle().terminate('by hand');
    await start();
    await expect.poll(subjects).toHaveLength(2);
    expect(new Set(pages().map(({ key }) => key)).size).toBe(1);
    expect(pages()[0]?.key).toBe(`watch/${CUSTOMER}/west/peer/dead/2026-01-01T00:00:00.000Z`);
  });
});

it('who flaps is told four times an hour, then that he flaps, then no more until the hour is over', async () => {
  const asks: number[] = [];
  forMs = (asked) => {
    asks.push(asked);
    return asked;
  };
  await work();
  await start();
  for (let i = 0; i < 5; i += 1) {
    tell(news(i % 2 === 0 ? 'dead' : 'serving'));
    await expect.poll(subjects).toHaveLength(i + 1);
  }
  tell(news('serving'));
  await expect.poll(heldAs).toBeUndefined();
  expect(subjects().slice(3)).toEqual([`${CUSTOMER}: east is serving`, `${CUSTOMER}: east is dead (it FLAPS)`]);
  expect(pages()[4]?.text).toContain('It was told 4 times within the hour');
  tell(news('unknown'));
  await expect.poll(heldAs).toBe('peer');
  expect(subjects()).toHaveLength(5);
  // It looks again as soon as there is room, whether or not anything is new.
  expect(asks.at(-1)).toBeGreaterThan(3_500_000);
  expect(asks.at(-1)).toBeLessThanOrEqual(3_600_000);
});

it('a page that no channel took is sent later, once', async () => {
  await work();
  hook.answer = { status: 500 };
  await start();
  tell(news('dead'));
  await expect
    .poll(
      async () => (await handle().fetchHistory()).events?.filter((e) => e.activityTaskCompletedEventAttributes).length,
      { timeout: 30_000 },
    )
    .toBe(2);
  expect(pages()).toEqual([]);
  hook.answer = { status: 204 };
  forMs = () => 5;
  await worker.stop();
  await work();
  tell(news('dead'));
  await expect.poll(subjects, { timeout: 30_000 }).toEqual([`${CUSTOMER}: east is dead`]);
});

it('a run that somebody has ended is started again, and one that runs is left alone', async () => {
  await work();
  const stop = new AbortController();
  const said: string[] = [];
  const keeping = keepWatching(client(), region.settings.west, stop.signal, (line) => said.push(line), 200);
  const run = async (): Promise<string | null> => {
    const { runId, status } = await handle().describe();
    return status.name === 'RUNNING' ? runId : null;
  };
  const living = (): Promise<string | null> => run().catch(() => null);
  try {
    await expect.poll(living).not.toBeNull();
    const first = await run();
    await expect.poll(events).toBe(5); // Its activity is waiting.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect([await run(), await events()]).toEqual([first, 5]);
    await handle().terminate('by hand');
    await expect.poll(living).not.toBeNull();
    expect(await run()).not.toBe(first);
    expect(said).toEqual([]);
  } finally {
    stop.abort();
    await keeping;
  }
});

describe('a quiet day', () => {
  // A run waits in its activity alone: its clock has no timer that could be skipped. Its rounds are counted instead, and what each asks for.
  it('takes less than 100 events, whatever is restarted in it', async () => {
    await work();
    await start();
    tell(news('serving'));
    await expect.poll(events).toBeGreaterThan(8);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const before = await events();
    let rounds = 0;
    forMs = (asked) => {
      rounds += 1;
      expect(asked).toBe(4 * 3_600_000);
      return rounds <= 6 ? 5 : asked;
    };
    // The round that waits is given to the next worker, and the six of a day follow it.
    await worker.stop();
    await work();
    tell(news('serving'));
    await expect.poll(() => rounds, { timeout: 20_000 }).toBe(7);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const took = (await events()) - before;
    expect(took).toBeLessThan(60);
    expect(took).toBeGreaterThanOrEqual(36);
    expect(pages()).toEqual([]);
    tell(news('dead'));
    await expect.poll(subjects).toHaveLength(1);
    await expect.poll(heldAs).toBe('peer');
    const history = historyToJSON(await handle().fetchHistory());
    if (process.env['TANDEM_RECORD'] === '1') await writeFile(saved, history);
    const { workflowBundle } = await buildWorkflows();
    await Worker.runReplayHistory({ workflowBundle }, JSON.parse(history), 'watch');
  });
});
