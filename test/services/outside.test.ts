import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { checkEffect, type Seen } from '../../activities/services/check.ts';
import { performOutside } from '../../activities/services/outside.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { Step } from '../../workflows/model/plan.ts';
import { CUSTOMER, endMove, kindOf, makeWorld, startMove, step, type World } from '../failover-acts/world.ts';
import type { Doom } from './doomed.ts';
import { commandService, httpService, LATE_MS, type Outside } from './outside.ts';

/** What every effect outside promises (activities/services/port.ts), by both adapters, each with a real service. */

let world: World;
let move: string;
const services: Partial<Record<string, Outside>> = {};

beforeAll(async () => {
  world = await makeWorld();
  services['call-http'] = await httpService();
  services['run-command'] = await commandService();
});
afterAll(async () => {
  await Promise.all(Object.values(services).map(async (service) => service?.close()));
  await world.close();
});
beforeEach(async () => {
  if (move !== undefined) await endMove(world, move);
  move = await startMove(world);
  await setEpoch(2, move);
});

const setEpoch = (number: number, by: string): Promise<unknown> =>
  world.westDb.query("update tandem.epoch set number = $1, site = 'west', move = $2", [number, by]);

const never = new AbortController().signal;

describe.each(['call-http', 'run-command'] as const)('an effect outside by %s', (act) => {
  let service: Outside;
  let west: OwnSite;
  beforeAll(() => {
    const found = services[act];
    if (!found) throw new Error('no service');
    service = found;
    west = world.westWith({ site: { requests: service.requests, commands: service.commands } });
  });
  beforeEach(() => service.forget());

  const planned = (name: string, change: Partial<Step> = {}): PlannedStep => {
    const base = step(act, move, 2);
    const steps = [
      {
        id: act,
        act,
        needs: [],
        timeoutMs: 60_000,
        attempts: 5,
        onFailure: 'hold',
        [service.argument]: name,
        ...change,
      },
    ] as Step[];
    return { ...base, plan: { ...base.plan, decisions: { ...base.plan.decisions, steps } } };
  };
  const perform = (name: string, signal: AbortSignal = never, change: Partial<Step> = {}): Promise<StepResult> =>
    performOutside(west, planned(name, change), act, signal);
  const keys = async (): Promise<string[]> => (await service.heard()).map(({ key }) => key);
  const nothingLeft = async (): Promise<unknown> => await expect.poll(() => service.underWay()).toBe(0);
  const key = (): string => `${CUSTOMER}/2/${act}/0`;
  const heardOf = async (name: string): Promise<unknown> =>
    await expect.poll(async () => (await service.heard()).map((h) => h.name)).toContain(name);

  it.each([
    ['an older epoch than is held', 3, 'another'],
    ['the same epoch of another move', 2, 'another'],
  ])('is never begun under %s: a run that wakes up late sends nothing', async (_, number, by) => {
    await setEpoch(number, by);
    expect(await kindOf(perform('good'))).toBe('epoch-superseded');
    expect(await service.heard()).toEqual([]);
  });

  it.each([
    'bad',
    '',
    'constructor',
    '__proto__',
    'https://127.0.0.1/good',
    '/bin/sh',
    '../good',
    'good; touch /tmp/x',
  ])('is never begun by a name that is not listed, whatever a runbook says: %j', async (name) => {
    expect(await kindOf(perform(name))).toBe('not-configured');
    expect(await service.heard()).toEqual([]);
  });

  it('is never begun for another act than the one that was signed', async () => {
    expect(await kindOf(perform('good', never, { act: 'probe' }))).toBe('input-invalid');
    expect(await service.heard()).toEqual([]);
  });

  it('is told key, epoch and move, is done once, and leaves nothing behind', async () => {
    const first = await perform('good');
    await nothingLeft();
    expect(await service.heard()).toEqual([{ name: 'good', key: key(), epoch: '2', move }]);
    expect(await perform('good')).toEqual(first);
    expect(await keys()).toEqual([key()]);
  });

  it('is asked again with the same key while it says "later"', async () => {
    const error: unknown = await perform('busy').catch((e: unknown) => e);
    expect(error).toMatchObject({
      type: act === 'call-http' ? 'request-failed' : 'command-failed',
      nonRetryable: false,
    });
    await kindOf(perform('busy'));
    expect(await keys()).toEqual([key(), key()]);
  });

  it('that is refused is not asked again by itself', async () => {
    const error: unknown = await perform('refusing').catch((e: unknown) => e);
    expect(error).toMatchObject({
      type: act === 'call-http' ? 'request-refused' : 'command-refused',
      nonRetryable: true,
    });
  });

  it('whose service knows a newer epoch ends the move', async () => {
    expect(await kindOf(perform('stale'))).toBe('epoch-superseded');
  });

  it('is ended at its limit, with all that it started', async () => {
    const start = performance.now();
    expect(await kindOf(perform('late'))).toBe(act === 'call-http' ? 'request-failed' : 'command-failed');
    expect(await service.underWay()).toBe(0);
    expect(performance.now() - start).toBeGreaterThan(LATE_MS - 50);
    expect(await keys()).toEqual([key()]);
  });

  it('is ended before the time of the step is over', async () => {
    expect(failureText(await perform('slow', never, { timeoutMs: 1000 }).catch((e: unknown) => e))).toContain('900 ms');
  });

  it('is ended at a cancel, with all that it started', async () => {
    const stop = new AbortController();
    const running = perform('slow', stop.signal);
    running.catch(() => undefined);
    await heardOf('slow');
    expect(await service.underWay()).toBeGreaterThan(0);
    stop.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    expect(await service.underWay()).toBe(0);
  });

  it('is ended when it answers too much', async () => {
    expect(await kindOf(perform('flood'))).toBe(act === 'call-http' ? 'request-refused' : 'command-refused');
    await nothingLeft();
  });

  it('is ended when the worker is killed with -9', async () => {
    const { requests, commands } = service;
    const call = { key: 'k', customer: CUSTOMER, move, epoch: 2, act, step: act, round: 0, from: 'east', to: 'west' };
    const doom: Doom = { name: 'slow', call, requests: [...requests], commands: [...commands] };
    const script = fileURLToPath(new URL('doomed.ts', import.meta.url));
    const worker = spawn(process.execPath, [script, JSON.stringify(doom)], { stdio: ['ignore', 'ignore', 'inherit'] });
    await heardOf('slow');
    expect(await service.underWay()).toBeGreaterThan(0);
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    await nothingLeft();
  });

  it('keeps a newer epoch waiting until it has ended, and never longer than its limit', async () => {
    const running = kindOf(perform('late'));
    await heardOf('late');
    const start = performance.now();
    await setEpoch(3, 'another');
    expect(performance.now() - start).toBeLessThan(LATE_MS + 3000);
    expect(await service.underWay()).toBe(0);
    await running;
  });

  it('is ended when the connection that holds the epoch dies', async () => {
    const running = kindOf(perform('slow'));
    await heardOf('slow');
    await world.westDb.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'",
    );
    expect(await running).toBe('database-unreachable');
    await nothingLeft();
  });

  it('of two attempts at once is done by one, and the other answers the same', async () => {
    const [first, second] = await Promise.all([perform('pause'), perform('pause')]);
    expect(second).toEqual(first);
    expect(await keys()).toEqual([key()]);
  });

  it('is seen by its own check; without one, nobody here can see it', async () => {
    const seen = (name: string): Promise<Seen> => checkEffect(west, planned(name), never);
    expect(await seen('checked')).toMatchObject({ seen: true });
    expect(await seen('undone')).toMatchObject({ seen: false });
    expect(await seen('good')).toMatchObject({
      seen: true,
      summary: expect.stringContaining('nothing here can see it') as string,
    });
    expect((await service.heard()).map(({ name }) => name)).not.toContain('good');
  });

  it('hands on nothing of what its service answers but counts and digests', async () => {
    const { facts, summary } = await perform('good');
    expect(Object.values(facts).every((fact) => typeof fact === 'number' || /^[0-9a-f]{16}$/.test(String(fact)))).toBe(
      true,
    );
    expect(summary).not.toContain('thank you');
  });
});

describe('a command', () => {
  it('that was ended has not gone on in secret', async () => {
    const { folder } = services['run-command'] as Outside & { folder: string };
    await expect(readFile(join(folder, 'late'))).rejects.toThrow('ENOENT');
  });
});
