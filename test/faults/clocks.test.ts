import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { hearBeat, sendBeat } from '../../activities/probes/beats.ts';
import { Eyes } from '../../activities/probes/watch/eyes.ts';
import { lookAround } from '../../activities/probes/watch/look.ts';
import { makePlan } from '../../activities/services/plan.ts';
import { obeyNewerEpoch } from '../../activities/services/obey.ts';
import { claimEpoch } from '../../activities/vault/epochs.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { coverSnapshot } from '../failover-acts/shelf.ts';
import { CUSTOMER, eastAt, input, makeWorld, type World } from '../failover-acts/world.ts';
import { openCleaning, type Cleaning } from '../vault/cleaning.ts';

/** The machine of a worker whose clock is three hours off, among servers whose clocks are right. */

const HOURS = 3 * 3_600_000;
const real = Date.now;
const off = (ms: number): void => void vi.useFakeTimers({ toFake: ['Date'], now: real() + ms });
const sides = [
  ['ahead', HOURS],
  ['behind', -HOURS],
] as const;
afterEach(() => vi.useRealTimers());

describe('of the data half', () => {
  let world: Cleaning;
  beforeAll(async () => {
    world = await openCleaning();
    await world.oldAndNew();
  });
  afterAll(() => world.drop());
  const wrong = (words: RegExp) => ({ type: 'clock-wrong', message: expect.stringMatching(words) as string });

  it.each(sides)('%s: retention deletes nothing, and says by how much', async (side, ms) => {
    const before = await world.everything('west');
    off(ms);
    const other = side === 'ahead' ? 'behind' : 'ahead of';
    await expect(world.clean('west')).rejects.toMatchObject(
      wrong(new RegExp(`^vault west: its clock is 1(079|080)\\d s ${other} this machine's, limit 120 s$`)),
    );
    vi.useRealTimers();
    expect(await world.everything('west')).toEqual(before);
  });

  it('ahead: a snapshot is as old as its database says, and counts', async () => {
    off(HOURS);
    const taken = await world.take('east', { read: 'changes' });
    expect(Math.abs(Date.parse(taken.point) - real())).toBeLessThan(60_000);
    await world.pull('west');
    const receipt = await world.verify('west', taken);
    expect(receipt).toMatchObject({ point: taken.point, manifest: taken.manifest });
    vi.useRealTimers();
  });

  it('behind: no snapshot is taken, and none is taken for verified, that would be from a time to come', async () => {
    const taken = await world.take('east', { read: 'changes' });
    await world.pull('west');
    const before = [await world.everything('east'), await world.everything('west')];
    off(-HOURS);
    const ahead = /1(079|080)\d s ahead, limit 120 s$/;
    await expect(world.take('east', { read: 'changes' })).rejects.toMatchObject(wrong(ahead));
    await expect(world.verify('west', taken)).rejects.toMatchObject(wrong(ahead));
    vi.useRealTimers();
    expect([await world.everything('east'), await world.everything('west')]).toEqual(before);
    expect(await world.verify('west', taken)).toMatchObject({ manifest: taken.manifest });
  });
});

describe('of a move and of the watch', () => {
  let world: World;
  let east: S3Vault;
  beforeAll(async () => {
    world = await makeWorld();
    east = new S3Vault(world.vaults.east);
    await coverSnapshot(world, east, { seq: 1, point: new Date(real() - 3_600_000).toISOString() });
  });
  afterAll(async () => {
    east.close();
    await world.close();
  });

  it.each(sides)('%s: people sign what they would sign by the right one', async (_, ms) => {
    const { customer, site } = eastAt(world, '127.0.0.1:9') ?? {};
    const alone = world.westWith({ ...(customer && { customer }), ...(site && { site }) });
    const declaredAt = new Date(real()).toISOString();
    const plan = () => makePlan(alone, { input: input(), declaredAt });
    const right = await plan();
    off(ms);
    const found = await plan();
    vi.useRealTimers();
    expect(found.decisions).toEqual(right.decisions);
    expect([found.digest, found.loss, found.source.point]).toEqual([right.digest, right.loss, right.source.point]);
  });

  it.each(sides)('%s: a site beats, is heard, and neither finds anybody dead by it, nor is found so', async (_, ms) => {
    const { publicKeys } = world.settings;
    const signal = (): AbortSignal => AbortSignal.timeout(10_000);
    const witness = world.vaults.witness;
    off(ms);
    await sendBeat(witness.east, { site: 'east', signingKey: world.keys.east, publicKeys }, signal());
    const heard = await hearBeat(witness.west, 'east', publicKeys, signal());
    vi.useRealTimers();
    const byRight = await hearBeat(witness.west, 'east', publicKeys, signal());
    for (const found of [heard, byRight]) {
      if (found === null || found === 'unsigned') throw new Error('no beat');
      expect(Math.abs(found.ageMs)).toBeLessThan(30_000);
    }
  });

  it.each(sides)('%s: the watch sees peer, vaults and witness as ever, and obeys a newer claim', async (side, ms) => {
    const number = side === 'ahead' ? 7 : 8;
    const { settings } = world.westWith({ site: { witness: world.vaults.witness.west } });
    off(ms);
    const eyes = new Eyes(settings, 0);
    const look = () =>
      lookAround(eyes, eyes.of(world.customer), { least: 0, spared: null }, new AbortController().signal);
    const before = await look();
    expect(before.seen).toMatchObject({ witness: 'answers', peer: { tells: true, database: 'answers' } });
    expect(before.because).not.toHaveProperty('vault');
    const asEast = { ...settings, site: 'east', signingKey: world.keys.east };
    const claims = new S3Vault(world.vaults.witness.east);
    await claimEpoch(claims, asEast, CUSTOMER, { number, site: 'east', move: 'theirs' });
    claims.close();
    expect((await look()).claim).toMatchObject({ number, store: 'witness' });
    eyes.close();
    expect(await obeyNewerEpoch(settings, CUSTOMER, world.westDb)).toMatchObject({ number });
    vi.useRealTimers();
  });
});
