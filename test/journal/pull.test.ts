import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeMove } from '../../activities/journal/close.ts';
import { writeJournal } from '../../activities/journal/moves.ts';
import { EVIDENCE_MS } from '../../activities/journal/objects.ts';
import { pullJournals } from '../../activities/journal/pull.ts';
import { listMoves, readSealed } from '../../activities/journal/read.ts';
import { Cleaner } from '../../activities/vault/cleaner.ts';
import { deleteExpired } from '../../activities/vault/delete-expired.ts';
import type { Vault } from '../../activities/vault/port.ts';
import { pullSnapshots } from '../../activities/vault/pull.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal } from '../../activities/vault/signed.ts';
import { findStrays } from '../../activities/vault/strays.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { CUSTOMER, kindOf, makeWorld, type World } from '../failover-acts/world.ts';
import { scratchVaults } from '../rig/vaults.ts';
import { begin, folder, keysOf, note, reportOf, segmentKey, segmentsOf } from './journals.ts';

let world: World;
/** East's own vault, and west's as east may see it: east pulls. */
let east: S3Vault;
let west: S3Vault;
beforeAll(async () => {
  world = await makeWorld();
  east = new S3Vault(world.vaults.east);
  west = new S3Vault(world.vaults.westReader);
});
afterAll(async () => {
  east.close();
  west.close();
  await world.close();
});

const quiet = { alive: () => undefined, heartbeat: () => undefined, signal: new AbortController().signal };
const pull = (change: { own?: Vault; peer?: Vault } = {}): Promise<Error[]> =>
  pullJournals({
    own: east,
    peer: west,
    customer: CUSTOMER,
    publicKeys: world.settings.publicKeys,
    ...quiet,
    ...change,
  });

/** A closed move of west, with three segments. */
async function closed(): Promise<string> {
  const move = await begin(world);
  await writeJournal(world.west, [note(move, 'a')]);
  await writeJournal(world.west, [note(move, 'b'), note(move, 'c')]);
  await closeMove(world.west, reportOf(move));
  return move;
}

describe('the peer’s journal', () => {
  it('is never stored when the peer did not sign it, for this very key', async () => {
    const move = await begin(world);
    await writeJournal(world.west, [note(move, 'a'), note(move, 'b')]);
    const [good] = await segmentsOf(world, move);
    if (!good) throw new Error('no segment');
    const { keys } = world;
    const other = { ...good, move: 'other' };
    const forged: Record<string, Buffer> = {
      [segmentKey('signed-by-us', 1)]: seal('journal', 'east', keys.east, { ...good, move: 'signed-by-us' }),
      [segmentKey('in-our-name', 1)]: seal('journal', 'west', keys.east, { ...good, move: 'in-our-name' }),
      [segmentKey('of-another-move', 1)]: seal('journal', 'west', keys.west, other),
      [segmentKey(move, 2)]: seal('journal', 'west', keys.west, good),
      [`${folder('as-a-report')}report.json`]: seal('journal', 'west', keys.west, { ...good, move: 'as-a-report' }),
      [`${folder('a-part')}journal.json`]: seal('journal', 'west', keys.west, { ...good, move: 'a-part' }),
      [segmentKey('changed', 1)]: seal('journal', 'west', keys.west, {
        ...good,
        move: 'changed',
        lines: good.lines.toReversed(),
      }),
      [segmentKey('shapeless', 1)]: seal('journal', 'west', keys.west, {
        ...good,
        move: 'shapeless',
        lines: [null],
      }),
      [segmentKey('junk', 1)]: Buffer.from('{"document":'),
    };
    for (const [key, bytes] of Object.entries(forged)) await world.west.vault.put(key, bytes);
    const faults = await pull();
    expect(faults.map((f) => /journal\/\S+\.json/.exec(failureText(f))?.[0] ?? '').toSorted()).toEqual(
      Object.keys(forged)
        .map((key) => key.slice(`${CUSTOMER}/west/`.length))
        .toSorted(),
    );
    expect(await keysOf(east, folder(move))).toEqual(['lines/0000000001.json']);
    expect(await keysOf(east, `${CUSTOMER}/west/journal/`)).toEqual([`${move}/lines/0000000001.json`]);
    // A pull that has nothing else to do fails for it; the operator sees it.
    const database = world.eastDb;
    const request = { own: east, peer: west, database, site: 'east', customer: CUSTOMER, ...quiet };
    expect(await kindOf(pullSnapshots({ ...request, publicKeys: world.settings.publicKeys }))).toBe(
      'signature-invalid',
    );
  });

  it('is never stored when another site has signed it, be every word of it true', async () => {
    const move = await closed();
    const [good] = await segmentsOf(world, move);
    const [own, theirs] = await Promise.all([scratchVaults(), scratchVaults()]);
    const [vault, writer, reader] = [new S3Vault(own.east), new S3Vault(theirs.west), new S3Vault(theirs.westReader)];
    try {
      await writer.put(segmentKey(move, 1), seal('journal', 'east', world.keys.east, good));
      const faults = await pull({ own: vault, peer: reader });
      expect(faults.map(failureText)).toEqual([expect.stringContaining('signed by "east"')]);
      expect(await keysOf(vault, `${CUSTOMER}/`)).toEqual([]);
      await writer.mend(segmentKey(move, 1), seal('journal', 'west', world.keys.west, good));
      expect(await pull({ own: vault, peer: reader })).toEqual([]);
      expect(await keysOf(vault, folder(move))).toEqual(['lines/0000000001.json']);
    } finally {
      for (const open of [vault, writer, reader]) open.close();
    }
  });

  it('never lands among this site’s own, whatever the peer writes', async () => {
    const [good] = await segmentsOf(world, await closed());
    const planted = segmentKey('planted', 1, 'east');
    await world.west.vault.put(planted, seal('journal', 'west', world.keys.west, { ...good, move: 'planted' }));
    await pull();
    expect(await keysOf(east, `${CUSTOMER}/east/`)).toEqual([]);
    expect(await kindOf(west.put(segmentKey('x', 1), Buffer.from('x')))).toBe('vault-refused');
  });

  it('is copied byte for byte, segment by segment, once, and read from the copy', async () => {
    const move = await closed();
    await pull();
    const keys = await keysOf(world.west.vault, folder(move));
    expect(keys).toHaveLength(5);
    expect(await keysOf(east, folder(move))).toEqual(keys);
    for (const key of keys)
      expect(await east.versions(folder(move) + key)).toEqual(await west.versions(folder(move) + key));
    const before = await east.versions(`${folder(move)}report.json`);
    await pull();
    expect(await east.versions(`${folder(move)}report.json`)).toEqual(before);
    const shelf = { vault: east, customer: CUSTOMER, site: 'west', publicKeys: world.settings.publicKeys };
    const held = (await listMoves(shelf)).find((m) => m.move === move);
    expect(held).toEqual({ move, journal: true, report: true, segments: [1, 2, 4], ledger: [] });
    const sealed = held && (await readSealed(shelf, held));
    expect(sealed?.report?.document).toMatchObject({ move, outcome: 'closed' });
    expect(sealed?.journal?.document.head).toBe(sealed?.segments.at(-1)?.document.head);
  });

  it('is no stray in this vault; another name beside it is', async () => {
    await closed();
    await pull();
    const own = { customer: CUSTOMER, site: 'west' };
    expect(await findStrays(east, own, quiet.signal)).toMatchObject({ unknown: 0, keys: [] });
    await east.put(`${folder('m')}lines/1.json`, Buffer.from('x'));
    expect(await findStrays(east, own, quiet.signal)).toMatchObject({ unknown: 1 });
  });
});

