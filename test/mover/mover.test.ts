import { availableParallelism } from 'node:os';
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMovedActivities, moveInProcess } from '../../activities/mover/mover.ts';
import type { SiteSettings } from '../../activities/settings.ts';
import type { HeldResult } from '../../activities/types.ts';
import { listSnapshots } from '../../activities/vault/catalog.ts';
import type { StepInput } from '../../workflows/model/moves.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { CUSTOMER, openWorld, quiet, type World } from '../vault/world.ts';
import { movers, settingsOf } from './settings.ts';

let world: World;
let settings: SiteSettings;
beforeAll(async () => {
  world = await openWorld(300);
  settings = settingsOf(world);
});
afterAll(() => world.drop());

const take = (changes: Partial<SiteSettings> = {}, running = quiet, input: unknown = { customer: CUSTOMER }) =>
  moveInProcess({ ...settings, ...changes }, 'take-snapshot', input, running) as Promise<SnapshotSummary>;

/** Holds every reading of contacts up until it is called off. */
async function block(): Promise<() => Promise<unknown>> {
  const held = world.sql('east', `begin; lock table rosterusers in access exclusive mode; select pg_sleep(60)`);
  const ended = held.catch(() => undefined);
  await expect.poll(() => waiting(`query like '%pg_sleep%' and wait_event = 'PgSleep'`)).toBe(1);
  return async () => {
    await world.sql('east', `select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'`);
    await ended;
  };
}

async function waiting(where: string): Promise<number> {
  const rows = await world.sql('east', `select from pg_stat_activity where datname = current_database() and ${where}`);
  return rows.length;
}

/** Work between two looks at what has come in, as a worker has it: an end may then be seen before the last word. */
async function keepBusy(): Promise<() => Promise<unknown>> {
  const server = createServer((socket) => socket.on('error', () => undefined).pipe(socket));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('data', () => {
    for (const end = Date.now() + 80; Date.now() < end;);
    socket.write('again');
  });
  socket.write('once');
  return () => {
    socket.destroy();
    return new Promise((done) => server.close(done));
  };
}

describe('the data mover', () => {
  it('that is killed says so, leaves no snapshot and no transaction; the next one works', async () => {
    const release = await block();
    const taking = take();
    taking.catch(() => undefined);
    await expect.poll(() => waiting(`wait_event_type = 'Lock'`)).toBeGreaterThan(0);
    for (const pid of await movers()) process.kill(pid, 'SIGKILL');
    await expect(taking).rejects.toMatchObject({
      type: 'mover-died',
      message: expect.stringContaining('SIGKILL') as string,
    });
    await release();
    await expect.poll(() => waiting(`application_name = 'tandem' and state <> 'idle'`)).toBe(0);
    expect(await take()).toMatchObject({ counts: { users: 150 } });
  });

  it('lets nobody stand in line behind archived messages, neither a move nor a snapshot', async () => {
    const held = world.sql('east', `begin; lock table tandem.journal in access exclusive mode; select pg_sleep(60)`);
    const ended = held.catch(() => undefined);
    await expect.poll(() => waiting(`wait_event = 'PgSleep'`)).toBe(1);
    const stop = new AbortController();
    const moved = createMovedActivities(settings, () => ({ ...quiet, signal: stop.signal }));
    const of = (customer: string): StepInput => ({
      key: { customer, epoch: { number: 2, site: 'east', move: 'm' }, step: 'archive', round: 0 },
      act: 'reconcile-archive',
      plan: 'p',
    });
    const most = Math.max(2, availableParallelism());
    const bringing = Array.from({ length: most + 1 }, () => moved['reconcile-archive'](of(CUSTOMER)));
    const over = Promise.allSettled(bringing);
    await expect.poll(() => waiting(`wait_event_type = 'Lock'`), { timeout: 15_000 }).toBe(most);
    await expect(moved['restore-contacts'](of('nobody'))).rejects.toMatchObject({ type: 'unknown-customer' });
    expect(await moved['take-snapshot']({ customer: CUSTOMER })).toMatchObject({ counts: { users: 150 } });
    expect(await waiting(`wait_event_type = 'Lock'`)).toBe(most);
    stop.abort(new Error('stopped'));
    await world.sql('east', `select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'`);
    await Promise.all([ended, over]);
  });

  it('ends when it is told to, and no one is left behind', async () => {
    const [release, before] = [await block(), await movers()];
    const stop = new AbortController();
    const taking = take({}, { ...quiet, signal: stop.signal });
    taking.catch(() => undefined);
    await expect.poll(() => waiting(`wait_event_type = 'Lock'`)).toBeGreaterThan(0);
    stop.abort(new Error('enough'));
    await expect(taking).rejects.toThrow('enough');
    await release();
    await expect.poll(async () => (await movers()).filter((pid) => !before.includes(pid))).toEqual([]);
  });

  it('opens all that the vault holds, and says what that came to', async () => {
    const { bytes } = await take();
    const result = await moveInProcess(settings, 'verify-held', { customer: CUSTOMER }, quiet);
    const nothing = { damaged: 0, repaired: 0, strays: 0, uncovered: [], because: null };
    expect(result).toMatchObject([
      { of: 'west', snapshots: 0, packs: 0, ...nothing },
      { of: 'east', ...nothing },
    ]);
    expect((result as HeldResult[])[1]?.bytes).toBeGreaterThanOrEqual(bytes);
  });

  it('fails as the job does, with kind and what to try', async () => {
    await expect(take({}, quiet, { customer: 'nobody' })).rejects.toMatchObject({
      type: 'unknown-customer',
      nonRetryable: true,
      message: 'customer "nobody": site east serves acme',
      details: [{ try: expect.any(String) as string }],
    });
  });

  it('is heard to the end, although many end while the worker is busy', async () => {
    const idle = await keepBusy();
    const takes = Array.from({ length: 8 }, () => take({}, quiet, { customer: 'nobody' }));
    const ends = await Promise.allSettled(takes);
    await idle();
    const kinds = ends.map((end) => (end.status === 'rejected' ? (end.reason as { type?: string }).type : 'done'));
    expect(new Set(kinds)).toEqual(new Set(['unknown-customer']));
  });

  it('gives what the job gives, and tells how far it is', async () => {
    const told: Record<string, number>[] = [];
    let peak = 0;
    const running = { ...quiet, heartbeat: (progress: Record<string, number>) => void told.push(progress) };
    await world.sql('east', `update rosterusers set nick = 'changed'`);
    const taken = (await moveInProcess(settings, 'take-snapshot', { customer: CUSTOMER }, running, (bytes) => {
      peak = bytes;
    })) as SnapshotSummary;
    const shelf = { vault: world.vaults.east, customer: CUSTOMER, site: 'east', publicKeys: world.publicKeys };
    expect((await listSnapshots(shelf)).snapshots[0]).toEqual(taken);
    expect(told.at(-1)).toMatchObject({ users: expect.any(Number) as number, packs: 1 });
    expect(peak).toBeLessThan(256 << 20);
  });
});
