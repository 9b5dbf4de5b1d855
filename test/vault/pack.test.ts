import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Keyring } from '../../activities/settings.ts';
import { compress, decompress, hasZstd } from '../../activities/vault/codec.ts';
import { recordKeys } from '../../activities/vault/keys.ts';
import { openPack, rangesOf } from '../../activities/vault/pack-reader.ts';
import { FRAME_BYTES, packRecord, type PackRecord } from '../../activities/vault/frames.ts';
import { buildPacks, PACK_BYTES, type BuiltPack } from '../../activities/vault/pack-writer.ts';
import { makeRecord, noRows, type UserRecord } from '../../activities/vault/record.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import { ringOf } from './world.ts';

const keys = ringOf('k1');
const ids = recordKeys(keys.ring.get('k1') ?? Buffer.alloc(0));
const place = { customer: 'acme', site: 'east', gen: 3 };

function people(users: number, bytesEach: number): UserRecord[] {
  return Array.from({ length: users }, (_, i) => {
    const nick = randomBytes(Math.ceil(bytesEach / 2)).toString('hex');
    const rows = { ...noRows(), contacts: [[`c${i}@x`, nick, 'B', 'N', '', 'N', '', null]] };
    return makeRecord(`user${String(i).padStart(6, '0')}`, rows, ids);
  });
}

async function* stream(records: UserRecord[]): AsyncGenerator<PackRecord> {
  for (const record of records) yield await Promise.resolve(packRecord(record, ids));
}

async function pack(records: UserRecord[]): Promise<BuiltPack[]> {
  const packs: BuiltPack[] = [];
  for await (const built of buildPacks(stream(records), keys, place, 1)) packs.push(built);
  return packs;
}

async function readAll(
  bytes: Buffer,
  footer: number,
  ring: Keyring = keys,
  at = place,
  intact = true,
): Promise<number> {
  const source = { ...rangesOf(bytes, footer, 'pack p'), intact: () => Promise.resolve(intact) };
  const open = await openPack(source, ring, at, 'k1');
  for (const entry of open.footer.entries) await open.record(entry);
  return open.footer.entries.length;
}

async function only(records: UserRecord[]): Promise<BuiltPack> {
  const [first] = await pack(records);
  if (!first) throw new Error('no pack');
  return first;
}

describe('a pack', () => {
  it('does not open when any one bit is flipped, and says what is wrong', async () => {
    const { bytes, footer } = await only(people(3, 200));
    const texts = new Set<string>();
    for (let at = 0; at < bytes.length; at += 1) {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << (at % 8)), at);
      const error: unknown = await readAll(flipped, footer, keys, place, false).catch((e: unknown) => e);
      expect(failureKind(error), `bit flipped at ${at}`).toMatch(/^(snapshot-damaged|snapshot-format)$/);
      texts.add(failureText(error).replaceAll(/\d+/g, 'N'));
    }
    expect([...texts].some((t) => t.includes('data') || t.includes('frame N'))).toBe(true);
    expect([...texts].every((t) => t.startsWith('pack p'))).toBe(true);
  });

  it('does not open truncated, at any length', async () => {
    const { bytes, footer } = await only(people(2, 50));
    for (let length = 0; length < bytes.length; length += 1) {
      const error: unknown = await readAll(bytes.subarray(0, length), footer, keys, place, false).catch(
        (e: unknown) => e,
      );
      expect(failureKind(error), `cut at ${length}`).toBe('snapshot-damaged');
    }
  });

  it('does not open for another customer, site or generation', async () => {
    const { bytes, footer } = await only(people(1, 50));
    for (const other of [{ customer: 'acmf' }, { site: 'west' }, { gen: 4 }]) {
      await expect(readAll(bytes, footer, keys, { ...place, ...other }, false)).rejects.toMatchObject({
        type: 'snapshot-damaged',
      });
    }
  });

  it('names a key that is missing, and one that is wrong', async () => {
    const { bytes, footer } = await only(people(1, 50));
    const missing = readAll(bytes, footer, ringOf('k2'));
    await expect(missing).rejects.toMatchObject({
      type: 'key-missing',
      message: expect.stringContaining('"k1"') as string,
    });
    const wrong = readAll(bytes, footer, ringOf('k1'));
    await expect(wrong).rejects.toMatchObject({
      type: 'key-wrong',
      message: expect.stringContaining('"k1"') as string,
    });
  });

  it('keeps frames within 1 MiB of whole records, and packs within 4 MiB', async () => {
    const records = people(300, 40_000);
    const packs = await pack(records);
    expect(packs.length).toBeGreaterThan(1);
    const found: string[] = [];
    for (const { bytes, footer } of packs) {
      expect(bytes.length).toBeLessThanOrEqual(PACK_BYTES);
      const open = await openPack(rangesOf(bytes, footer, 'p'), keys, place, 'k1');
      for (const frame of open.footer.frames) expect(frame.plain).toBeLessThanOrEqual(FRAME_BYTES);
      for (const entry of open.footer.entries) found.push((await open.record(entry)).username);
    }
    expect(found.toSorted()).toEqual(records.map(({ username }) => username));
  });

  it('stays within 4 MiB for users without rows, whose entries weigh more than they do', async () => {
    const packs = await pack(people(120_000, 0));
    expect(packs.length).toBeGreaterThan(1);
    for (const { bytes } of packs) expect(bytes.length).toBeLessThanOrEqual(PACK_BYTES);
  });

  it('gives a record that is larger than a frame a frame of its own', async () => {
    const records = [...people(1, 100), ...people(1, 3 << 20), ...people(1, 6 << 20)];
    const packs = await pack(
      records.map((r, i) => makeRecord(`u${i}`, r.rows, recordKeys(keys.ring.get('k1') ?? Buffer.alloc(0)))),
    );
    const frames: number[] = [];
    for (const { bytes, footer } of packs) {
      const open = await openPack(rangesOf(bytes, footer, 'p'), keys, place, 'k1');
      frames.push(...open.footer.frames.map(({ plain }) => plain));
      expect(await readAll(bytes, footer)).toBe(open.footer.entries.length);
    }
    expect(frames).toHaveLength(3);
  });
});

describe('codecs', () => {
  it('read each other, and open to no more than was said', async () => {
    const plain = Buffer.alloc(100_000, 'tandem ');
    for (const codec of hasZstd ? (['zstd', 'brotli'] as const) : (['brotli'] as const)) {
      const packed = await compress(plain, codec);
      expect(packed.length).toBeLessThan(5000);
      expect((await decompress(packed, plain.length, 'x')).equals(plain)).toBe(true);
      await expect(decompress(packed, plain.length - 1, 'x')).rejects.toMatchObject({ type: 'snapshot-damaged' });
    }
    await expect(decompress(Buffer.of(9, 1, 2), 10, 'x')).rejects.toThrow('codec 9');
  });
});
