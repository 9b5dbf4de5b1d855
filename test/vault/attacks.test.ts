import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listSnapshots, newestCovered, type Shelf } from '../../activities/vault/catalog.ts';
import { manifestKey, receiptKey, type Manifest } from '../../activities/vault/manifest.ts';
import { readManifest } from '../../activities/vault/open.ts';
import { packKey } from '../../activities/vault/pack-reader.ts';
import type { Vault } from '../../activities/vault/port.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal } from '../../activities/vault/signed.ts';
import { failure } from '../../workflows/model/failures.ts';
import { scratchVaults } from '../rig/vaults.ts';
import { overwrite, remove } from './damage.ts';
import { CUSTOMER, openWorld, ringOf, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld(60);
});
afterEach(() => world.drop());

const shelf = (vault: Vault): Shelf => ({ vault, customer: CUSTOMER, site: 'east', publicKeys: world.publicKeys });
const listed = async (vault: Vault) => listSnapshots(shelf(vault));
const id = (seq: number, gen = seq) => ({ customer: CUSTOMER, site: 'east', gen, seq });

async function manifestOf(vault: Vault, seq: number, gen = seq): Promise<{ manifest: Manifest; bytes: Buffer }> {
  const found = await readManifest({ vault, id: id(seq, gen), publicKeys: world.publicKeys });
  if (!found) throw new Error('no manifest');
  return found;
}

/** A vault that dies at a certain write, as its worker would. */
function dyingAt(vault: S3Vault, dies: (key: string) => boolean): Vault {
  return {
    site: vault.site,
    put: (key, body, options) =>
      dies(key) ? Promise.reject(failure('vault-unreachable', 'killed')) : vault.put(key, body, options),
    versions: (key, options) => vault.versions(key, options),
    read: (key, range, options) => vault.read(key, range, options),
    mend: (key, body, options) => vault.mend(key, body, options),
    list: (prefix, options) => vault.list(prefix, options),
    versionCounts: (prefix, options) => vault.versionCounts(prefix, options),
    close: () => undefined,
  };
}

describe('a snapshot that did not end', () => {
  it('is never listed, and the next one works', async () => {
    for (const dies of [(key: string) => key.includes('/packs/'), (key: string) => key.includes('/m/')]) {
      await expect(world.take('east', { vault: dyingAt(world.vaults.east, dies) })).rejects.toThrow('killed');
      expect(await listed(world.vaults.east)).toEqual({ snapshots: [], faults: [] });
    }
    expect(await world.pull('west')).toMatchObject({ pulled: [], unverified: null });
    await world.take('east');
    expect((await listed(world.vaults.east)).snapshots).toHaveLength(1);
  });

  it('leaves nothing half pulled either: the manifest comes last', async () => {
    await world.take('east');
    const own = dyingAt(world.vaults.west, (key) => key.includes('/m/'));
    await expect(world.pull('west', { own })).rejects.toThrow('killed');
    expect(await listed(world.vaults.west)).toEqual({ snapshots: [], faults: [] });
    expect(await world.pull('west')).toMatchObject({ pulled: [{ seq: 1 }] });
  });
});

describe('two writers of the same number', () => {
  it('leave one manifest: the loser is superseded, and takes the next number when tried again', async () => {
    let other: unknown;
    const slow = dyingAt(world.vaults.east, () => false);
    const put = slow.put.bind(slow);
    // The other run commits in between: a second worker, while this one stands right before its own commit.
    slow.put = async (key, body, options) => {
      if (key.includes('/m/') && !other) other = await world.take('east');
      return put(key, body, options);
    };
    await expect(world.take('east', { vault: slow })).rejects.toMatchObject({ type: 'snapshot-superseded' });
    expect((await listed(world.vaults.east)).snapshots).toEqual([other]);
    expect(await world.take('east')).toMatchObject({ seq: 2 });
  });

  it('run one at a time in one database', async () => {
    const results = await Promise.allSettled([world.take('east'), world.take('east'), world.take('east')]);
    const reasons = results.flatMap((r) => (r.status === 'rejected' ? [r.reason as { type: string }] : []));
    for (const { type } of reasons) expect(type).toMatch(/^snapshot-(running|superseded)$/);
    const { snapshots } = await listed(world.vaults.east);
    expect(snapshots).toHaveLength(3 - reasons.length);
  });
});

