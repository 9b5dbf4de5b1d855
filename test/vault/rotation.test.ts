import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newestCovered, type Shelf } from '../../activities/vault/catalog.ts';
import { manifestKey, type Manifest } from '../../activities/vault/manifest.ts';
import { readManifest } from '../../activities/vault/open.ts';
import { packKey } from '../../activities/vault/pack-reader.ts';
import type { Vault } from '../../activities/vault/port.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal } from '../../activities/vault/signed.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { scratchVaults } from '../rig/vaults.ts';
import { copyVault, flipped } from './damage.ts';
import { CUSTOMER, openWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld(60);
});
afterEach(() => world.drop());

async function take(change: number): Promise<SnapshotSummary> {
  await world.sql(
    'east',
    `update rosterusers set nick = $1 where username =
       (select username from rosterusers join tandem.home using (username) where site = 'east' order by 1 offset $2 limit 1)`,
    [`nick ${change}`, change * 17],
  );
  return world.take('east');
}

/** A snapshot of east that west has pulled. */
async function pulled(change = 0): Promise<SnapshotSummary> {
  const taken = await take(change);
  await world.pull('west');
  return taken;
}

async function manifestOf(id: SnapshotSummary): Promise<Manifest> {
  const found = await readManifest({ vault: world.vaults.east, id, publicKeys: world.publicKeys });
  if (!found) throw new Error('no manifest');
  return found.manifest;
}

/** The vault of west, and the packs that are read whole from it. */
function watched(): { vault: Vault; whole: string[] } {
  const { west } = world.vaults;
  const whole: string[] = [];
  const vault: Vault = {
    site: 'west',
    put: (key, body, options) => west.put(key, body, options),
    mend: (key, body, options) => west.mend(key, body, options),
    versions: (key, options) => west.versions(key, options),
    read: (key, range, options) => {
      if (!range) whole.push(key.slice(-64));
      return west.read(key, range, options);
    },
    list: (prefix, options) => west.list(prefix, options),
    versionCounts: (prefix, options) => west.versionCounts(prefix, options),
    close: () => undefined,
  };
  return { vault, whole };
}

const shelf = (): Shelf => ({
  vault: world.vaults.west,
  customer: CUSTOMER,
  site: 'east',
  publicKeys: world.publicKeys,
});

const daysPass = (hours: number) =>
  world.sql('west', `update tandem.opened set at = at - $1 * interval '1 hour'`, [hours]);

/** West's vault as it would be if an object had changed below it. */
async function damagedVault(change: (key: string, bytes: Buffer) => Buffer | null): Promise<S3Vault> {
  const vault = new S3Vault((await scratchVaults()).west);
  await copyVault(world.vaults.west, vault, change);
  return vault;
}

describe('the verification of a change', () => {
  it('opens whole what was not opened within a day, and the footers of the rest', async () => {
    const base = await pulled();
    const first = watched();
    expect(await world.verify('west', base, first)).toMatchObject({ counts: base.counts });
    const [basePack] = (await manifestOf(base)).packs;
    expect(first.whole).toEqual([basePack?.sha256]);

    const delta = await pulled(1);
    const second = watched();
    expect(await world.verify('west', delta, second)).toMatchObject({ counts: delta.counts });
    const packs = (await manifestOf(delta)).packs.map(({ sha256 }) => sha256);
    expect(packs).toHaveLength(2);
    expect(second.whole).toEqual(packs.slice(0, 1));

    await daysPass(25);
    const later = watched();
    await world.verify('west', delta, later);
    expect(later.whole.toSorted()).toEqual(packs.toSorted());
  });

  it('goes on where it was killed', async () => {
    await pulled();
    const delta = await pulled(1);
    const [newest, base] = (await manifestOf(delta)).packs;
    const killed = watched();
    const read = killed.vault.read.bind(killed.vault);
    killed.vault.read = (key, range, options) =>
      key.endsWith(base?.sha256 ?? '') ? Promise.reject(new Error('killed')) : read(key, range, options);
    await expect(world.verify('west', delta, killed)).rejects.toThrow('killed');
    const again = watched();
    await world.verify('west', delta, again);
    expect(again.whole).toEqual([base?.sha256]);
    expect(killed.whole).toContain(newest?.sha256);
  });

  it('finds a footer that is damaged or gone, however recently its pack was opened', async () => {
    const base = await pulled();
    await world.verify('west', base);
    const delta = await pulled(1);
    const old = (await manifestOf(base)).packs[0];
    const of = (key: string): boolean => key.endsWith(old?.sha256 ?? '');
    const changes: ((bytes: Buffer) => Buffer | null)[] = [
      (bytes) => flipped(bytes, -10),
      (bytes) => flipped(bytes, 20),
      (bytes) => bytes.subarray(0, -1),
      () => null,
    ];
    for (const change of changes) {
      const vault = await damagedVault((key, bytes) => (of(key) ? change(bytes) : bytes));
      await expect(world.verify('west', delta, { vault })).rejects.toMatchObject({
        type: 'snapshot-damaged',
        message: expect.stringContaining(old?.sha256 ?? '') as string,
      });
      await world.sql('west', 'update tandem.opened set because = null');
      vault.close();
    }
  });

  it('remembers damage: such a pack is opened again, however recently it was good', async () => {
    const base = await pulled();
    await world.verify('west', base);
    const delta = await pulled(1);
    const old = (await manifestOf(base)).packs[0]?.sha256 ?? '';
    const vault = await damagedVault((key, bytes) => (key.endsWith(old) ? flipped(bytes, 200) : bytes));
    // A frame is no footer: it is for the rotation to find it,
    await world.verify('west', delta, { vault });
    await daysPass(25);
    await expect(world.verify('west', delta, { vault })).rejects.toMatchObject({ type: 'snapshot-damaged' });
    // and found once, it stays found.
    await expect(world.verify('west', delta, { vault })).rejects.toMatchObject({ type: 'snapshot-damaged' });
    const rows = await world.sql('west', 'select because from tandem.opened where pack = $1', [old]);
    expect(rows[0]?.['because']).toContain(old);
    vault.close();
  });

  it('still proves whose records they are: a manifest that lies about its users is found out by the footers', async () => {
    const base = await pulled();
    await world.verify('west', base);
    const delta = await take(1);
    const manifest = await manifestOf(delta);
    const { users } = manifest.counts;
    const lies: Partial<Manifest>[] = [
      { setHash: '0'.repeat(64) },
      { counts: { ...manifest.counts, users: users - 1 } },
      { packs: manifest.packs.slice(1) },
      { packs: manifest.packs.toReversed() },
    ];
    for (const lie of lies) {
      const vault = await damagedVault((_key, bytes) => bytes);
      for (const { sha256 } of manifest.packs) {
        const bytes = await world.vaults.east.read(packKey(manifest, sha256));
        if (bytes) await vault.put(packKey(manifest, sha256), bytes);
      }
      const id = { customer: CUSTOMER, site: 'east', gen: manifest.gen, seq: manifest.seq };
      await vault.put(manifestKey(id), seal('manifest', 'east', world.signingKeys.east, { ...manifest, ...lie }));
      await expect(world.verify('west', id, { vault })).rejects.toMatchObject({ type: 'snapshot-damaged' });
      vault.close();
    }
  });
});

