import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { newestCovered, type Shelf } from '../../activities/vault/catalog.ts';
import { manifestKey, receiptKey, type Manifest } from '../../activities/vault/manifest.ts';
import { openSnapshot, readManifest } from '../../activities/vault/open.ts';
import { packKey } from '../../activities/vault/pack-reader.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { Check } from '../../workflows/model/checks.ts';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import { scratchVaults, type ScratchVaults } from '../rig/vaults.ts';
import { copyVault, flipped, overwrite, remove } from './damage.ts';
import { CUSTOMER, openWorld, type World } from './world.ts';

/** East has taken a base and a delta upon it; west has pulled and verified both. */
let world: World;
let base: Manifest;
let delta: Manifest;
let whole: Map<string, string>;
const id = (seq: number): SnapshotId => ({ customer: CUSTOMER, site: 'east', gen: 1, seq });

beforeAll(async () => {
  world = await openWorld(60);
  for (const nick of ['first', 'second']) {
    await world.sql(
      'east',
      'update rosterusers set nick = $1 where username = (select min(username) from rosterusers)',
      [nick],
    );
    const taken = await world.take('east');
    await world.pull('west');
    await world.verify('west', taken);
  }
  const manifest = async (seq: number): Promise<Manifest> => {
    const found = await readManifest({ vault: world.vaults.east, id: id(seq), publicKeys: world.publicKeys });
    if (!found) throw new Error('no manifest');
    return found.manifest;
  };
  base = await manifest(1);
  delta = await manifest(2);
  whole = await recordsIn(world.vaults.west, 2);
});
afterAll(() => world.drop());

let access: ScratchVaults;
let own: S3Vault;
beforeEach(async () => {
  access = await scratchVaults();
  own = new S3Vault(access.west);
  await world.sql('west', 'delete from tandem.opened');
});
afterEach(() => own.close());

const shelf = (vault = own): Shelf => ({ vault, customer: CUSTOMER, site: 'east', publicKeys: world.publicKeys });
const covered = async (): Promise<number | undefined> => (await newestCovered(shelf(), 'west'))?.summary.seq;

async function recordsIn(vault: S3Vault, seq: number): Promise<Map<string, string>> {
  const { keys, publicKeys } = world;
  const found = new Map<string, string>();
  for await (const { username, bytes } of (await openSnapshot({ vault, keys, publicKeys, id: id(seq) })).records()) {
    found.set(username, bytes.toString('hex'));
  }
  return found;
}

/** The check of east's snapshots in the vault of west. */
async function held(changes: Parameters<World['held']>[1] = {}): Promise<Check> {
  const [check] = await world.held('west', { own, sites: ['east'], ...changes });
  if (!check) throw new Error('no check');
  return check;
}

type Change = (key: string, bytes: Buffer) => Buffer | null;
interface Case {
  object: 'pack' | 'manifest';
  key: () => string;
  change: (bytes: Buffer) => Buffer | null;
  /** Snapshots that need it. */
  seqs: number[];
  says: RegExp;
}

const basePack = (): string => packKey(base, base.packs[0]?.sha256 ?? '');
const deltaPack = (): string => packKey(delta, delta.packs[0]?.sha256 ?? '');
let others: Map<string, Buffer>;
const bytesOf = (key: string): Buffer => others.get(key) ?? Buffer.alloc(0);
const another = /another hash/;

const cases: Record<string, Case> = {
  'a bit flipped in a frame of the base': {
    object: 'pack',
    key: basePack,
    change: (b) => flipped(b, 300),
    seqs: [1, 2],
    says: another,
  },
  'a bit flipped in the version of a pack': {
    object: 'pack',
    key: basePack,
    change: (b) => flipped(b, 9),
    seqs: [1, 2],
    says: another,
  },
  'a bit flipped in a footer': {
    object: 'pack',
    key: basePack,
    change: (b) => flipped(b, -30),
    seqs: [1, 2],
    says: another,
  },
  'a bit flipped in the pack of a delta': {
    object: 'pack',
    key: deltaPack,
    change: (b) => flipped(b, 200),
    seqs: [2],
    says: another,
  },
  'a truncated pack': { object: 'pack', key: basePack, change: (b) => b.subarray(0, -1), seqs: [1, 2], says: another },
  'an empty pack': { object: 'pack', key: deltaPack, change: () => Buffer.alloc(0), seqs: [2], says: another },
  'a deleted pack': { object: 'pack', key: basePack, change: () => null, seqs: [1, 2], says: /not there/ },
  'a pack swapped for another': {
    object: 'pack',
    key: basePack,
    change: () => bytesOf(deltaPack()),
    seqs: [1, 2],
    says: another,
  },
  'a bit flipped in a manifest': {
    object: 'manifest',
    key: () => manifestKey(delta),
    change: (b) => flipped(b, 50),
    seqs: [2],
    says: /signature|JSON/,
  },
  'a truncated manifest': {
    object: 'manifest',
    key: () => manifestKey(base),
    change: (b) => b.subarray(0, -9),
    seqs: [1],
    says: /not JSON/,
  },
  'a deleted manifest': {
    object: 'manifest',
    key: () => manifestKey(delta),
    change: () => null,
    seqs: [2],
    says: /not there/,
  },
  'a deleted manifest that is not the newest': {
    object: 'manifest',
    key: () => manifestKey(base),
    change: () => null,
    seqs: [1],
    says: /not there/,
  },
  'an old manifest in the place of a newer one': {
    object: 'manifest',
    key: () => manifestKey(delta),
    change: () => bytesOf(manifestKey(base)),
    seqs: [2],
    says: /it is the manifest of acme\/east\/1\/1/,
  },
};

