import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { checkEffect, type Seen } from '../../activities/services/check.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { shiftTraffic, switchesOf, type TrafficAct } from '../../activities/traffic/act.ts';
import { inspectTraffic } from '../../activities/traffic/inspect.ts';
import type { Finding } from '../../activities/vault/bucket.ts';
import { findBind } from '../../ops/reference-service/bind.ts';
import { findHaproxy } from '../../ops/reference-service/haproxy.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { Step } from '../../workflows/model/plan.ts';
import { blackHole, type BlackHole } from '../rig/black-holes.ts';
import { CUSTOMER, endMove, kindOf, makeWorld, startMove, step, type World } from '../failover-acts/world.ts';
import { nameServer, never, proxyBefore, removeFolder, scratchFolder, type End } from './ends.ts';

/** What whatever leads users promises (activities/traffic/port.ts), by every adapter, each with a real server. */

const installed = { 'shift-dns': findBind(), 'shift-proxy': findHaproxy() };

// Real servers are not on every machine: root on Debian gets them by `npm test` itself, and CI is that.
describe.skipIf(Object.values(installed).includes(null)).each(['shift-dns', 'shift-proxy'] as const)('%s', (act) => {
  let folder: string;
  let world: World;
  let end: End;
  let west: OwnSite;
  let hole: BlackHole;
  let move: string;
  beforeAll(async () => {
    folder = await scratchFolder();
    [world, end, hole] = await Promise.all([
      makeWorld(),
      act === 'shift-dns' ? nameServer(folder) : proxyBefore(folder),
      blackHole(),
    ]);
    west = world.westWith(end.settings());
  });
  afterAll(async () => {
    process.kill(end.process.pid, 'SIGCONT');
    await Promise.all([end.close(), hole.close(), world.close()]);
    await removeFolder(folder);
  });
  beforeEach(async () => {
    if (move !== undefined) await endMove(world, move);
    move = await startMove(world);
    number += 1;
    await setEpoch(number, move);
    await end.byHand(['east', 'west']);
  });

  /** The epoch of each test's move: what leads users may hold those of earlier ones. */
  let number = 1;
  const setEpoch = (to: number, by: string): Promise<unknown> =>
    world.westDb.query("update tandem.epoch set number = $1, site = 'west', move = $2", [to, by]);
  const planned = ({ round = 0, signed = act }: { round?: number; signed?: TrafficAct } = {}): PlannedStep => {
    const base = step(act, move, number, undefined, round);
    const steps = [{ id: act, act: signed, needs: [], timeoutMs: 30_000, attempts: 5, onFailure: 'hold' }] as Step[];
    return { ...base, plan: { ...base.plan, decisions: { ...base.plan.decisions, steps } } };
  };
  const shift = (site: OwnSite = west, input = planned(), signal = never): Promise<StepResult> =>
    shiftTraffic(site, input, act, signal);
  const look = (site: OwnSite = west): Promise<Seen> => checkEffect(site, planned(), never);
  const silent = act === 'shift-dns' ? 'dns-unreachable' : 'proxy-unreachable';

  it.each([
    ['an older epoch than is held', 1, 'another'],
    ['the same epoch of another move', 0, 'another'],
  ])('leads nobody elsewhere under %s', async (_, higher, by) => {
    await setEpoch(number + higher, by);
    expect(await kindOf(shift())).toBe('epoch-superseded');
    expect(await end.leads()).toEqual(['east', 'west']);
  });

  it('leads nobody elsewhere for another act than was signed, or where nothing is configured', async () => {
    const other = act === 'shift-dns' ? 'shift-proxy' : 'shift-dns';
    expect(await kindOf(shift(west, planned({ signed: other })))).toBe('input-invalid');
    expect(await kindOf(shift(world.west))).toBe('not-configured');
    expect(await kindOf(look(world.west))).toBe('not-configured');
    expect(await end.leads()).toEqual(['east', 'west']);
  });

  it('leads users to the survivor only, and its check sees that, and changes nothing', async () => {
    expect(await look()).toMatchObject({ seen: false });
    expect(await end.leads()).toEqual(['east', 'west']);
    expect(await shift()).toMatchObject({ facts: { epoch: number } });
    expect(await end.leads()).toEqual(['west']);
    const changes = await end.changes();
    expect(await look()).toMatchObject({ seen: true });
    await switchesOf(west, CUSTOMER)[act]?.prove(never);
    expect(await end.changes()).toBe(changes);
  });

  it('leads users to both sites when both serve', async () => {
    await shift();
    const own = switchesOf(west, CUSTOMER)[act];
    const epoch = { number, site: 'west', move };
    await own?.shift({ customer: CUSTOMER, epoch, to: ['east', 'west'] }, never);
    expect(await end.leads()).toEqual(['east', 'west']);
  });

  it('changes nothing when it is done again, by whoever, and whether or not the first attempt could note it', async () => {
    const epoch = { number, site: 'west', move };
    await switchesOf(west, CUSTOMER)[act]?.shift({ customer: CUSTOMER, epoch, to: ['west'] }, never);
    const changes = await end.changes();
    const first = await shift();
    expect(first.facts['changed']).toBe(act === 'shift-dns' ? false : 0);
    expect(await shift()).toEqual(first);
    await shift(west, planned({ round: 1 }));
    expect(await end.changes()).toBe(changes);
  });

  it('puts right what was changed by hand', async () => {
    await shift();
    await end.byHand(['east']);
    expect(await end.leads()).toEqual(['east']);
    expect(await look()).toMatchObject({ seen: false });
    await shift(west, planned({ round: 1 }));
    expect(await end.leads()).toEqual(['west']);
  });

  it.each([
    ['hangs', () => hole.port],
    ['is gone', () => 9],
  ])('is tried again when it %s, and frees the epoch meanwhile', async (_, port) => {
    const site = world.westWith(end.settings(`127.0.0.1:${port()}`));
    const start = performance.now();
    const error: unknown = await shift(site).catch((e: unknown) => e);
    expect(error).toMatchObject({ type: silent, nonRetryable: false });
    await setEpoch(number, move);
    expect(await kindOf(look(site))).toBe(silent);
    expect(performance.now() - start).toBeLessThan(9000);
  });

  it('is tried again when a real server is frozen, and goes on when it is not', async () => {
    process.kill(end.process.pid, 'SIGSTOP');
    try {
      expect(await kindOf(shift())).toBe(silent);
    } finally {
      process.kill(end.process.pid, 'SIGCONT');
    }
    await shift();
    expect(await end.leads()).toEqual(['west']);
  });

  it('is ended at a cancel, at once', async () => {
    const stop = new AbortController();
    const before = hole.opened();
    const running = shift(world.westWith(end.settings(`127.0.0.1:${hole.port}`)), planned(), stop.signal);
    running.catch(() => undefined);
    await expect.poll(() => hole.opened()).toBeGreaterThan(before);
    const start = performance.now();
    stop.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    expect(performance.now() - start).toBeLessThan(1000);
  });

  it('is proven before anything is lost: what is not there is said', async () => {
    const prove = (settings = end.settings()): Promise<string> | undefined =>
      switchesOf(world.westWith(settings), CUSTOMER)[act]?.prove(never);
    expect(await prove()).toContain(act === 'shift-dns' ? 'answers for contoso.example' : 'knows all servers');
    expect(await kindOf(Promise.resolve(prove(end.settings('127.0.0.1:9'))))).toBe(silent);
  });

  it('is told by the doctor, with what to do, when it is not there, and not when it is', async () => {
    const inspect = (settings = end.settings()): Promise<Finding[]> => {
      const site = world.westWith(settings);
      return inspectTraffic(site.settings, site.customer(CUSTOMER), never);
    };
    const subject = act === 'shift-dns' ? 'name server of' : 'proxy of';
    expect(await inspect(end.settings('127.0.0.1:9'))).toMatchObject([
      {
        severity: 'error',
        subject: `${subject} ${CUSTOMER}, as west uses it`,
        try: expect.stringMatching(/^Look at [^;]*[.]$/) as string,
      },
    ]);
    expect(await inspect()).toEqual([]);
    expect(await inspectTraffic(world.west.settings, world.west.customer(CUSTOMER), never)).toEqual([]);
  });
});
