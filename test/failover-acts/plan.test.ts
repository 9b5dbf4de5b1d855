import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makePlan } from '../../activities/services/plan.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { checkKey } from '../../activities/vault/checks.ts';
import { claimEpoch } from '../../activities/vault/epochs.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal } from '../../activities/vault/signed.ts';
import type { Check } from '../../workflows/model/checks.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { FailoverInput } from '../../workflows/model/moves.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { coverSnapshot, listSnapshot } from './shelf.ts';
import { OBSERVER_LIMIT_MS } from '../../activities/probes/observers.ts';
import { blackHole, droppingPort, type BlackHole } from '../rig/black-holes.ts';
import { CUSTOMER, eastAt, input, kindOf, makeWorld, type World } from './world.ts';

let world: World;
let east: S3Vault;
let hole: BlackHole;
const declaredAt = '2026-03-01T12:00:00.000Z';

beforeAll(async () => {
  hole = await blackHole();
});
afterAll(() => hole.close());
beforeEach(async () => {
  world = await makeWorld();
  east = new S3Vault(world.vaults.east);
});
afterEach(async () => {
  east.close();
  await world.close();
});

const plan = (change: Partial<FailoverInput> = {}, site: OwnSite = world.west): Promise<Plan> =>
  makePlan(site, { input: input(change), declaredAt });
const closeEast = (): Promise<unknown> => world.eastDb.query('delete from tandem.serving');
const silentEast = (): OwnSite => world.westWith(eastAt(world, `127.0.0.1:${hole.port}`));

const snapshot = (seq: number, point: string, where: ('east' | 'west')[], key?: KeyObject): Promise<string> =>
  listSnapshot(world, east, { seq, point, where, ...(key && { key }) });
const cover = (seq: number, point: string, key?: KeyObject): Promise<void> =>
  coverSnapshot(world, east, { seq, point, ...(key && { key }) });

/** What a site says of east's snapshots in its vault: those of these numbers are damaged. */
async function check(site: 'east' | 'west', seqs: number[], key: KeyObject = world.keys[site]): Promise<void> {
  const endedAt = new Date().toISOString();
  const damaged = seqs.map((seq) => ({ object: 'pack' as const, key: 'k', gen: 1, seqs: [seq], because: 'a bit' }));
  const strays = { versions: 0, markers: 0, unknown: 0, keys: [] };
  const said = { snapshots: 1, counted: 1, packs: 1, bytes: 1, damaged, repaired: [], strays };
  const of: Check = { format: 1, customer: CUSTOMER, site, of: 'east', startedAt: endedAt, endedAt, ...said };
  await (site === 'east' ? east : world.west.vault).put(checkKey(of), seal('check', site, key, of));
}

async function timed<T>(promise: Promise<T>): Promise<{ result: T; ms: number }> {
  const start = performance.now();
  const result = await promise;
  return { result, ms: performance.now() - start };
}

describe('a plan never waits on the lost site beyond its limits', () => {
  /** What an address that hangs may cost beside one that refuses at once: its limit, on a machine that is as busy as it is. */
  const within = (refusedMs: number): number => OBSERVER_LIMIT_MS + 1000 + 2 * refusedMs;
  const refusing = (): OwnSite => world.westWith(eastAt(world, '127.0.0.1:1'));

  it('is made within its limit when every connection to it hangs, also thirty at once', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    const site = silentEast();
    const { ms: refusedMs } = await timed(plan({}, refusing()));
    const one = await timed(plan({}, site));
    const unreachable = 'unreachable';
    const seen = one.result.decisions.isolation.observers.map((o) => o.saw);
    expect(seen).toEqual([unreachable, unreachable, unreachable]);
    expect(one.ms).toBeLessThan(within(refusedMs));
    const thirtyAt = async (at: OwnSite) => timed(Promise.all(Array.from({ length: 30 }, () => plan({}, at))));
    // With nothing to wait for: what thirty cost this machine. One behind the other they would wait a minute.
    const refused = await thirtyAt(refusing());
    const thirty = await thirtyAt(site);
    expect(thirty.ms).toBeLessThan(within(refused.ms));
    expect(new Set(thirty.result.map((p) => p.digest))).toEqual(new Set([one.result.digest]));
  });

  it('is made within its limit when packets to it are dropped', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    const { ms: refusedMs } = await timed(plan({}, refusing()));
    const drops = await droppingPort();
    const { result, ms } = await timed(plan({}, world.westWith(eastAt(world, `127.0.0.1:${drops.port}`))));
    await drops.close();
    expect(result.decisions.isolation.observers.map((o) => o.saw)).toEqual([
      'unreachable',
      'unreachable',
      'unreachable',
    ]);
    expect(ms).toBeGreaterThan(1500); // Nothing answered, not even with a refusal.
    expect(ms).toBeLessThan(within(refusedMs));
  });
});

