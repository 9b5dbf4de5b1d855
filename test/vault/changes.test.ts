import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { openSnapshot, readManifest, type OpenSnapshot } from '../../activities/vault/open.ts';
import type { Manifest } from '../../activities/vault/manifest.ts';
import { openWorld, ringOf, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld(200);
});
afterEach(() => world.drop());

const changes = { read: 'changes' } as const;

async function manifestOf(id: SnapshotSummary): Promise<Manifest> {
  const found = await readManifest({ vault: world.vaults.east, id, publicKeys: world.publicKeys });
  if (!found) throw new Error('no manifest');
  return found.manifest;
}

/** What a snapshot holds, by user: compared with what the database holds, read by plain SQL. */
async function contactsIn(id: SnapshotSummary): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for await (const { username, rows } of (await world.open('east', id)).records()) {
    found.set(username, rows.contacts.map((row) => row.slice(0, 2).join(' ')).toSorted());
  }
  return found;
}

async function contactsNow(): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const { username } of await world.sql('east', 'select username from tandem.served')) {
    found.set(String(username), []);
  }
  for (const r of await world.sql('east', 'select username, jid, nick from rosterusers')) {
    found.get(String(r['username']))?.push(`${String(r['jid'])} ${String(r['nick'])}`);
  }
  return new Map([...found].map(([name, rows]) => [name, rows.toSorted()]));
}

async function holdsTheDatabase(id: SnapshotSummary): Promise<void> {
  const sorted = (m: Map<string, string[]>): [string, string[]][] => [...m].toSorted(([a], [b]) => (a < b ? -1 : 1));
  expect(sorted(await contactsIn(id))).toEqual(sorted(await contactsNow()));
  const { receipt, index } = await world.prove('east', id);
  expect(receipt.counts).toEqual(id.counts);
  // Whoever proved it reads from it what whoever opens it does.
  const { vaults, keys, publicKeys } = world;
  const proved = await openSnapshot({ vault: vaults.east, keys, publicKeys, id, index });
  expect(await recordsOf(proved)).toEqual(await recordsOf(await world.open('east', id)));
}

async function recordsOf(snapshot: OpenSnapshot): Promise<string[]> {
  const found: string[] = [];
  for await (const { username, recordId } of snapshot.records()) found.push(`${username} ${recordId.toString('hex')}`);
  return found.toSorted();
}

const names = async (limit: number): Promise<string[]> =>
  (
    await world.sql(
      'east',
      `select username from tandem.served where exists (select from rosterusers r where r.username = served.username)
        order by username limit ${limit}`,
    )
  ).map((r) => String(r['username']));

describe('a change is never missed', () => {
  it('when it was undone after a snapshot that the ledger never heard of', async () => {
    const [name] = await names(1);
    await world.take('east');
    const rename = (nick: string) =>
      world.sql('east', 'update rosterusers set nick = $1 where username = $2', [nick, name]);
    await rename('first');
    await world.take('east', changes);
    for (const table of ['ledger', 'taken']) {
      await world.sql('east', `create table ${table}_then as select * from tandem.${table}`);
    }
    await rename('second');
    await world.take('east', changes);
    // The process was killed between its manifest and the ledger.
    for (const table of ['ledger', 'taken']) {
      await world.sql('east', `truncate tandem.${table}`);
      await world.sql('east', `insert into tandem.${table} select * from ${table}_then`);
    }
    await rename('first');
    await holdsTheDatabase(await world.take('east', changes));
  });

  it('when only one of two equal rows went, or two users swapped theirs', async () => {
    const [a = '', b = ''] = await names(2);
    for (const n of [1, 1, 1])
      await world.sql('east', `insert into rostergroups values ($1, 'x@y', 'Group ${n}')`, [a]);
    await world.sql('east', `update rosterusers set nick = username`);
    await world.take('east');
    await world.sql(
      'east',
      `delete from rostergroups where ctid in (select ctid from rostergroups where username = $1 and jid = 'x@y' limit 1)`,
      [a],
    );
    const less = await world.take('east', changes);
    expect((await manifestOf(less)).packs).toHaveLength(2);
    expect(
      (await (await world.open('east', less)).record(a))?.rows.groups.filter(([jid]) => jid === 'x@y'),
    ).toHaveLength(2);
    await world.sql(
      'east',
      `update rosterusers set nick = case username when $1 then $2 else $1 end where username in ($1, $2)`,
      [a, b],
    );
    await holdsTheDatabase(await world.take('east', changes));
  });

  it('when the ledger was tampered with: the full read finds out', async () => {
    const [name] = await names(1);
    await world.take('east');
    await world.sql('east', `update rosterusers set nick = 'changed' where username = $1`, [name]);
    await world.take('east', changes);
    await world.sql(
      'east',
      `update tandem.ledger set record_id = (select record_id from tandem.ledger where username <> $1 limit 1) where username = $1`,
      [name],
    );
    await holdsTheDatabase(await world.take('east'));
  });
});