describe('the rotation', () => {
  it('opens every byte of both sites’ snapshots, and nothing twice within 12 hours', async () => {
    const base = await pulled();
    const delta = await pulled(1);
    const west = await world.take('west');
    const first = watched();
    const [theirs, ours] = await world.held('west', { own: first.vault });
    expect(theirs).toMatchObject({ of: 'east', site: 'west', snapshots: 2, packs: 2, counted: 2, bytes: delta.bytes });
    expect(ours).toMatchObject({ of: 'west', snapshots: 1, packs: 1, counted: 1, bytes: west.bytes });
    expect(first.whole).toHaveLength(3);
    const [again] = await world.held('west');
    expect(again).toMatchObject({ snapshots: 2, packs: 0, bytes: 0, damaged: [] });
    // What it opened, a verification need not open; what is new is opened by that.
    const verified = watched();
    await world.verify('west', delta, verified);
    expect(verified.whole).toEqual([]);
    await daysPass(13);
    expect((await world.held('west'))[0]).toMatchObject({ packs: 2, counted: 2, bytes: delta.bytes });
    expect(base.bytes).toBeLessThan(delta.bytes);
  });

  it('goes on where it was killed, with the generation that was not opened for longest', async () => {
    await pulled();
    await pulled(1);
    // A new key begins a new generation.
    const keys = { current: 'k2', ring: new Map([...world.keys.ring, ['k2', Buffer.alloc(32, 2)]]) };
    await world.take('east', { keys });
    await world.pull('west');
    const order = async (): Promise<string[]> => {
      const seen = watched();
      await world.held('west', { own: seen.vault, keys, sites: ['east'] });
      return seen.whole;
    };
    const [first, second, third] = await order();
    await daysPass(13);
    await world.sql('west', `update tandem.opened set at = at - interval '1 hour' where pack = $1`, [third]);
    expect(await order()).toEqual([third, first, second]);

    await daysPass(13);
    const killed = watched();
    const read = killed.vault.read.bind(killed.vault);
    killed.vault.read = (key, range, options) =>
      key.endsWith(second ?? '') ? Promise.reject(new Error('killed')) : read(key, range, options);
    await expect(world.held('west', { own: killed.vault, keys, sites: ['east'] })).rejects.toThrow('killed');
    expect(await order()).toEqual([second]);
  });

  it('ends at once when it is cancelled', async () => {
    await pulled();
    const cancel = new AbortController();
    const heartbeat = (): void => cancel.abort(new Error('cancelled'));
    await expect(world.held('west', { heartbeat, signal: cancel.signal })).rejects.toThrow('cancelled');
  });

  it('finds a manifest that counts other rows than its packs hold, which no footer can tell', async () => {
    const base = await pulled();
    await world.verify('west', base);
    const delta = await take(1);
    const manifest = await manifestOf(delta);
    const counts = { ...manifest.counts, contacts: manifest.counts.contacts + 1 };
    const lie = seal('manifest', 'east', world.signingKeys.east, { ...manifest, counts });
    const vault = await damagedVault((_key, bytes) => bytes);
    for (const { sha256 } of manifest.packs) {
      const bytes = await world.vaults.east.read(packKey(manifest, sha256));
      if (bytes) await vault.put(packKey(manifest, sha256), bytes);
    }
    const id = { customer: CUSTOMER, site: 'east', gen: manifest.gen, seq: manifest.seq };
    await vault.put(manifestKey(id), lie);
    expect(await world.verify('west', id, { vault })).toMatchObject({ counts });
    expect((await newestCovered({ ...shelf(), vault }, 'west'))?.summary.seq).toBe(2);
    await daysPass(13);
    const [check] = await world.held('west', { own: vault });
    expect(check?.damaged).toMatchObject([
      { object: 'manifest', seqs: [2], because: 'it says other contacts than its packs hold' },
    ]);
    expect((await newestCovered({ ...shelf(), vault }, 'west'))?.summary.seq).toBe(1);
    vault.close();
  });
});