describe('a hostile or broken vault', () => {
  it('cannot hide a good snapshot behind newer versions and delete markers', async () => {
    const taken = await world.take('east');
    const { manifest } = await manifestOf(world.vaults.east, 1);
    await overwrite(world.access.eastRoot, manifestKey(manifest), 'nothing to see');
    for (const ref of manifest.packs) {
      await overwrite(world.access.eastRoot, packKey(manifest, ref.sha256), 'nothing here either');
      await remove(world.access.eastRoot, packKey(manifest, ref.sha256));
    }
    await remove(world.access.eastRoot, manifestKey(manifest));
    expect((await listed(world.vaults.east)).snapshots).toEqual([taken]);
    await world.pull('west');
    expect((await world.verify('west', taken)).manifest).toBe(taken.manifest);
  });

  it('cannot pass off a manifest that its site has not signed, or has signed for another place', async () => {
    await world.take('east');
    const { manifest } = await manifestOf(world.vaults.east, 1);
    const forged: [number, Buffer][] = [
      [2, seal('manifest', 'east', world.signingKeys.west, { ...manifest, gen: 2, seq: 2 })],
      [3, seal('manifest', 'west', world.signingKeys.west, { ...manifest, gen: 3, seq: 3 })],
      [4, seal('receipt', 'east', world.signingKeys.east, { ...manifest, gen: 4, seq: 4 })],
      [5, seal('manifest', 'east', world.signingKeys.east, manifest)], // A true one, replayed under another number.
      [6, Buffer.from('{}')],
    ];
    for (const [seq, bytes] of forged) await world.vaults.east.put(manifestKey(id(seq)), bytes);
    const { snapshots, faults } = await listed(world.vaults.east);
    expect(snapshots.map(({ seq }) => seq)).toEqual([1]);
    expect(faults.map((f) => f.id.seq)).toEqual([6, 5, 4, 3, 2]);
    await expect(world.verify('east', id(2))).rejects.toMatchObject({ type: 'signature-invalid' });
    await expect(world.verify('east', id(5))).rejects.toMatchObject({ type: 'snapshot-damaged' });
    // What is good is pulled past them, and the others are named.
    expect(await world.pull('west')).toMatchObject({
      pulled: [{ seq: 1 }],
      because: expect.stringContaining('signature') as string,
    });
  });

  it('cannot have a damaged pack covered: every region of it is opened, and it is named', async () => {
    const taken = await world.take('east');
    const { manifest, bytes } = await manifestOf(world.vaults.east, 1);
    const [ref] = manifest.packs;
    if (!ref) throw new Error('no pack');
    const good = await world.vaults.east.read(packKey(manifest, ref.sha256));
    if (!good) throw new Error('no pack');
    const regions = {
      magic: 0,
      version: 9,
      salt: 20,
      frame: 200,
      footer: good.length - ref.footer,
      trailer: good.length - 1,
    };
    for (const at of Object.values(regions)) {
      const { west } = await scratchVaults();
      const vault = new S3Vault(west);
      const flipped = Buffer.from(good);
      flipped.writeUInt8(flipped.readUInt8(at) ^ 4, at);
      await vault.put(packKey(manifest, ref.sha256), flipped);
      await vault.put(manifestKey(manifest), bytes);
      await expect(world.verify('west', taken, { vault })).rejects.toMatchObject({
        type: 'snapshot-damaged',
        message: expect.stringContaining(ref.sha256) as string,
      });
      await expect(world.pull('west', { own: vault })).resolves.toMatchObject({ pulled: [] });
      expect(await newestCovered({ ...shelf(vault) }, 'west')).toBeNull();
      vault.close();
    }
  });

  it('cannot cover by a receipt that the peer has not signed, or that is for another manifest', async () => {
    const taken = await world.take('east');
    await world.pull('west');
    const receipt = {
      format: 1,
      snapshot: id(1),
      manifest: taken.manifest,
      point: taken.point,
      site: 'west',
      verifiedAt: taken.point,
      counts: taken.counts,
    };
    const put = (document: object, site: 'east' | 'west') =>
      overwrite(
        world.access.westRoot,
        receiptKey('west', id(1)),
        seal('receipt', site, world.signingKeys[site], document),
      );
    await put(receipt, 'east');
    expect(await newestCovered(shelf(world.vaults.west), 'west')).toBeNull();
    await put({ ...receipt, manifest: '0'.repeat(64) }, 'west');
    expect(await newestCovered(shelf(world.vaults.west), 'west')).toBeNull();
  });

  it('is found out when it was rolled back: an older newest number than was seen before', async () => {
    await world.take('east');
    await world.take('east');
    await world.pull('west');
    const { east } = await scratchVaults();
    const rolled = new S3Vault(east);
    await rolled.put(manifestKey(id(1)), (await manifestOf(world.vaults.east, 1)).bytes);
    await expect(world.pull('west', { peer: rolled })).rejects.toThrow('rolled back: number 2 has been seen');
    // Without the database's memory, the receipts of this vault remember it.
    await world.verify('west', id(2, 1));
    await world.sql('west', 'delete from tandem.high_water');
    await expect(world.pull('west', { peer: rolled })).rejects.toThrow('rolled back');
    rolled.close();
  });

  it('is found out when its chain is broken, and the good one before it is still taken', async () => {
    await world.take('east');
    await world.pull('west');
    await world.take('east');
    const { manifest } = await manifestOf(world.vaults.east, 2, 1);
    const { users: none, ...rest } = { ...manifest.counts, users: 0 };
    const counts = { users: none, ...Object.fromEntries(Object.keys(rest).map((k) => [k, 0])) };
    // Signed, and true to itself in everything but what it follows.
    const empty = { ...manifest, gen: 3, seq: 3, packs: [], counts, setHash: '0'.repeat(64) };
    const previous = { gen: 1, seq: 2, manifest: '0'.repeat(64) };
    const broken = seal('manifest', 'east', world.signingKeys.east, { ...empty, previous });
    await world.vaults.east.put(manifestKey(id(3)), broken);
    const pull = await world.pull('west');
    expect(pull.pulled.map(({ seq }) => seq)).toEqual([2]);
    expect(pull.because).toContain('0000000003.json: it breaks the chain');
    await world.vaults.west.put(manifestKey(id(3)), broken);
    await expect(world.verify('west', id(3))).rejects.toThrow('it follows another manifest than number 2');
  });
});