describe('a snapshot of changes', () => {
  it('writes only users that changed, came or went; and holds everybody', async () => {
    const base = await world.take('east');
    const [renamed, emptied, moved] = await names(3);
    await world.sql('east', `update rosterusers set nick = 'renamed' where username = $1`, [renamed]);
    await world.sql('east', `delete from rosterusers where username = $1`, [emptied]);
    await world.sql('east', `update tandem.home set site = 'west' where username = $1`, [moved]);
    await world.sql('east', `insert into tandem.home values ('newcomer', 'east')`);
    const delta = await world.take('east', changes);
    expect(delta).toMatchObject({ gen: base.gen, seq: 2, counts: { users: 100 } });
    const { packs, base: of } = await manifestOf(delta);
    expect(packs).toHaveLength(base.packs + 1);
    expect(of.bytes).toBe(base.bytes);
    const opened = await world.open('east', delta);
    expect((await opened.record(renamed ?? ''))?.rows.contacts.every(([, nick]) => nick === 'renamed')).toBe(true);
    expect(await opened.record(moved ?? '')).toBeNull();
    expect((await opened.record('newcomer'))?.rows.contacts).toEqual([]);
    await holdsTheDatabase(delta);
    await holdsTheDatabase(base.seq === 1 ? await world.take('east') : base);
  });

  it('writes nothing when nothing changed, and is a recovery point all the same', async () => {
    const base = await world.take('east');
    const [again, full] = [await world.take('east', changes), await world.take('east')];
    expect([again.packs, full.packs]).toEqual([base.packs, base.packs]);
    expect(Date.parse(again.point)).toBeGreaterThan(Date.parse(base.point));
    await holdsTheDatabase(full);
  });

  it('is one of many: each of them can still be read as it was', async () => {
    const [name = ''] = await names(1);
    const taken: SnapshotSummary[] = [];
    for (let n = 0; n < 5; n += 1) {
      await world.sql('east', 'update rosterusers set nick = $1 where username = $2', [`name ${n}`, name]);
      taken.push(await world.take('east', changes));
    }
    for (const [n, id] of taken.entries()) {
      const record = await (await world.open('east', id)).record(name);
      expect(new Set(record?.rows.contacts.map(([, nick]) => nick))).toEqual(new Set([`name ${n}`]));
    }
    await world.pull('west');
    const newest = taken.at(-1) as SnapshotSummary;
    expect((await world.verify('west', newest)).counts).toEqual(newest.counts);
  });

  it('begins a generation when the key changed, or its deltas outweigh the base', async () => {
    const first = await world.take('east');
    const second = { ...ringOf('k2'), current: 'k2' };
    const ring = { current: 'k2', ring: new Map([...world.keys.ring, ...second.ring]) };
    const rotated = await world.take('east', { ...changes, keys: ring });
    expect(rotated).toMatchObject({ gen: 2, seq: 2, packs: first.packs });
    let last = rotated;
    for (let n = 0; n < 8 && last.gen === rotated.gen; n += 1) {
      await world.sql('east', `update rosterusers set nick = md5(random()::text || jid)`);
      last = await world.take('east', { ...changes, keys: ring });
    }
    expect(last.gen).toBeGreaterThan(rotated.gen);
    expect(last.packs).toBeLessThan(5);
  });

  it('that is tried again sends only what is missing', async () => {
    const keys = async (): Promise<number> => {
      let n = 0;
      for await (const { key } of world.vaults.east.list('acme/east/')) if (key.includes('/packs/')) n += 1;
      return n;
    };
    const vault = Object.create(world.vaults.east) as typeof world.vaults.east;
    vault.put = async (key, body, options) => {
      if (key.includes('/m/')) throw new Error('gone before its manifest');
      return world.vaults.east.put(key, body, options);
    };
    await expect(world.take('east', { vault })).rejects.toThrow('gone before its manifest');
    const left = await keys();
    expect(left).toBeGreaterThan(0);
    await holdsTheDatabase(await world.take('east'));
    expect(await keys()).toBe(left);
  });
});
