import { randomBytes } from 'node:crypto';
import { DeleteObjectCommand, PutObjectCommand, PutObjectRetentionCommand } from '@aws-sdk/client-s3';
import { afterEach, describe, expect, it } from 'vitest';
import { Cleaner } from '../../activities/vault/cleaner.ts';
import { manifestKey } from '../../activities/vault/manifest.ts';
import { as, below, DAY, fatesOf, openCleaning, type Cleaning } from './cleaning.ts';
import type { Vault } from '../../activities/vault/port.ts';
import { CUSTOMER, quiet } from './world.ts';

let world: Cleaning;
afterEach(() => world.drop());

const inDays = (days: number) => (): number => Date.now() + days * DAY;

describe('retention deletes nothing', () => {
  it('in a dry run, while a move is live, or when the database is another’s', async () => {
    world = await openCleaning();
    await world.oldAndNew();
    const before = await world.everything('west');
    const dry = await world.clean('west', { mode: 'dry-run' });
    expect(fatesOf(dry, 'east')).toEqual([
      [5, 'kept'],
      [3, 'expired'],
      [1, 'expired'],
    ]);
    expect(dry.totals.expired.objects).toBe(below(before, '0000000001').length + below(before, '0000000003').length);
    await world.sql(
      'west',
      "insert into tandem.move values ('m-1', $1, 'failover', 'w', 'declared', '{}', now(), null)",
      [CUSTOMER],
    );
    expect(await world.clean('west')).toMatchObject({
      heldBy: 'm-1',
      totals: { deleted: { objects: 0 }, pinned: { generations: 2 } },
    });
    await expect(world.clean('west', { database: world.databases.east })).rejects.toMatchObject({
      type: 'database-wrong',
    });
    expect(await world.everything('west')).toEqual(before);
    await world.sql('west', 'update tandem.move set ended_at = now()');
    expect((await world.clean('west')).totals.deleted).toEqual(dry.totals.expired);
  });

  it('that is locked: it says until when, and touches nothing else of its generation', async () => {
    world = await openCleaning({ locks: true });
    await world.oldAndNew();
    const before = await world.everything('west');
    const done = await world.clean('west', { now: inDays(36) });
    expect(fatesOf(done, 'east')).toEqual([
      [5, 'kept'],
      [3, 'locked'],
      [1, 'locked'],
    ]);
    const [, locked] = done.sources.find(({ site }) => site === 'east')?.generations ?? [];
    const until = new Date(inDays(42)()).toISOString();
    expect(locked?.because).toContain(`until ${until.slice(0, 10)}`);
    expect(done.totals).toMatchObject({ locked: { generations: 2 }, deleted: { objects: 0 } });
    // Nor can it when it tries all the same: the server holds it.
    const cleaner = world.cleanerOf('west');
    for await (const page of cleaner.versions('acme/east/', quiet.signal))
      for (const version of page)
        expect(await cleaner.remove(version, quiet.signal)).toMatchObject({ until: expect.any(Date) as Date });
    expect(await world.everything('west')).toEqual(before);
  });

  it('of a generation of which one pack is locked, and takes it all when that is over', async () => {
    world = await openCleaning({ locks: true });
    const { east } = world.vaults;
    // A bucket with Object Lock, written to as if it had none.
    const lockless: Vault = {
      site: east.site,
      put: (key, body, { signal } = {}) => east.put(key, body, signal && { signal }),
      versions: (key, options) => east.versions(key, options),
      read: (key, range, options) => east.read(key, range, options),
      list: (prefix, options) => east.list(prefix, options),
      mend: (key, body, { signal } = {}) => east.mend(key, body, signal && { signal }),
      versionCounts: (prefix, options) => east.versionCounts(prefix, options),
      close: () => undefined,
    };
    for (let i = 0; i < 2; i += 1) {
      await world.sql('east', 'delete from tandem.taken');
      await world.take('east', { vault: lockless });
    }
    const before = await world.everything('east');
    const [Key, VersionId] = below(before, '0000000001/packs/')[0]?.split(' ') ?? [];
    const RetainUntilDate = new Date(Date.now() + 3_600_000);
    await as(world.access.eastRoot, (s3) =>
      s3.send(
        new PutObjectRetentionCommand({
          Bucket: world.access.east.bucket,
          Key,
          VersionId,
          Retention: { Mode: 'GOVERNANCE', RetainUntilDate },
        }),
      ),
    );
    const held = await world.clean('east');
    expect(fatesOf(held, 'east')).toEqual([
      [2, 'kept'],
      [1, 'locked'],
    ]);
    expect(held.sources[0]?.generations[1]?.because).toBe(
      `Object Lock holds it until ${RetainUntilDate.toISOString()}`,
    );
    expect(await world.everything('east')).toEqual(before);
    await as(world.access.eastRoot, (s3) =>
      s3.send(
        new PutObjectRetentionCommand({
          Bucket: world.access.east.bucket,
          Key,
          VersionId,
          BypassGovernanceRetention: true,
          Retention: { Mode: 'GOVERNANCE', RetainUntilDate: new Date(Date.now() + 1000) },
        }),
      ),
    );
    await new Promise((done) => setTimeout(done, 1500));
    expect(fatesOf(await world.clean('east'), 'east')).toEqual([
      [2, 'kept'],
      [1, 'deleted'],
    ]);
  });

  it('when its credentials may not, and does not take that for a lock', async () => {
    world = await openCleaning();
    await world.takeBase('east');
    await world.takeBase('east');
    const before = await world.everything('east');
    const cleaner = new Cleaner(world.access.east);
    await expect(world.clean('east', { cleaner })).rejects.toMatchObject({ type: 'vault-refused' });
    cleaner.close();
    expect(await world.everything('east')).toEqual(before);
  });

  it('that is covered, that the standby holds or that no newer one replaces, at any age', async () => {
    world = await openCleaning();
    const one = await world.takeBase('east');
    await world.takeBase('east');
    await world.pull('west');
    await world.verify('west', one);
    await world.apply(one);
    await world.takeBase('east');
    const four = await world.takeBase('east');
    await world.pull('west');
    // A manifest that stands for less than a day may be the work of a run that still goes on.
    const soon = await world.clean('west', { now: inDays(0.5) });
    expect(soon.totals).toMatchObject({ kept: { generations: 4 } });
    const pinned = [
      [4, 'kept'],
      [3, 'expired'],
      [2, 'expired'],
      [1, 'pinned'],
    ];
    const dry = { mode: 'dry-run' } as const;
    expect(fatesOf(await world.clean('west', dry), 'east')).toEqual(pinned);
    // The site's own vault: what its peer has covered stays, as long as the peer can tell.
    expect(fatesOf(await world.clean('east', dry), 'east')).toEqual(pinned);
    expect(fatesOf(await world.clean('east', { ...dry, peer: null }), 'east').at(-1)).toEqual([1, 'expired']);
    await world.verify('west', four);
    expect(fatesOf(await world.clean('west'), 'east')).toEqual([
      [4, 'kept'],
      [3, 'deleted'],
      [2, 'deleted'],
      [1, 'pinned'],
    ]);
    await world.apply(four);
    expect(fatesOf(await world.clean('west'), 'east')).toEqual([
      [4, 'kept'],
      [1, 'deleted'],
    ]);
  });

  it('sooner because of a manifest that nobody signed, old or new', async () => {
    world = await openCleaning();
    await world.takeBase('east');
    await world.takeBase('east');
    await as(world.access.eastRoot, async (s3) => {
      for (const seq of [1, 9]) {
        const Key = manifestKey({ customer: CUSTOMER, site: 'east', gen: seq, seq });
        await s3.send(new PutObjectCommand({ Bucket: world.access.east.bucket, Key, Body: randomBytes(50) }));
      }
    });
    expect((await world.clean('east', { now: inDays(34) })).totals.kept.generations).toBe(3);
    // A forged newest one replaces nothing: the newest that holds is kept.
    expect(fatesOf(await world.clean('east'), 'east')).toEqual([
      [9, 'kept'],
      [2, 'kept'],
      [1, 'deleted'],
    ]);
  });
});

