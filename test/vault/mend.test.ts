import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newestCovered } from '../../activities/vault/catalog.ts';
import { manifestKey, receiptKey, type Manifest } from '../../activities/vault/manifest.ts';
import { readManifest } from '../../activities/vault/open.ts';
import { packKey } from '../../activities/vault/pack-reader.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import { scratchVaults, type ScratchVaults } from '../rig/vaults.ts';
import { copyVault, flipped } from './damage.ts';
import { CUSTOMER, openWorld, type World } from './world.ts';

let world: World;
let access: ScratchVaults;
const opened: S3Vault[] = [];
beforeEach(async () => {
  world = await openWorld(40);
  access = await scratchVaults();
});
afterEach(async () => {
  for (const vault of opened.splice(0)) vault.close();
  await world.drop();
});

const id = (seq: number, gen = 1): SnapshotId => ({ customer: CUSTOMER, site: 'east', gen, seq });

async function manifestOf(seq: number, gen = 1): Promise<Manifest> {
  const found = await readManifest({ vault: world.vaults.east, id: id(seq, gen), publicKeys: world.publicKeys });
  if (!found) throw new Error('no manifest');
  return found.manifest;
}

async function take(nick: string): Promise<void> {
  await world.sql('east', 'update rosterusers set nick = $1 where username = (select min(username) from rosterusers)', [
    nick,
  ]);
  await world.take('east');
}

/** A site's vault with objects changed below it. */
async function changed(site: 'east' | 'west', change: (key: string, bytes: Buffer) => Buffer | null): Promise<S3Vault> {
  const vault = new S3Vault(access[site]);
  opened.push(vault);
  await copyVault(world.vaults[site], vault, change);
  return vault;
}

const nicks = async (vault: S3Vault, of: SnapshotId): Promise<Set<string | null | undefined>> => {
  const found = new Set<string | null | undefined>();
  for await (const { rows } of (await world.open('east', of, world.keys, vault)).records()) {
    for (const [, nick] of rows.contacts) found.add(nick);
  }
  return found;
};

describe('a site’s own snapshots', () => {
  it('are mended from the copies that its peer holds, manifests too', async () => {
    await take('first');
    await take('second');
    await world.pull('west');
    const { packs } = await manifestOf(2);
    const lost = [packKey(id(2), packs[1]?.sha256 ?? ''), manifestKey(id(2))];
    const own = await changed('east', (key, bytes) => (lost.includes(key) ? null : bytes));
    const [check] = await world.held('east', { own, sites: ['east'] });
    expect(check?.damaged).toEqual([]);
    expect(check?.repaired.map(({ key }) => key).toSorted()).toEqual(lost.toSorted());
    expect(await nicks(own, id(2))).toContain('second');
    // The peer’s own copies were only read.
    expect((await world.vaults.west.versions(lost[0] ?? '')).length).toBe(1);
  });

  it('are begun anew where nothing can mend them: what is built upon damage could not be restored either', async () => {
    await take('first');
    await take('second');
    const frame = packKey(id(1), (await manifestOf(1)).packs[0]?.sha256 ?? '');
    const own = await changed('east', (key, bytes) => (key === frame ? flipped(bytes, 200) : bytes));
    const [check] = await world.held('east', { own, sites: ['east'] });
    expect(check?.damaged).toMatchObject([{ object: 'pack', key: frame, seqs: [1, 2] }]);
    expect(check?.damaged[0]?.because).toContain('vault west');
    expect(await world.take('east', { vault: own, read: 'changes' })).toMatchObject({ gen: 3, seq: 3 });
    expect(await nicks(own, id(3, 3))).toContain('second');
  });

  it('are begun anew by a full read that finds a footer damaged before any check did', async () => {
    await take('first');
    const pack = packKey(id(1), (await manifestOf(1)).packs[0]?.sha256 ?? '');
    const own = await changed('east', (key, bytes) => (key === pack ? flipped(bytes, -30) : bytes));
    expect(await world.take('east', { vault: own })).toMatchObject({ gen: 2, seq: 2 });
    expect(await nicks(own, id(2, 2))).toContain('first');
  });
});

describe('a pull', () => {
  it('stores a good pack beside other bytes that took its key, and a manifest beside what nobody signed', async () => {
    await take('first');
    const pack = packKey(id(1), (await manifestOf(1)).packs[0]?.sha256 ?? '');
    const own = new S3Vault(access.west);
    opened.push(own);
    await own.put(pack, Buffer.from('squatter'));
    const manifest = manifestKey(id(1));
    await own.put(manifest, Buffer.from('squatter'));
    expect(await world.pull('west', { own })).toMatchObject({ pulled: [{ seq: 1 }], unverified: { seq: 1 } });
    const [check] = await world.held('west', { own, sites: ['east'] });
    expect(check).toMatchObject({ damaged: [], repaired: [], counted: 1 });
    expect(check?.strays.versions).toBe(2);
    await take('second');
    expect(await world.pull('west', { own })).toMatchObject({ pulled: [{ seq: 2 }], unverified: { seq: 2 } });
    expect(await nicks(own, id(2))).toContain('second');
  });
});

describe('a receipt that nobody signed', () => {
  it('is written again when its snapshot is verified again', async () => {
    await take('first');
    await world.pull('west');
    await world.verify('west', id(1));
    const vault = await changed('west', (key, bytes) =>
      key === receiptKey('west', id(1)) ? flipped(bytes, 40) : bytes,
    );
    const shelf = { vault, customer: CUSTOMER, site: 'east', publicKeys: world.publicKeys };
    expect(await newestCovered(shelf, 'west')).toBeNull();
    expect(await world.pull('west', { own: vault })).toMatchObject({ unverified: { seq: 1 } });
    await world.verify('west', id(1), { vault });
    expect((await newestCovered(shelf, 'west'))?.summary.seq).toBe(1);
  });
});
