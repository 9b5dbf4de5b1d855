import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMovedActivities } from '../../activities/mover/mover.ts';
import type { Running } from '../../activities/running.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import { CUSTOMER, openWorld, quiet, type World } from '../vault/world.ts';
import { movers, settingsOf } from './settings.ts';

/** What becomes of a process of the data mover that has done its job. */

let world: World;
let settings: SiteSettings;
let running: Running = quiet;
beforeAll(async () => {
  world = await openWorld(100);
  settings = settingsOf(world);
  // The same users, as if they were of two other customers.
  const own = settings.customers.get(CUSTOMER) as CustomerSettings;
  settings.customers = new Map([own, { ...own, id: 'other' }, { ...own, id: 'third' }].map((c) => [c.id, c]));
});
afterAll(() => world.drop());

const site = () => createMovedActivities(settings, () => running);
const held = (acts: ReturnType<typeof site>, customer = CUSTOMER) => acts['verify-held']({ customer });
const since = async (before: readonly number[]): Promise<number[]> =>
  (await movers()).filter((pid) => !before.includes(pid));

describe('a data mover that has done its job', () => {
  it('does the next one of its customer, and keeps nobody from ending', async () => {
    const [acts, before] = [site(), await movers()];
    await held(acts);
    const [pid] = await since(before);
    expect(process.getActiveResourcesInfo()).not.toContain('ProcessWrap');
    await held(acts);
    await acts['take-snapshot']({ customer: CUSTOMER });
    expect(await since(before)).toEqual([pid]);
  });

  it('does none of another customer, nor under other settings', async () => {
    const [acts, before] = [site(), await movers()];
    await held(acts);
    const first = await since(before);
    await held(acts, 'other');
    expect(await since(before)).toHaveLength(2);
    const own = settings.customers.get(CUSTOMER) as CustomerSettings;
    const { limits } = own;
    own.limits = { contacts: 1 };
    try {
      await held(acts);
    } finally {
      own.limits = limits;
    }
    const now = await since(before);
    // Two wait: the oldest has left.
    await expect.poll(() => since(before)).toHaveLength(2);
    expect(now).not.toEqual(first);
    await expect.poll(movers).not.toEqual(expect.arrayContaining(first));
  });

  it('is given none when it was killed while it waited', async () => {
    const [acts, before] = [site(), await movers()];
    await held(acts);
    const [pid = 0] = await since(before);
    process.kill(pid, 'SIGKILL');
    await expect.poll(() => since(before)).toEqual([]);
    await held(acts);
    expect(await since(before)).not.toContain(pid);
  });

  it.each([
    ['failed', async (acts: ReturnType<typeof site>) => acts['take-snapshot']({ customer: 'nobody' })],
    [
      'was cancelled',
      async (acts: ReturnType<typeof site>) => {
        const stop = new AbortController();
        running = { ...quiet, signal: stop.signal };
        const taking = acts['take-snapshot']({ customer: CUSTOMER });
        await expect.poll(async () => (await movers()).length).toBeGreaterThan(0);
        stop.abort(new Error('enough'));
        return taking.finally(() => (running = quiet));
      },
    ],
  ])('is not kept when its job %s', async (_, job) => {
    const [acts, before] = [site(), await movers()];
    await expect(job(acts)).rejects.toThrow();
    await expect.poll(() => since(before)).toEqual([]);
  });
});