describe('a plan cannot be approved', () => {
  it('while the source says that it serves', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    const { decisions, blockers } = await plan();
    expect(decisions.isolation.verdict).toBe('serving');
    expect(blockers.map((b) => b.kind)).toEqual(['source-serves']);
  });

  it('while nobody knows whether the source serves and nobody says how it is isolated', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    const { isolation: _, ...silent } = input();
    const made = await makePlan(silentEast(), { input: silent, declaredAt });
    expect(made.blockers.map((b) => b.kind)).toEqual(['isolation-unknown']);
    expect((await plan({}, silentEast())).blockers).toEqual([]);
  });

  it('because of a vault or a Temporal service that still answers: they serve nobody', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    await closeEast();
    const { isolation: _, ...silent } = input();
    const made = await makePlan(world.west, { input: silent, declaredAt });
    expect(made.decisions.isolation.observers.map((o) => o.saw)).toEqual(['closed', 'answers', 'unreachable']);
    expect(made.blockers).toEqual([]);
  });

  it('on the word of a database that belongs to another customer', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    await world.eastDb.query("update tandem.serving set customer = 'fabrikam', epoch = 0");
    await world.eastDb.query("update tandem.epoch set customer = 'fabrikam'");
    await world.eastDb.query("update tandem.identity set customer = 'fabrikam'");
    const { isolation: _, ...silent } = input();
    const made = await makePlan(world.west, { input: silent, declaredAt });
    expect(made.decisions.isolation.observers[0]).toEqual({ name: 'database', saw: 'answers' });
    expect(made.blockers.map((b) => b.kind)).toEqual(['isolation-unknown']);
  });
});

describe('the source of the data is never', () => {
  it('a snapshot that is not covered, or whose receipt nobody signed, while the source is silent', async () => {
    await cover(1, '2026-03-01T09:00:00.000Z');
    await snapshot(2, '2026-03-01T10:00:00.000Z', ['west']);
    await cover(3, '2026-03-01T11:00:00.000Z', generateKeyPairSync('ed25519').privateKey);
    expect((await plan({}, silentEast())).source.snapshot.seq).toBe(1);
  });

  it('of a time after the disruption, or after the point that was asked for', async () => {
    await cover(1, '2026-03-01T08:00:00.000Z');
    await cover(2, '2026-03-01T10:00:00.000Z');
    await cover(3, '2026-03-01T11:30:00.000Z');
    const disrupted = await plan({ disruptedAt: '2026-03-01T11:00:00Z' });
    expect(disrupted.source.snapshot.seq).toBe(2);
    expect(disrupted.notTaken.map((n) => n.from)).toEqual(['source-vault', 'own-vault']);
    expect((await plan({ recoveryPoint: '2026-03-01T09:00:00+00:00' })).source.snapshot.seq).toBe(1);
  });

  it('a newer one of the lost site that it did not sign itself', async () => {
    await cover(1, '2026-03-01T09:00:00.000Z');
    await snapshot(2, '2026-03-01T11:00:00.000Z', ['east'], world.keys.west);
    expect((await plan()).source).toMatchObject({ from: 'own-vault', point: '2026-03-01T09:00:00.000Z' });
  });

  it('known to be damaged where it lies: the newest check of either vault decides', async () => {
    await cover(1, '2026-03-01T08:00:00.000Z');
    await cover(2, '2026-03-01T09:00:00.000Z');
    await snapshot(3, '2026-03-01T10:00:00.000Z', ['east']);
    await check('east', [3]);
    await check('west', [2]);
    // The lost site's own copy of number 2 is whole; no more is known of it than that.
    expect((await plan()).source).toMatchObject({ from: 'source-vault', snapshot: { seq: 2 } });
    const silent = await plan({}, silentEast());
    expect(silent.source).toMatchObject({ from: 'own-vault', snapshot: { seq: 1 } });
    expect(silent.notTaken).toContainEqual({
      from: 'own-vault',
      because: expect.stringContaining('1 damaged') as string,
    });
    await check('west', []);
    expect((await plan({}, silentEast())).source.snapshot.seq).toBe(2);
  });

  it('made up: without any there is no plan', async () => {
    expect(await kindOf(plan({}, silentEast()))).toBe('no-recovery-point');
  });
});

