import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { examineSnapshot, type Examination } from '../../activities/vault/examine.ts';
import { manifestKey, type Manifest, type SignedManifest } from '../../activities/vault/manifest.ts';
import { readManifest } from '../../activities/vault/open.ts';
import { packKey } from '../../activities/vault/pack-reader.ts';
import type { Vault } from '../../activities/vault/port.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal } from '../../activities/vault/signed.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { scratchVaults } from '../rig/vaults.ts';
import { overwrite, remove } from './damage.ts';
import { openWorld, quiet, ringOf, type World } from './world.ts';

/** A base and four snapshots of changes upon it, the third of nobody, at east. */
let world: World;
let newest: SnapshotSummary;
let signed: SignedManifest;
beforeAll(async () => {
  world = await openWorld(60);
  newest = await world.take('east');
  for (const nick of ['a', 'b', 'c', 'd']) {
    const some = `select username from tandem.served order by md5(username || '${nick}') limit 6`;
    await world.sql('east', `update rosterusers set nick = '${nick}' where username in (${some})`);
    newest = await world.take('east', { read: 'changes' });
  }
  const found = await readManifest({ vault: world.vaults.east, id: newest, publicKeys: world.publicKeys });
  if (!found) throw new Error('no manifest');
  signed = found;
});
afterAll(() => world.drop());

const examine = (vault: Vault, changes: Partial<Parameters<typeof examineSnapshot>[0]> = {}): Promise<Examination> =>
  examineSnapshot({ vault, id: newest, keys: world.keys, publicKeys: world.publicKeys, ...quiet, ...changes });

/** A fresh vault with the newest snapshot: each pack as `change` makes it, or without it. Seen by who may only read. */
async function copy(
  change: (bytes: Buffer, index: number, footer: number) => Buffer | null,
  others: [string, Buffer][] = [[manifestKey(newest), signed.bytes]],
): Promise<Vault> {
  const { west, westReader } = await scratchVaults();
  const [to, reader] = [new S3Vault(west), new S3Vault(westReader)];
  for (const [index, ref] of signed.manifest.packs.entries()) {
    const key = packKey(signed.manifest, ref.sha256);
    const bytes = await world.vaults.east.read(key);
    const changed = bytes && change(Buffer.from(bytes), index, ref.footer);
    if (changed) await to.put(key, changed);
  }
  for (const [key, bytes] of others) await to.put(key, bytes);
  to.close();
  return reader;
}

const flip = (bytes: Buffer, at: number): Buffer => {
  bytes.writeUInt8(bytes.readUInt8(at) ^ 4, at);
  return bytes;
};
const pack = (index: number): string => packKey(signed.manifest, signed.manifest.packs[index]?.sha256 ?? '');

describe('an examination', () => {
  it('names every damaged object, not only the first, and writes nothing', async () => {
    expect(signed.manifest.packs).toHaveLength(5);
    const before = signed.manifest.previous;
    const forged = seal('manifest', 'east', world.signingKeys.west, signed.manifest);
    const harm: ((bytes: Buffer, footer: number) => Buffer | null)[] = [
      (bytes) => flip(bytes, 200), // In a frame.
      () => null,
      (bytes) => bytes,
      (bytes) => bytes.subarray(0, 300),
      (bytes, footer) => flip(bytes, bytes.length - footer),
    ];
    const vault = await copy(
      (bytes, index, footer) => harm[index]?.(bytes, footer) ?? null,
      [
        [manifestKey(newest), signed.bytes],
        [manifestKey({ ...newest, seq: before?.seq ?? 0 }), forged],
      ],
    );
    const { damage, packs, stale } = await examine(vault);
    const objects = [manifestKey({ ...newest, seq: before?.seq ?? 0 }), pack(0), pack(1), pack(3), pack(4)];
    expect([...new Set(damage.map(({ object }) => object))].toSorted()).toEqual(objects.toSorted());
    const of = (object: string): string =>
      damage
        .filter((d) => d.object === object)
        .map(({ because }) => because)
        .join('; ');
    expect(of(pack(0))).toMatch(
      /of another hash.*frame 0 at \d+ does not open.*the records of \d+ users cannot be read/,
    );
    expect(of(pack(1))).toBe('it is not there');
    expect(of(pack(3))).toMatch(/^300 bytes of another hash, \d+ expected; /);
    expect(of(pack(4))).toMatch(/its bytes are not those that were stored/);
    expect({ packs, stale }).toEqual({ packs: 1, stale: true });
  });

  it('says how many users are lost: of a damaged frame all who are in it and in no newer pack', async () => {
    const whole = await examine(world.vaults.east);
    const base = await copy((bytes, index) => (index === 4 ? flip(bytes, 200) : bytes));
    const found = await examine(base);
    const newer = newest.counts.users - found.readable.users;
    expect(found.stale).toBe(false);
    expect(found.readable.users).toBeGreaterThan(0);
    // Of 30 users, 6 were changed at a time: all others are in the base alone.
    expect(newer).toBeGreaterThanOrEqual(whole.readable.users - 24);
    const without = await examine(await copy((bytes, index) => (index === 4 ? null : bytes)));
    expect(without).toMatchObject({ readable: found.readable, stale: false });
  });

  it('finds what no single object shows: other users or counts than the manifest says, a broken chain', async () => {
    const says = async (change: Partial<Manifest>): Promise<string[]> => {
      const bytes = seal('manifest', 'east', world.signingKeys.east, { ...signed.manifest, ...change });
      const before = signed.manifest.previous;
      const previous = manifestKey({ ...newest, seq: before?.seq ?? 0 });
      const [held] = await world.vaults.east.versions(previous);
      const vault = await copy(
        (b) => b,
        [
          [manifestKey(newest), bytes],
          [previous, held ?? Buffer.alloc(0)],
        ],
      );
      return (await examine(vault)).damage.map(({ because }) => because);
    };
    expect(await says({})).toEqual([]);
    const counts = { ...newest.counts, contacts: newest.counts.contacts + 1, defaults: 0 };
    const { gen = 0, seq = 0 } = signed.manifest.previous ?? {};
    expect(
      await says({
        setHash: '1'.repeat(64),
        counts,
        previous: { gen, seq, manifest: '0'.repeat(64) },
        point: new Date(Date.now() + 600_000).toISOString(),
      }),
    ).toEqual([
      expect.stringMatching(/^its recovery point is (599|600) s ahead/),
      expect.stringMatching(/^it follows another manifest than number 4/),
      'its users are not those its manifest says',
      expect.stringMatching(/^\d+ contacts, its manifest says \d+$/),
      expect.stringMatching(/^\d+ defaults, its manifest says 0$/),
    ]);
  });

  it('is not deceived by newer versions and delete markers', async () => {
    for (const key of [manifestKey(newest), pack(2)]) {
      await overwrite(world.access.eastRoot, key, 'nothing');
      await remove(world.access.eastRoot, key);
    }
    expect(await examine(world.readers.east)).toMatchObject({
      damage: [],
      readable: newest.counts,
      packs: 5,
      stale: false,
    });
  });

  it('says nothing of damage when it is the key that is missing or wrong, and names that', async () => {
    await expect(examine(world.vaults.east, { keys: ringOf('k9') })).rejects.toMatchObject({
      type: 'key-missing',
      message: expect.stringContaining('"k1"') as string,
    });
    await expect(examine(world.vaults.east, { keys: ringOf('k1') })).rejects.toMatchObject({ type: 'key-wrong' });
    await expect(examine(world.vaults.east, { id: { ...newest, seq: 99 } })).rejects.toMatchObject({
      type: 'no-recovery-point',
    });
  });
});
