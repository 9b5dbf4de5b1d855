import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compareSnapshot } from '../../activities/contacts/compare.ts';
import { restoreSnapshot, type RestoreRequest } from '../../activities/contacts/restore.ts';
import { dropScratch, compareScratch, restoreScratch, scratchName } from '../../activities/contacts/scratch.ts';
import { readUsers } from '../../activities/contacts/rows.ts';
import type { OpenSnapshot } from '../../activities/vault/open.ts';
import { encodeRecord, hasRows, noRows } from '../../activities/vault/record.ts';
import { openWorld, quiet, type World } from '../vault/world.ts';
import { copyRows, differences, type Copy } from './same.ts';

let world: World;
let opened: OpenSnapshot;
let copy: Copy;
beforeEach(async () => {
  world = await openWorld(1300);
  copy = await copyRows(world, 'east', 'east');
  opened = await world.open('east', await world.take('east'));
  await world.sql('west', `update tandem.epoch set number = 2, site = 'west', move = 'move-1'`);
});
afterEach(() => world.drop());

const epoch = { number: 2, site: 'west', move: 'move-1' };
const restore = (changes: Partial<RestoreRequest> = {}) =>
  restoreSnapshot({
    database: world.databases.west,
    snapshot: opened,
    halves: ['east'],
    guard: { customer: 'acme', epoch },
    ledger: { snapshot: opened.summary, epoch: opened.manifest.epoch, keys: world.keys },
    ...quiet,
    ...changes,
  });
const rowsHere = async (): Promise<number> =>
  Number(
    (
      await world.sql(
        'west',
        `select count(*)::int as n from rosterusers join tandem.home using (username) where site = 'east'`,
      )
    )[0]?.['n'],
  );

describe('a restore', () => {
  it('writes nothing under an epoch that is not the one that stands', async () => {
    for (const stale of [
      { ...epoch, number: 1 },
      { ...epoch, number: 3 },
      { ...epoch, move: 'another' },
      { ...epoch, site: 'east' },
    ]) {
      await expect(restore({ guard: { customer: 'acme', epoch: stale } })).rejects.toMatchObject({
        type: 'epoch-superseded',
      });
    }
    await expect(restore({ guard: { customer: 'nobody', epoch } })).rejects.toMatchObject({ type: 'epoch-superseded' });
    expect(await rowsHere()).toBe(0);
  });

  it('stops at once when a newer epoch is claimed in the middle, and leaves no user half restored', async () => {
    let batches = 0;
    async function* records(chosen?: (user: number) => boolean) {
      for await (const record of opened.records(chosen)) {
        batches += 1;
        if (batches === 501) await world.sql('west', `update tandem.epoch set number = 3, move = 'move-2'`);
        yield record;
      }
    }
    // Earlier batches are written by then.
    await expect(restore({ snapshot: { ...opened, records } })).rejects.toMatchObject({ type: 'epoch-superseded' });
    let [whole, untouched] = [0, 0];
    for await (const record of opened.records()) {
      const here = await world.databases.west.connection((client) => readUsers(client, [record.username]));
      const bytes = encodeRecord(record.username, here.get(record.username) ?? noRows());
      if (bytes.equals(record.bytes)) whole += 1;
      else untouched += Number(!hasRows(bytes));
    }
    expect(whole + untouched).toBe(650);
    expect(Math.min(whole, untouched)).toBeGreaterThan(0);
  });

  it('goes on where it was killed: a repeated run finds fewer differences', async () => {
    const stop = new AbortController();
    await expect(
      restore({ signal: stop.signal, heartbeat: ({ users }) => users >= 500 && stop.abort() }),
    ).rejects.toThrow(/abort/i);
    expect(await rowsHere()).toBeGreaterThan(0);
    const again = await restore();
    expect(again.users).toBe(650);
    expect(again.written).toBeLessThanOrEqual(150);
    expect(await differences(world, 'west', 'east', copy)).toBe(0);
  });

  it('leaves a user without a record as he is, and says so', async () => {
    await world.sql('west', `insert into tandem.home values ('late', 'east')`);
    await world.sql('west', `insert into rostergroups values ('late', 'a@b', 'Team')`);
    expect(await restore()).toMatchObject({ users: 650, held: 1 });
    expect(await world.sql('west', `select grp from rostergroups where username = 'late'`)).toEqual([{ grp: 'Team' }]);
  });

  it('brings back every row and column, and only replaces users that differ', async () => {
    const first = await restore();
    const { users, contacts, groups, aclItems } = opened.manifest.counts;
    expect(first).toMatchObject({ users, contacts, groups, aclItems, held: 0 });
    expect(await differences(world, 'west', 'east', copy)).toBe(0);
    expect(await restore()).toMatchObject({ users, written: 0 });
    await world.sql(
      'west',
      `delete from rosterusers where username in (select username from tandem.home where site = 'east' limit 40)`,
    );
    const { written } = await restore();
    expect(written).toBeGreaterThan(0);
    expect(written).toBeLessThanOrEqual(40);
    expect(await differences(world, 'west', 'east', copy)).toBe(0);
  });

  it('restores a cohort when told to', async () => {
    const [one] = await world.sql(
      'east',
      `select username from rosterusers join tandem.served using (username) limit 1`,
    );
    expect(await restore({ filter: (username) => username === one?.['username'] })).toMatchObject({
      users: 1,
      written: 1,
    });
  });
});

describe('a comparison', () => {
  it('counts each row that is in one but not in the other', async () => {
    await restore();
    const compare = () =>
      compareSnapshot({ database: world.databases.west, records: opened.records(), whole: false, ...quiet });
    expect(await compare()).toEqual({ counts: opened.manifest.counts, mismatches: 0, changed: 0 });
    const [one] = await world.sql(
      'west',
      `select r.username, r.jid from rosterusers r join tandem.home using (username) where site = 'east' limit 1`,
    );
    await world.sql('west', `update rosterusers set nick = nick || 'x' where username = $1 and jid = $2`, [
      one?.['username'],
      one?.['jid'],
    ]);
    await world.sql('west', `insert into rostergroups values ($1, 'x', 'y')`, [one?.['username']]);
    expect((await compare()).mismatches).toBeGreaterThanOrEqual(3);
  });
});

describe('a scratch database', () => {
  const run = 'continuity-test/acme/1';
  it('is never one that a run did not make', async () => {
    for (const name of ['contacts', 'tandem_test_', 'tandem_test_x; drop table users', 'postgres']) {
      await expect(dropScratch(world.databases.west, name)).rejects.toMatchObject({ type: 'database-refused' });
    }
  });

  it('holds the snapshot, row by row, on every attempt anew; and is gone after it', async () => {
    const server = { database: world.databases.west, url: world.urls.west };
    const work = () => ({ records: opened.records(), ...quiet });
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      expect(await restoreScratch(server, run, work())).toMatchObject({
        users: 650,
        written: expect.any(Number) as number,
      });
      expect(await compareScratch(server, run, work())).toEqual({ counts: opened.manifest.counts, mismatches: 0 });
    }
    const [there] = await world.sql('west', 'select count(*)::int as n from pg_database where datname = $1', [
      scratchName({ url: world.urls.west }, run),
    ]);
    expect(there).toEqual({ n: 1 });
    await dropScratch(world.databases.west, scratchName({ url: world.urls.west }, run));
    await dropScratch(world.databases.west, scratchName({ url: world.urls.west }, run));
    const [gone] = await world.sql('west', 'select count(*)::int as n from pg_database where datname = $1', [
      scratchName({ url: world.urls.west }, run),
    ]);
    expect(gone).toEqual({ n: 0 });
  });
});