beforeAll(async () => {
  others = new Map();
  for await (const { key } of world.vaults.west.list('')) {
    const [bytes] = await world.vaults.west.versions(key);
    if (bytes) others.set(key, bytes);
  }
});

const damage = (one: Case): Promise<void> => damageBy((key, bytes) => (key === one.key() ? one.change(bytes) : bytes));
const damageBy = (change: Change): Promise<void> => copyVault(world.vaults.west, own, change);

describe.each(Object.entries(cases))('%s', (_name, one) => {
  const { object, seqs, says } = one;

  it('is named, un-covers what needs it, and is never restored, when no other vault has it whole', async () => {
    await damage(one);
    expect(await covered()).toBe(one.key() === manifestKey(delta) ? 1 : 2);
    const check = await held({ peer: null });
    expect(check.repaired).toEqual([]);
    expect(check.damaged).toMatchObject([{ object, key: one.key(), seqs }]);
    expect(check.damaged[0]?.because).toMatch(says);
    expect(check.damaged[0]?.because).toContain('not mended: there is no other vault');
    expect(await covered()).toBe(seqs.includes(1) && seqs.includes(2) ? undefined : seqs.includes(2) ? 1 : 2);
    const restored = await recordsIn(own, seqs.at(-1) ?? 0).catch((error: unknown) => error);
    expect(restored).toBeInstanceOf(Error);
    // It stays so until a check finds it mended; one that the damage was copied to is no help.
    const again = await held({ peer: own });
    expect(again.damaged).toMatchObject([{ object, key: one.key(), seqs }]);
  });

  it('is mended from the other vault, and counts again', async () => {
    await damage(one);
    await held({ peer: null });
    const check = await held();
    expect(check.damaged).toEqual([]);
    expect(check.repaired).toMatchObject([{ object, key: one.key(), seqs }]);
    expect(await covered()).toBe(2);
    expect(await recordsIn(own, 2)).toEqual(whole);
    const next = await held();
    expect(next).toMatchObject({ damaged: [], repaired: [] });
    // What stood there before is still there.
    expect((await own.versions(one.key())).length).toBe(one.change(bytesOf(one.key())) === null ? 1 : 2);
  });
});

describe('what hides nothing', () => {
  it('is counted: a version over another, a delete marker, a key of nobody', async () => {
    await damageBy((_key, bytes) => bytes);
    await overwrite(access.westRoot, basePack(), 'nothing here');
    await overwrite(access.westRoot, manifestKey(delta), bytesOf(manifestKey(base)));
    await remove(access.westRoot, deltaPack());
    await overwrite(access.westRoot, `${CUSTOMER}/east/0000000001/packs/readme.txt`, 'pay here');
    const check = await held();
    expect(check).toMatchObject({ damaged: [], repaired: [], snapshots: 2, packs: 2, counted: 2 });
    expect(check.strays).toMatchObject({ versions: 2, markers: 1, unknown: 1 });
    expect(check.strays.keys).toHaveLength(4);
    expect(await covered()).toBe(2);
    expect(await recordsIn(own, 2)).toEqual(whole);
  });

  it('is named where it stands for a snapshot that never was: an old manifest under a new number', async () => {
    await damageBy((_key, bytes) => bytes);
    await own.put(manifestKey({ ...id(3), gen: 3 }), bytesOf(manifestKey(base)));
    const check = await held();
    expect(check.damaged).toMatchObject([{ object: 'manifest', seqs: [3] }]);
    expect(await covered()).toBe(2);
  });
});

describe('the newest snapshot', () => {
  it('is missed when it was deleted with the receipt for it: this site has seen it', async () => {
    const gone = [manifestKey(delta), receiptKey('west', id(2))];
    await damageBy((key, bytes) => (gone.includes(key) ? null : bytes));
    expect((await held({ peer: null })).damaged).toMatchObject([{ object: 'manifest', key: gone[0], seqs: [2] }]);
    expect(await held()).toMatchObject({ damaged: [], repaired: [{ key: gone[0] }] });
  });
});

describe('a receipt that does not hold', () => {
  it('is named, and covers nothing', async () => {
    const key = receiptKey('west', id(2));
    await damageBy((k, bytes) => (k === key ? flipped(bytes, 60) : bytes));
    expect((await held()).damaged).toMatchObject([{ object: 'receipt', key, seqs: [2] }]);
    expect(await covered()).toBe(1);
  });
});

describe('a reader', () => {
  it('finds the version that holds behind one that does not, whatever is damaged in that', async () => {
    const [pack] = base.packs;
    const good = bytesOf(basePack());
    for (const at of [0, 9, 20, 200, good.length - (pack?.footer ?? 0), good.length - 1]) {
      const vault = new S3Vault((await scratchVaults()).west);
      await copyVault(world.vaults.west, vault, (key, bytes) => (key === basePack() ? flipped(bytes, at) : bytes));
      await vault.mend(basePack(), good);
      expect(await recordsIn(vault, 2), `damaged at ${at}`).toEqual(whole);
      const { keys, publicKeys } = world;
      const opened = await openSnapshot({ vault, keys, publicKeys, id: id(2) });
      for (const [username, bytes] of [...whole].slice(0, 5)) {
        expect((await opened.record(username))?.bytes.toString('hex')).toBe(bytes);
      }
      // Pulled again into a vault of the other side, it is good there.
      vault.close();
    }
  });
});
