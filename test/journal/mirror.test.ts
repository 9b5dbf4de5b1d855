import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { closeMove } from '../../activities/journal/close.ts';
import { mirrorJournal } from '../../activities/journal/mirror.ts';
import { writeJournal } from '../../activities/journal/moves.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal } from '../../activities/vault/signed.ts';
import { CUSTOMER, kindOf, makeWorld, type World } from '../failover-acts/world.ts';
import { FaultProxy, type Rule } from '../rig/fault-proxy.ts';
import { begin, folder, keysOf, lockDays, namesOf, note, reportOf, segmentKey, segmentsOf } from './journals.ts';

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

const sealedAt = async (move: string): Promise<Date | null | undefined> =>
  (await world.westDb.query<{ sealed_at: Date | null }>('select sealed_at from tandem.move where move = $1', [move]))[0]
    ?.sealed_at;

/** Befalls each request that writes a segment. */
const atPut =
  (fault: ReturnType<Rule>): Rule =>
  (_n, method) =>
    method === 'PUT' ? fault : null;

describe('a vault that is away', () => {
  it.each(['hang', 'refuse-500', 'reset-before'] as const)(
    'never stops a move: with %s a line is written within seconds, and mirrored with the next',
    async (fault) => {
      const move = await begin(world);
      await writeJournal(weak, [note(move, 'first')]);
      proxy.set(() => fault);
      const from = performance.now();
      expect(await writeJournal(weak, [note(move, 'a'), note(move, 'b')])).toMatchObject({ mirrored: false });
      expect(performance.now() - from).toBeLessThan(3500);
      expect(namesOf(await segmentsOf(world, move))).toEqual([['first']]);
      proxy.set();
      expect(await writeJournal(weak, [note(move, 'c')])).toMatchObject({ mirrored: true });
      expect(namesOf(await segmentsOf(world, move))).toEqual([['first'], ['a', 'b', 'c']]);
    },
  );

  it('that did its work and never says so is given up in time, and holds each line once', async () => {
    const move = await begin(world);
    proxy.set(() => 'trickle-body');
    expect(await writeJournal(weak, [note(move, 'a')])).toMatchObject({ mirrored: false });
    proxy.set();
    expect(await writeJournal(weak, [note(move, 'b')])).toMatchObject({ mirrored: true });
    expect(namesOf(await segmentsOf(world, move))).toEqual([['a'], ['b']]);
  });

  it('keeps a move from being sealed until it holds every line', async () => {
    const move = await begin(world);
    proxy.set(atPut('refuse-500'));
    expect(await writeJournal(weak, [note(move, 'a')])).toMatchObject({ mirrored: false });
    expect((await closeMove(weak, reportOf(move))).notSealed).toContain('vault');
    expect(await keysOf(world.west.vault, folder(move))).toEqual([]);
    expect(await sealedAt(move)).toBeNull();
    proxy.set();
    expect((await closeMove(weak, reportOf(move))).notSealed).toBeUndefined();
    expect(await sealedAt(move)).not.toBeNull();
    expect(await keysOf(world.west.vault, folder(move))).toEqual([
      'journal.json',
      'lines/0000000001.json',
      'report.json',
    ]);
    expect(namesOf(await segmentsOf(world, move))).toEqual([['a', 'close']]);
  });

  it('that did its work and lost its answer is asked once more, and holds one segment', async () => {
    const move = await begin(world);
    proxy.set((n, method) => (n <= 2 && method === 'PUT' ? 'lose-answer' : null));
    expect(await writeJournal(weak, [note(move, 'a')])).toMatchObject({ mirrored: true });
    expect(await world.west.vault.versions(segmentKey(move, 1))).toHaveLength(1);
  });
});