describe('what this version cannot read', () => {
  it('is refused by its format number', async () => {
    await world.take('east');
    const { manifest } = await manifestOf(world.vaults.east, 1);
    const newer = seal('manifest', 'east', world.signingKeys.east, { ...manifest, gen: 2, seq: 2, format: 2 });
    await world.vaults.east.put(manifestKey(id(2)), newer);
    await expect(world.open('east', id(2))).rejects.toMatchObject({
      type: 'snapshot-format',
      message: expect.stringContaining('format 2') as string,
    });
  });

  it('is refused with the id of a key that is missing or wrong', async () => {
    const taken = await world.take('east');
    const read = async (keys: ReturnType<typeof ringOf>) => {
      for await (const record of (await world.open('east', taken, keys)).records()) return record;
      return null;
    };
    await expect(read(ringOf('k9'))).rejects.toMatchObject({
      type: 'key-missing',
      message: expect.stringContaining('"k1"') as string,
    });
    await expect(read(ringOf('k1'))).rejects.toMatchObject({
      type: 'key-wrong',
      message: expect.stringContaining('"k1"') as string,
    });
    await expect(world.verify('east', taken, { keys: ringOf('k1') })).rejects.toMatchObject({ type: 'key-wrong' });
  });
});

describe('a peer', () => {
  it('that does not answer is an answer', async () => {
    const gone = new S3Vault({ ...world.access.eastReader, endpoint: 'http://127.0.0.1:1' });
    expect(await world.pull('west', { peer: gone })).toMatchObject({
      peer: 'unreachable',
      pulled: [],
      unverified: null,
    });
    gone.close();
  });

  it('gives its newest first, and what was pulled is not pulled again', async () => {
    for (let n = 0; n < 5; n += 1) await world.take('east');
    const pull = await world.pull('west');
    expect(pull.pulled.map(({ seq }) => seq)).toEqual([5, 4, 3]);
    expect(pull.unverified).toMatchObject({ seq: 5 });
    expect(await world.pull('west')).toMatchObject({ pulled: [] });
  });
});