describe('retention of the peer’s journals', () => {
  const inDays = (days: number) => (): number => Date.now() + days * 24 * 3_600_000;
  async function clean(vaults: World['vaults'], days: number, mode: 'delete' | 'dry-run' = 'delete') {
    const cleaner = new Cleaner(vaults.eastCleaner);
    const vault = new S3Vault(vaults.east);
    const request = { mode, cleaner, vault, peer: null, database: world.eastDb, customer: CUSTOMER, site: 'east' };
    try {
      const { publicKeys } = world.settings;
      return await deleteExpired({ ...request, sites: ['east', 'west'], publicKeys, now: inDays(days), ...quiet });
    } finally {
      cleaner.close();
      vault.close();
    }
  }

  it('deletes nothing that is locked, and counts none of it as unknown', async () => {
    await closed();
    await pull();
    const before = await keysOf(east, `${CUSTOMER}/west/`);
    const { journals, unknown } = await clean(world.vaults, 401);
    expect(journals).toMatchObject({ kept: 0, deleted: 0 });
    expect(journals.locked).toBeGreaterThan(0);
    expect(unknown).toBe(1); // The stray of the test before.
    expect(await keysOf(east, `${CUSTOMER}/west/`)).toEqual(before);
  });

  it('keeps them for 400 days without locks too, then deletes whole moves, and never this site’s own', async () => {
    const vaults = await scratchVaults({ locks: false });
    const own = new S3Vault(vaults.east);
    try {
      const move = await closed();
      await pull({ own });
      const mine = `${CUSTOMER}/east/journal/m/report.json`;
      await own.put(mine, Buffer.from('x'));
      expect((await clean(vaults, 399)).journals).toMatchObject({ expired: 0, deleted: 0, locked: 0 });
      expect((await clean(vaults, 401, 'dry-run')).journals.expired).toBeGreaterThan(0);
      await world.eastDb.query(
        "insert into tandem.move values ('live', $1, 'failover', 'w', 'moving', '{}', now(), null)",
        [CUSTOMER],
      );
      expect((await clean(vaults, 401)).journals).toMatchObject({ deleted: 0 });
      expect(await keysOf(own, folder(move))).toHaveLength(5);
      await world.eastDb.query("delete from tandem.move where move = 'live'");
      expect((await clean(vaults, 401)).journals).toMatchObject({ kept: 0, expired: 0, locked: 0 });
      expect(await keysOf(own, `${CUSTOMER}/`)).toEqual(['east/journal/m/report.json']);
      // What is past its time at the peer is not fetched again.
      const aged: Vault = Object.assign(Object.create(west) as Vault, {
        async *list(prefix: string) {
          for await (const entry of west.list(prefix)) yield { ...entry, at: entry.at - EVIDENCE_MS - 1000 };
        },
      });
      await pull({ own, peer: aged });
      expect(await keysOf(own, folder(move))).toEqual([]);
    } finally {
      own.close();
    }
  });
});