describe('a segment', () => {
  it('is never replaced by a stale attempt’s, which goes on from what stands there', async () => {
    const move = await begin(world);
    await writeJournal(world.west, [note(move, 'a')]);
    await writeJournal(world.west, [note(move, 'b'), note(move, 'c')]);
    const before = await segmentsOf(world, move);
    // An attempt that read its mark before the others wrote: it would put all three lines under the first one's key.
    await world.westDb.query('update tandem.move set mirrored = 0 where move = $1', [move]);
    await mirrorJournal(world.west, { customer: CUSTOMER, move });
    expect(await segmentsOf(world, move)).toEqual(before);
    expect(await world.west.vault.versions(segmentKey(move, 1))).toHaveLength(1);
    expect(await world.westDb.query('select mirrored from tandem.move where move = $1', [move])).toEqual([
      { mirrored: 3 },
    ]);
  });

  it('is written once when many write at once, and together they are the whole chain', async () => {
    const move = await begin(world);
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, i) => writeJournal(world.west, [note(move, `n/${i}`)])),
    );
    expect(results.every((r) => r.mirrored)).toBe(true);
    await closeMove(world.west, reportOf(move));
    const segments = await segmentsOf(world, move);
    expect(segments.flatMap((s) => s.lines.map((l) => l.seq))).toEqual(Array.from({ length: 13 }, (_, i) => i + 1));
    expect(segments.map((s) => s.previous)).toEqual([null, ...segments.slice(0, -1).map((s) => s.head)]);
    for (const { lines } of segments)
      expect(await world.west.vault.versions(segmentKey(move, lines[0]?.seq ?? 0))).toHaveLength(1);
  });

  it('costs one request that writes and none that lists', async () => {
    const move = await begin(world);
    await writeJournal(weak, [note(move, 'a')]);
    proxy.set();
    await writeJournal(weak, [note(move, 'b')]);
    await writeJournal(weak, [note(move, 'c')]);
    expect(proxy.seen.map((s) => s.method)).toEqual(['PUT', 'PUT']);
    proxy.set();
    expect(await writeJournal(weak, [note(move, 'c')])).toMatchObject({ mirrored: true });
    expect(proxy.count()).toBe(0);
  });

  it('that says otherwise than the database stays, and the move is never sealed over it', async () => {
    const move = await begin(world);
    await writeJournal(world.west, [note(move, 'a'), note(move, 'b')]);
    const before = await segmentsOf(world, move);
    // The database is brought back to a time before, and the move takes another course.
    await world.westDb.query('delete from tandem.journal where move = $1 and seq = 2', [move]);
    await world.westDb.query('update tandem.move set mirrored = 0 where move = $1', [move]);
    expect(await writeJournal(world.west, [note(move, 'other')])).toMatchObject({ mirrored: false });
    expect(await kindOf(closeMove(world.west, reportOf(move)))).toBe('journal-broken');
    expect(await segmentsOf(world, move)).toEqual(before);
    expect(await keysOf(world.west.vault, folder(move))).toEqual(['lines/0000000001.json']);
  });

  it.each(['junk', 'the peer’s signature', 'another move’s'] as const)(
    'is not kept out by %s under its key',
    async (what) => {
      const move = await begin(world);
      const document = { format: 1, customer: CUSTOMER, move, site: 'west', previous: null, lines: [], head: '' };
      const forged = {
        junk: Buffer.from('{'),
        'the peer’s signature': seal('journal', 'east', world.keys.east, document),
        'another move’s': seal('journal', 'west', world.keys.west, { ...document, move: 'another' }),
      };
      await world.west.vault.put(segmentKey(move, 1), forged[what]);
      expect(await writeJournal(world.west, [note(move, 'a')])).toMatchObject({ mirrored: true });
      const versions = await world.west.vault.versions(segmentKey(move, 1));
      expect(versions).toHaveLength(2);
      await closeMove(world.west, reportOf(move));
    },
  );

  it('holds no more than 500 lines: a vault that was away for long gets several', async () => {
    const move = await begin(world);
    proxy.set(() => 'refuse-500');
    await writeJournal(
      weak,
      Array.from({ length: 1001 }, (_, i) => note(move, `n/${i}`)),
    );
    proxy.set();
    expect(await writeJournal(weak, [note(move, 'last')])).toMatchObject({ mirrored: true });
    expect((await segmentsOf(world, move)).map((s) => s.lines.length)).toEqual([500, 500, 2]);
  });

  it('is locked for 400 days, and nobody else may write it', async () => {
    const move = await begin(world);
    await writeJournal(world.west, [note(move, 'a')]);
    const peer = new S3Vault(world.vaults.westReader);
    try {
      expect(await kindOf(peer.put(segmentKey(move, 2), Buffer.from('x')))).toBe('vault-refused');
      expect(await kindOf(peer.mend(segmentKey(move, 1), Buffer.from('x')))).toBe('vault-refused');
    } finally {
      peer.close();
    }
    const locks = await lockDays(world, folder(move));
    for (const days of locks) expect(days).toBeGreaterThan(399);
    expect(locks).toHaveLength(1);
  });
});
