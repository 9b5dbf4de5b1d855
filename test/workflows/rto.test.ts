import { Client as PostgresClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failoverStatus, type FailoverHandle } from '../../ops/moves.ts';
import { approve, ask, cover, declare, reach, servable } from '../rig/failovers.ts';
import { passTime } from '../rig/clock.ts';
import type { FailoverStatus } from '../../workflows/model/moves.ts';
import { FaultProxy } from '../rig/fault-proxy.ts';
import { openRegion, type Region } from '../rig/region.ts';

/** The 24-hour clock, on the real server. */

const HOUR = 3_600_000;
const MINUTE = 60_000;
let region: Region;
/** West's vault answers as it says. */
let proxy: FaultProxy;

beforeAll(async () => {
  region = await openRegion();
  await cover(region);
  region.lose('east');
  const { west } = region.settings;
  proxy = await FaultProxy.open(west.vault.endpoint);
  region.settings.west = { ...west, vault: { ...west.vault, endpoint: proxy.endpoint } };
  await region.work('west');
});
afterAll(async () => {
  await region.close();
  await proxy.close();
});

/** A run whose clock the test moves, and the time it shows. */
async function runWithClock(): Promise<{
  handle: FailoverHandle;
  pass: (ms: number) => Promise<void>;
  now: () => number;
}> {
  const handle = await declare(region);
  let passed = 0;
  return {
    handle,
    async pass(ms) {
      await passTime(region.clients.west, handle.workflowId, ms);
      passed += ms;
    },
    now: () => Date.now() + passed,
  };
}

const operator = (i: number): Region['operators'][number] => {
  const found = region.operators[i];
  if (!found) throw new Error(`no operator ${i}`);
  return found;
};

describe('a failover that waits for approval', () => {
  it('stays there with one approval at 10 h and another at 23 h 59 min, because the first has lapsed; then goes when it is renewed', async () => {
    const { handle, pass, now } = await runWithClock();
    await pass(10 * HOUR);
    await approve(handle, operator(0), { now: now() });
    expect((await failoverStatus(handle)).approvals).toHaveLength(1);
    await pass(13 * HOUR + 58 * MINUTE);
    const late = await failoverStatus(handle);
    expect(late.approvals).toEqual([]);
    expect(late.alarms.map((a) => a.text)).toEqual([
      '50 % of the RTO target of 30 min 0 s is used',
      '80 % of the RTO target of 30 min 0 s is used',
      '95 % of the RTO target of 30 min 0 s is used',
      'the RTO target of 30 min 0 s is over',
      '50 % of the promised RTO of 24 h 00 min is used',
      '80 % of the promised RTO of 24 h 00 min is used',
      '95 % of the promised RTO of 24 h 00 min is used',
    ]);
    await approve(handle, operator(1), { now: now() });
    expect((await failoverStatus(handle)).phase).toBe('approving');
    expect(await servable(region, 'west', 'east')).toBe(0);
    await approve(handle, operator(0), { now: now() });
    const { report } = await handle.result();
    expect(report.outcome).toBe('closed');
    expect(report.rtoMs).toBeLessThan(24 * HOUR);
    expect(report.rtoMs).toBeGreaterThan(23.9 * HOUR);
  });
});

describe('a step that takes longer than it usually does', () => {
  // In real time: no clock is moved on while an activity runs, and half a minute is what a step may be late.
  it('is called stuck, once, with what to look at, and is not when it is through', { timeout: 150_000 }, async () => {
    const handle = await declare(region);
    const blocker = new PostgresClient(region.urls.west);
    await blocker.connect();
    await blocker.query('begin; lock table rosterusers in access exclusive mode');
    for (const i of [0, 1]) await approve(handle, operator(i));
    const stuck = (s: FailoverStatus): boolean => s.steps.some((step) => step.stuckAt !== undefined);
    const late = await reach(handle, stuck);
    expect(late.waitsFor).toMatch(/^step contacts \(STUCK: look at the database’s locks and disk/);
    expect(Date.parse(late.pace?.endsAt ?? '')).toBeGreaterThan(Date.parse(late.disruptedAt));
    await blocker.end();
    const { report } = await handle.result();
    expect(report.outcome).toBe('closed');
    expect(report.alarms.filter((a) => a.text.startsWith('STUCK'))).toHaveLength(1);
    expect(report.steps.every((step) => step.stuckAt === undefined && (step.tookMs ?? 0) > 0)).toBe(true);
    expect(report.services).toMatchObject([{ service: 'contacts', step: 'verify', rtoMs: report.rtoMs }]);
    // Measured now: the next plan knows how long these steps take here.
    const next = await declare(region);
    const { plan, pace } = await failoverStatus(next);
    expect(plan?.forecast?.steps.map((step) => step.basis)).toEqual(Array(6).fill('measured 2'));
    expect(pace).toBeNull();
    await next.cancel();
    await next.result();
  });
});

describe('a failover nobody approves', () => {
  it('rings when the promised 24 h are over, goes on waiting, and ends after a week having changed nothing', async () => {
    const { handle, pass } = await runWithClock();
    await pass(24 * HOUR + MINUTE);
    const late = await reach(handle, (s) => s.alarms.length === 8);
    expect(late.phase).toBe('approving');
    expect(late.alarms.at(-1)?.text).toBe('the promised RTO of 24 h 00 min is over');
    expect(late.waitsFor).toMatch(/^2 of 2 signatures/);
    await pass(6 * 24 * HOUR);
    const { report } = await handle.result();
    expect(report.outcome).toBe('aborted');
    expect(report.epoch).toBeNull();
  });
});

describe('a failover whose vault is away when it ends', () => {
  it(
    'frees the slot at once, lets the next one start, and ends after an hour saying what is missing',
    { timeout: 200_000 },
    async () => {
      const first = await declare(region);
      proxy.set(() => 'reset-before');
      await first.cancel();
      await expect
        .poll(async () => (await failoverStatus(first)).notSealed, { timeout: 50_000 })
        .toContain('vault west');
      const waits = await failoverStatus(first);
      expect(waits.phase).toBe('aborted');
      expect(waits.alarms.at(-1)?.text).toMatch(/^evidence: not sealed yet: vault west/);
      expect(waits.waitsFor).toContain('the move itself has ended');
      expect(waits.next).toBe('tandem doctor');
      expect(await ask(region, 'west', 'select from tandem.move where ended_at is null')).toEqual([]);
      proxy.set();
      const { handle, pass } = await runWithClock();
      expect((await failoverStatus(handle)).move).not.toBe(waits.move);
      proxy.set(() => 'reset-before');
      await handle.cancel();
      await expect
        .poll(async () => (await failoverStatus(handle)).notSealed, { timeout: 50_000 })
        .toContain('vault west');
      await pass(HOUR + MINUTE);
      const { report, notSealed } = await handle.result();
      expect(report.outcome).toBe('aborted');
      expect(notSealed).toContain('vault west');
      expect(
        await ask(region, 'west', "select move from tandem.move where sealed_at is null and phase = 'aborted'"),
      ).toEqual(expect.arrayContaining([{ move: waits.move }, { move: report.move }]));
    },
  );
});
