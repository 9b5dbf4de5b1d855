import { describe, expect, it } from 'vitest';
import { tellState } from '../../activities/directory/answer.ts';
import { scramText } from '../../activities/directory/scram.ts';
import { homeByName } from '../../activities/directory/staging.ts';
import { failure, failureKind } from '../../workflows/model/failures.ts';
import { scramRow } from '../rig/xmpp.ts';
import {
  add,
  aDayLater,
  enabled,
  end,
  follow,
  groundForEach,
  pair,
  people,
  query,
  remove,
  served,
  state,
} from './ground.ts';

/** Two sites follow one directory, each by itself and upon its own real database. */

groundForEach();

const keysOf = (user: string, password = 'a password'): string => {
  const [, storedKey, serverKey, salt, iterations] = scramRow(user, password) as [
    string,
    string,
    string,
    string,
    number,
  ];
  return scramText({ storedKey, serverKey, salt, iterations });
};

describe('nobody is enabled or disabled', () => {
  it.each(['directory-unreachable', 'directory-refused', 'directory-incomplete'] as const)(
    'by an answer that is not whole (%s): the last good one stays, with its time',
    async (kind) => {
      add(100);
      await follow();
      const before = await state();
      people.delete('user1');
      people.set('new', {});
      end.with = failure(kind, 'the page after these broke');
      expect(failureKind(await follow().catch((error: unknown) => error))).toBe(kind);
      const after = await state();
      expect([after?.at, after?.users, after?.digest]).toEqual([before?.at, 100, before?.digest]);
      expect(after?.failed).toMatch(/the page after these broke/);
      expect(await enabled()).toBe(100);
      expect(await query(`select from tandem.home where username = 'new'`)).toEqual([]);
      expect(tellState(after, Date.now() + 60_000)).toMatch(
        /1 min \d+ s old: 100 users entitled, 0 disabled; it gives no later one/,
      );
    },
  );

  it.each([
    [1000, 20, 0.02],
    [100, 3, 0.02],
    [500, 50, 0.1],
    [4, 2, 0.02],
  ])('of %i users by an answer that lacks more than %i at once; so many it may lack', async (users, allowed, share) => {
    add(users);
    await follow('west', share);
    remove(allowed);
    people.set('new', {});
    expect(await follow('west', share)).toMatchObject({ state: 'applied', counts: { disabled: allowed, enabled: 1 } });
    await aDayLater();
    people.delete('new');
    remove(allowed);
    people.set('newer', {});
    const limit = Math.min(
      Math.max(3, Math.floor((users - allowed + 1) * share)),
      Math.floor((users - allowed + 1) / 2),
    );
    expect(limit).toBeLessThan(allowed + 1);
    expect(await follow('west', share)).toMatchObject({ state: 'held', held: { removed: allowed + 1, limit } });
    expect(await enabled()).toBe(users - allowed + 1);
    expect(await query(`select from tandem.home where username = 'newer'`)).toEqual([]);
    expect((await state())?.held).toMatchObject({ removed: allowed + 1, of: users - allowed + 1, limit });
  });

  it('by an empty answer, nor a directory’s only user by his absence', async () => {
    add(1);
    await follow();
    people.clear();
    expect(await follow()).toMatchObject({ state: 'held', held: { removed: 1, of: 1, limit: 0 } });
    expect(await enabled()).toBe(1);
  });

  it('by a directory that empties slowly: an hour is at once', async () => {
    add(500);
    await follow();
    for (const taken of [5, 5]) {
      remove(taken);
      expect((await follow()).state).toBe('applied');
    }
    remove(1);
    expect(await follow()).toMatchObject({ state: 'held', held: { removed: 1, before: 10, of: 500, limit: 10 } });
    await aDayLater();
    expect((await follow()).state).toBe('applied');
    expect(await enabled()).toBe(489);
  });

  it('by the first answer, when it lacks many of those who have a home', async () => {
    await query("insert into tandem.home select 'user' || i, 'west' from generate_series(0, 99) i");
    add(90);
    expect(await follow()).toMatchObject({ state: 'held', held: { removed: 10, of: 100 } });
    expect(await served()).toBe(100);
    expect(tellState(await state(), Date.now())).toMatch(
      /was never believed at this site, and nobody is disabled by it/,
    );
    add(8);
    expect((await follow()).state).toBe('applied');
    expect(await served()).toBe(98);
  });

  it('by an answer that was asked for before the one in force', async () => {
    add(10);
    await follow();
    await query("update tandem.directory_answer set at = now() + interval '1 minute'");
    add(1);
    expect(await follow()).toEqual({ state: 'overtaken' });
    expect(await enabled()).toBe(10);
  });
});

