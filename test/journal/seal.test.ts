import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { closeMove } from '../../activities/journal/close.ts';
import { judgeEvidence } from '../../activities/journal/evidence.ts';
import { writeJournal } from '../../activities/journal/moves.ts';
import { sealMove, trySeal, unsealedHere } from '../../activities/journal/seal.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { fingerprint } from '../../ops/evidence.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import { sealWhatIsMissing } from '../../ops/seal-loop.ts';
import { CUSTOMER, kindOf, makeWorld, type World } from '../failover-acts/world.ts';
import { FaultProxy } from '../rig/fault-proxy.ts';
import { begin, folder, keysOf, namesOf, note, reportOf, segmentsOf } from './journals.ts';
import { evidenceOf, tell } from './story.ts';

let world: World;
let proxy: FaultProxy;
/** West, whose vault answers as the proxy says. */
let weak: OwnSite;
beforeAll(async () => {
  world = await makeWorld();
  proxy = await FaultProxy.open(world.vaults.west.endpoint);
  weak = world.westWith({ site: { vault: { ...world.vaults.west, endpoint: proxy.endpoint } } });
});
afterAll(async () => {
  await world.close();
  await proxy.close();
});
afterEach(() => proxy.set());

const signal = (): AbortSignal => AbortSignal.timeout(20_000);
const sealed = async (move: string): Promise<boolean> =>
  (await world.westDb.query('select from tandem.move where move = $1 and sealed_at is not null', [move])).length === 1;
const versions = async (move: string): Promise<number[]> => {
  const counts: number[] = [];
  for await (const { versions: n } of world.west.vault.versionCounts(folder(move))) counts.push(n);
  return counts;
};

describe('a move is never counted as sealed', () => {
  it('while its vault takes the bytes and loses them, nor while it takes only some', async () => {
    const move = await begin(world);
    proxy.set((_n, method, url) => (method === 'PUT' && url.includes('report.json') ? 'refuse-500' : null));
    expect((await closeMove(weak, reportOf(move))).notSealed).toBeDefined();
    expect(await keysOf(world.west.vault, folder(move))).toEqual(['journal.json', 'lines/0000000001.json']);
    expect(await sealed(move)).toBe(false);
    expect(await unsealedHere(weak, CUSTOMER)).toContain(move);
    proxy.set();
    expect(await trySeal(weak, { customer: CUSTOMER, move }, signal())).toBeNull();
    expect(await sealed(move)).toBe(true);
  });

  it('without the lines that a vault held which is gone: they are brought again, between those that are there', async () => {
    const move = await begin(world);
    proxy.set(() => 'refuse-500');
    await writeJournal(weak, [note(move, 'a'), note(move, 'b')]);
    proxy.set();
    await world.westDb.query('update tandem.move set mirrored = 1 where move = $1', [move]); // Into another vault.
    await writeJournal(weak, [note(move, 'c')]);
    expect(namesOf(await segmentsOf(world, move))).toEqual([['b', 'c']]);
    expect((await closeMove(weak, reportOf(move))).notSealed).toBeUndefined();
    expect(namesOf(await segmentsOf(world, move))).toEqual([['a'], ['b', 'c'], ['close']]);
    expect(await sealed(move)).toBe(true);
  });

  it('when its journal does not hold, or has no end', async () => {
    const move = await begin(world);
    await writeJournal(world.west, [note(move, 'a')]);
    expect(await kindOf(sealMove(world.west, { customer: CUSTOMER, move }))).toBe('journal-broken');
    expect(await kindOf(sealMove(world.west, { customer: CUSTOMER, move: 'nobody' }))).toBe('input-invalid');
    expect(await sealed(move)).toBe(false);
  });
});

describe('a move that ended while its vault was away', () => {
  it('is sealed by the worker once it is back: each object once, and the evidence holds', async () => {
    const lost = { ...world, west: weak };
    await kindOf(tell(lost, () => proxy.set(() => 'refuse-500')));
    const [move = ''] = await unsealedHere(weak, CUSTOMER);
    expect(await keysOf(world.west.vault, folder(move))).toEqual([]);
    expect(await sealed(move)).toBe(false);
    proxy.set();
    const said: string[] = [];
    const metrics = new SiteMetrics();
    const end = new AbortController();
    const looping = sealWhatIsMissing(world.settings, metrics, end.signal, (line) => said.push(line));
    await expect.poll(() => sealed(move)).toBe(true);
    end.abort();
    await looping;
    expect(said).toEqual([`move ${move}: sealed`]);
    expect(judgeEvidence(await evidenceOf(world, move), world.settings.publicKeys, fingerprint)).toMatchObject(
      Array.from({ length: 9 }, () => ({ ok: true })),
    );
    expect(await versions(move)).toEqual([1, 1, 1]);
  });

  it('is sealed once by five that try at once, and left alone after that', async () => {
    const move = await begin(world);
    proxy.set(() => 'refuse-500');
    await closeMove(weak, reportOf(move));
    proxy.set();
    const tried = await Promise.all(
      Array.from({ length: 5 }, () => trySeal(weak, { customer: CUSTOMER, move }, signal())),
    );
    expect(tried).toEqual([null, null, null, null, null]);
    proxy.set();
    expect(await trySeal(weak, { customer: CUSTOMER, move }, signal())).toBeNull();
    expect(proxy.count()).toBe(0);
    expect(await versions(move)).toEqual([1, 1, 1]);
  });
});