describe('make-plan', () => {
  it('gives the same world the same digest', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    await closeEast();
    const digests = await Promise.all([plan(), plan(), plan()]);
    expect(new Set(digests.map((p) => p.digest)).size).toBe(1);
    // Who asks, and why, decides nothing: a plan that is only looked at is the one that a run makes.
    expect((await plan({ reason: 'a look', requestedBy: 'nobody' })).digest).toBe(digests[0]?.digest);
    await world.westDb.query("insert into tandem.home values ('e4', 'east')");
    expect((await plan()).digest).not.toBe(digests[0]?.digest);
  });

  it('takes a newer snapshot from the vault of the lost site when that still answers', async () => {
    await cover(1, '2026-03-01T09:00:00.000Z');
    await snapshot(2, '2026-03-01T11:00:00.000Z', ['east']);
    const { source, decisions } = await plan();
    expect(source).toMatchObject({ from: 'source-vault', snapshot: { seq: 2 } });
    // Signed is the oldest they may get: what this vault holds keeps the RPO too, should the lost one stop answering.
    expect(decisions.recoveryPoint).toBe('2026-03-01T09:00:00.000Z');
  });

  it('names the loss beyond the RPO, and only that', async () => {
    await cover(1, '2026-03-01T04:00:00.000Z');
    expect((await plan()).decisions.acceptedLossMs).toBeNull(); // Eight hours, to the millisecond.
    expect((await plan({ recoveryPoint: '2026-03-01T04:00:00Z' })).decisions.acceptedLossMs).toBeNull();
    await cover(2, '2026-02-28T12:00:00.000Z');
    expect((await plan({ recoveryPoint: '2026-03-01T00:00:00Z' })).decisions.acceptedLossMs).toBe(24 * 3_600_000);
  });

  it('offers the epoch after the highest that any store holds', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    const epoch = async (): Promise<number> => (await plan()).decisions.epoch;
    expect(await epoch()).toBe(2);
    await claimEpoch(world.west.vault, world.settings, CUSTOMER, { number: 4, site: 'west', move: 'old' });
    expect(await epoch()).toBe(5);
    const byEast = { ...world.settings, site: 'east', signingKey: world.keys.east };
    await claimEpoch(east, byEast, CUSTOMER, { number: 6, site: 'east', move: 'old' });
    expect(await epoch()).toBe(7);
    await world.eastDb.query('update tandem.epoch set number = 8');
    expect(await epoch()).toBe(9);
    await world.westDb.query('update tandem.epoch set number = 10');
    expect(await epoch()).toBe(11);
  });

  it('counts the users of the lost half, and knows whether the standby copy holds the snapshot', async () => {
    await cover(3, '2026-03-01T11:00:00.000Z');
    expect(await plan()).toMatchObject({
      decisions: { users: 3, from: 'east', to: 'west' },
      source: { applied: false },
    });
    await world.westDb.query("insert into tandem.applied values ('contoso', 'east', 1, 3, '')");
    expect((await plan()).source.applied).toBe(true);
  });

  it('lists who may approve, retry and stop, in one order', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    const { approvers, approvalsNeeded } = (await plan()).decisions;
    expect(approvers.map((a) => [a.id, a.roles])).toEqual([
      ['al', ['approve', 'commander']],
      ['bo', ['operate']],
    ]);
    expect(approvalsNeeded).toBe(2);
  });

  it('tells every fault of its input at once', async () => {
    const wrong = {
      customer: '',
      from: 7,
      reasn: 'x',
      disruptedAt: 'yesterday',
      recoveryPoint: '2026-03-02T00:00:00Z',
      requestedBy: 'a'.repeat(501),
    };
    const text = await makePlan(world.west, { input: wrong as never, declaredAt }).catch(failureText);
    for (const told of [
      'customer: is empty',
      'from: a number',
      '"reasn": unknown field',
      'reason: is missing',
      'requestedBy: 501 characters',
      'disruptedAt: "yesterday"',
      'recoveryPoint: 2026-03-02T00:00:00.000Z is ahead',
    ]) {
      expect(text).toContain(told);
    }
    expect(await kindOf(plan({ disruptedAt: '2026-01-01T00:00:00Z' }))).toBe('input-invalid');
    expect(await kindOf(plan({ disruptedAt: '2026-03-01T12:30:00Z' }))).toBe('input-invalid');
    expect(await kindOf(plan({ customer: 'fabrikam' }))).toBe('unknown-customer');
    expect(await kindOf(plan({ from: 'west' }))).toBe('wrong-direction');
    expect(await kindOf(plan({ from: 'north' }))).toBe('wrong-direction');
  });
});