describe('a user who is disabled', () => {
  it('is not served here, keeps all he has, and is served again when he is enabled', async () => {
    for (let i = 0; i < 20; i += 1) people.set(`user${i}`, { credentials: [keysOf(`user${i}`)], home: 'west' });
    await follow();
    await query(
      "insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type) values ('user3', 'a@b', '', 'B', 'N', '', 'N', '', 'item')",
    );
    const kept = `select (select count(*)::int from users where username = 'user3') as account, (select count(*)::int from rosterusers) as contacts,
                         (select site from tandem.home where username = 'user3') as home`;
    const before = await query(kept);
    const user3 = people.get('user3') ?? {};
    people.delete('user3');
    await follow();
    expect([await served(), (await state())?.disabled]).toEqual([19, 1]);
    expect(await query(kept)).toEqual(before);
    people.set('user3', user3);
    await follow();
    expect([await served(), (await state())?.disabled]).toEqual([20, 0]);
  });

  it('is nobody where the customer has no directory, or one that never answered: whoever has a home is served', async () => {
    await query("insert into tandem.home values ('anna', 'west')");
    expect(await served()).toBe(1);
    end.with = failure('directory-unreachable', 'away');
    await follow().catch(() => undefined);
    expect(await served()).toBe(1);
  });

  it('is anybody without a word of the directory, once it has been believed', async () => {
    add(10);
    await follow();
    await query("insert into tandem.home values ('a-stranger', 'west')");
    expect(await query(`select tandem.may_serve('a-stranger') as yes`)).toEqual([{ yes: false }]);
  });
});

describe('at both sites', () => {
  it('accounts, homes and entitlements are the same, also at one that was dark meanwhile', async () => {
    for (let i = 0; i < 200; i += 1)
      people.set(`user${i}`, { credentials: [keysOf(`user${i}`)], home: i % 4 === 0 ? 'WEST' : null });
    await follow('east');
    people.delete('user7');
    people.set('user8', { credentials: [keysOf('user8', 'another password')], home: 'WEST' });
    people.set('late', { credentials: [keysOf('late')] });
    await follow('east');
    await follow('west'); // The first time.
    const all = `select u.username, password, serverkey, salt, iterationcount, h.site, e.enabled
                   from users u join tandem.home h using (username) join tandem.entitlement e using (username)
                  where enabled order by 1`;
    const [east, west] = [await query(all, 'east'), await query(all, 'west')];
    expect(west).toEqual(east);
    expect(west).toHaveLength(200);
    const ends = [await state('east'), await state('west')];
    expect(ends[0]?.digest).toBe(ends[1]?.digest);
    const halves = await query<{ n: number }>('select count(*)::int as n from tandem.home group by site order by 1');
    expect(halves.every(({ n }) => n > 50)).toBe(true);
    expect(homeByName('anna', ['west', 'east'])).toBe(homeByName('anna', ['east', 'west']));
  });

  it('a home that stands is not changed by the directory: to move a user is a move', async () => {
    people.set('anna', { home: 'east' });
    add(5);
    await follow();
    people.set('anna', { home: 'west' });
    await follow();
    expect(await query(`select site from tandem.home where username = 'anna'`)).toEqual([{ site: 'east' }]);
    await follow('east'); // Dark until now: there he is new, and the digests tell that the sites do not stand alike.
    expect((await state('east'))?.digest).not.toBe((await state('west'))?.digest);
  });

  it('nor is one that a move has given: also where a database has lost him, and both sites go on alike', async () => {
    people.set('anna', { home: 'east' });
    add(5);
    for (const site of ['east', 'west'] as const) {
      await query("insert into tandem.rehomed values ('anna', 'west', 2, 'a move', now())", site);
      await follow(site);
      expect(await query(`select site from tandem.home where username = 'anna'`, site)).toEqual([{ site: 'west' }]);
    }
    expect((await state('east'))?.digest).toBe((await state('west'))?.digest);
  });
});

describe('what is odd in an answer', () => {
  it('keeps nobody else out, and is counted: names, doubles, keys, homes', async () => {
    add(5);
    people.set('Anna', { credentials: [keysOf('anna')], home: 'east' });
    people.set('ANNA', { credentials: [keysOf('anna', 'another')], home: 'west' });
    people.set('not a name', {});
    people.set('', {});
    people.set('garbage', { credentials: ['SCRAM-SHA-1$4096:c2FsdA==$bm90IDIw:Ynl0ZXM='] });
    people.set('weak', { credentials: [keysOf('weak').replace('$4096:', '$1:')] });
    people.set('elsewhere', { home: 'mars', credentials: [`{SSHA}xyz`, keysOf('elsewhere')] });
    const outcome = await follow();
    expect(outcome).toMatchObject({
      counts: {
        users: 9,
        unusableNames: 2,
        doubles: 1,
        unusableKeys: 2,
        unknownHomes: 1,
        accounts: 1,
        withoutAccount: 8,
      },
    });
    expect(await query('select username from users')).toEqual([{ username: 'elsewhere' }]);
    expect(await query(`select site from tandem.home where username = 'anna'`)).toEqual([
      { site: homeByName('anna', pair) },
    ]);
  });

  it('never takes away the keys that somebody has', async () => {
    people.set('anna', { credentials: [keysOf('anna')] });
    add(3);
    await follow();
    const before = await query('select * from users');
    for (const credentials of [[], ['garbage'], [keysOf('anna'), keysOf('anna', 'another')]]) {
      people.set('anna', { credentials });
      await follow();
      expect(await query('select * from users')).toEqual(before);
    }
  });
});