describe('retention deletes', () => {
  it('old generations whole, with every version and marker; the newest stays, and is read and built upon', async () => {
    world = await openCleaning();
    const [first, , , , , newest] = await world.oldAndNew();
    if (!first || !newest) throw new Error('nothing was taken');
    const others = [
      'acme/east/0000000001/notes',
      'acme/epochs/1.json',
      'acme/west/tests/0000000001.json',
      'acme/west/accepted/east/0000000001-operator-1.json',
      'other/east/0000000001/m/0000000001.json',
    ];
    await as(world.access.westRoot, async (s3) => {
      const at = { Bucket: world.access.west.bucket, Key: manifestKey(first) };
      await s3.send(new PutObjectCommand({ ...at, Body: 'not what it was' }));
      await s3.send(new DeleteObjectCommand(at));
      for (const Key of others) await s3.send(new PutObjectCommand({ ...at, Key, Body: 'x' }));
    });
    const before = await world.everything('west');
    const done = await world.clean('west');
    expect(fatesOf(done, 'east')).toEqual([
      [5, 'kept'],
      [3, 'deleted'],
      [1, 'deleted'],
    ]);
    expect(done).toMatchObject({ unknown: 1, heldBy: null });
    const after = await world.everything('west');
    const gone = before.filter((key) => !after.includes(key));
    expect(gone).toHaveLength(done.totals.deleted.objects);
    const meant = /^acme\/(east\/000000000[13]\/(m|packs)\/|west\/receipts\/east\/000000000[13]-)/;
    expect(gone.filter((key) => !meant.test(key))).toEqual([]);
    expect(after.filter((key) => meant.test(key))).toEqual([]);
    expect(others.filter((key) => below(after, key).length === 0)).toEqual([]);
    expect(await world.verify('west', newest)).toMatchObject({ snapshot: { seq: 6 } });
    // And the site goes on: a delta upon the newest, pulled, and nothing more to delete.
    expect(await world.take('east', { read: 'changes' })).toMatchObject({ gen: 5, seq: 7 });
    expect((await world.pull('west')).unverified).toMatchObject({ seq: 7 });
    expect(fatesOf(await world.clean('west'), 'east')).toEqual([[5, 'kept']]);
  });

  it('what killed runs have left, as soon as it is past its keeping', async () => {
    world = await openCleaning();
    await world.takeBase('east');
    await world.vaults.east.put(`acme/east/0000000002/packs/${'ab'.repeat(32)}`, Buffer.from('left by a killed run'));
    await world.sql('east', "update tandem.high_water set gen = 2, seq = 2 where site = 'east'");
    expect(await world.takeBase('east')).toMatchObject({ gen: 3 });
    expect((await world.clean('east', { now: inDays(34) })).totals.kept.generations).toBe(3);
    expect(fatesOf(await world.clean('east'), 'east')).toEqual([
      [3, 'kept'],
      [2, 'deleted'],
      [1, 'deleted'],
    ]);
  });
});
