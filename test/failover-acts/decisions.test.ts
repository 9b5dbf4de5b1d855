import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeJournal } from '../../activities/journal/moves.ts';
import { makePlan } from '../../activities/services/plan.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { FailoverInput } from '../../workflows/model/moves.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { coverSnapshot } from './shelf.ts';
import { CUSTOMER, input, makeWorld, startMove, type World } from './world.ts';

/** What people sign, and what stands beside it. */

let world: World;
let east: S3Vault;
const declaredAt = '2026-03-01T12:00:00.000Z';
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
const cover = (seq: number, point: string): Promise<void> => coverSnapshot(world, east, { seq, point });

describe('a plan cannot be approved', () => {
  it('of a site that serves, unless that is asked for and somebody says how it is cut off', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    const asked = await plan({ sourceIsServing: true });
    expect(asked.blockers).toEqual([]);
    expect(asked.decisions.acceptances).toEqual(['source-is-serving']);
    expect(asked.acceptances?.[0]?.because).toContain('seen by its database');
    const { isolation: _, ...silent } = input({ sourceIsServing: true });
    const unstated = await makePlan(world.west, { input: silent, declaredAt });
    expect(unstated.blockers.map((b) => b.kind)).toEqual(['isolation-unknown']);
    // Of a site that does not serve there is nothing to accept.
    await closeEast();
    expect((await plan({ sourceIsServing: true })).decisions.acceptances).toBeUndefined();
    expect((await plan({ sourceIsServing: true })).digest).toBe((await plan()).digest);
  });
});

describe('a plan', () => {
  it('names the loss, and what the survivor cannot carry, for whoever signs; what is not known is none', async () => {
    await cover(1, '2026-02-28T15:48:00.000Z');
    await closeEast();
    expect((await plan()).decisions.acceptances).toEqual(['data-loss 20h12m']);
    const full = world.westWith({
      site: { capacityUsers: 4 },
      customer: { links: new Map([['west', 1e6]]), trafficBytesPerSecond: 2e6 },
    });
    const { decisions, capacity, loss } = await plan({}, full);
    expect(decisions.acceptances).toEqual(['data-loss 20h12m', 'over-capacity 125%', 'over-link 200%']);
    expect(capacity).toMatchObject({ served: 2, moves: 3, users: 4 });
    expect(loss).toEqual({ users: 3, ms: 20.2 * 3_600_000, withoutSnapshot: 0, quarantined: 0, exact: false });
    expect((await plan({}, world.westWith({ site: { capacityUsers: 5 } }))).decisions.acceptances).toHaveLength(1);
  });

  it('never takes users who are served here for lost ones: nobody’s contacts are touched', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    await closeEast();
    expect((await plan()).decisions.again).toBeUndefined();
    await world.westDb.query("update tandem.serving set site = 'west' where half = 'east'");
    const { decisions, notes } = await plan();
    expect([decisions.again?.base, decisions.acceptances]).toEqual([null, undefined]);
    expect(notes?.join()).toMatch(/west serves the users of east since .* stay as they stand/);
    // Under an epoch that is past nobody is served here.
    await world.westDb.query("update tandem.serving set epoch = 0 where half = 'east'");
    expect((await plan()).decisions.again).toBeUndefined();
  });

  it('never forgets users of its own site who were moved to the one that is lost now', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    await closeEast();
    await world.westDb.query("update tandem.serving set site = 'east', epoch = 0 where half = 'west'");
    const { decisions, acceptances } = await plan();
    expect(decisions.acceptances).toEqual(['own-users-unserved']);
    expect(acceptances?.[0]?.because).toMatch(/^2 users of west itself were moved to east before/);
  });

  it('forecasts by usual times where nothing was measured, and says until when to sign', async () => {
    await cover(1, '2026-03-01T11:00:00.000Z');
    const { forecast, decideBy } = await plan();
    expect(forecast?.steps.map((s) => s.basis)).toEqual(Array(6).fill('default'));
    const slow = forecast?.p75Ms ?? 0;
    expect(slow).toBeGreaterThan(10_000);
    expect(Date.parse(decideBy?.target ?? '')).toBe(Date.parse(declaredAt) + 1_800_000 - slow);
    expect(Date.parse(decideBy?.promise ?? '')).toBe(Date.parse(declaredAt) + 24 * 3_600_000 - slow);
  });

  it('keeps what was signed in its move while the world drifts, and only then', async () => {
    await cover(1, '2026-03-01T09:00:00.000Z');
    await closeEast();
    await world.westDb.query("insert into tandem.home select 'u' || n, 'east' from generate_series(1, 197) n");
    const move = await startMove(world);
    const again = (): Promise<Plan> => makePlan(world.west, { input: input(), declaredAt, move });
    const first = await again();
    expect(first.decisions.users).toBe(200);
    const line = { customer: CUSTOMER, move, at: declaredAt };
    const approve = { verb: 'approve', operator: 'al', digest: first.digest };
    const planned = { ...line, key: 'planned/0', kind: 'planned' as const, body: { ...first } };
    await writeJournal(world.west, [planned]);
    await world.westDb.query("insert into tandem.home values ('v1', 'east')");
    expect((await again()).digest).not.toBe(first.digest); // Nobody has signed it.
    await writeJournal(world.west, [{ ...line, key: 'signed/0', kind: 'signed' as const, body: approve }]);
    await cover(2, '2026-03-01T11:00:00.000Z');
    const drifted = await again();
    expect(drifted).toMatchObject({ digest: first.digest, source: { snapshot: { seq: 2 } }, loss: { ms: 3_600_000 } });
    await world.westDb.query("insert into tandem.home values ('v2', 'east'), ('v3', 'east')");
    const other = await again();
    expect(other.digest).not.toBe(first.digest);
    expect(other.decisions).toMatchObject({ users: 203, recoveryPoint: '2026-03-01T11:00:00.000Z' });
  });
});
