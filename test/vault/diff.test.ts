import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diffLive } from '../../activities/contacts/live-diff.ts';
import { diffSnapshots, noRowDifferences, type UserDifference } from '../../activities/vault/diff.ts';
import type { Keyring } from '../../activities/settings.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { openWorld, quiet, ringOf, type World } from './world.ts';

let world: World;
/** Two keys, either of them the current one. */
let rings: Record<'k1' | 'k2', Keyring>;
beforeAll(async () => {
  world = await openWorld(120);
  const ring = new Map([...world.keys.ring, ...ringOf('k2').ring]);
  rings = { k1: { current: 'k1', ring }, k2: { current: 'k2', ring } };
});
afterAll(() => world.drop());

type Found = Record<string, Omit<UserDifference, 'username'>>;

async function gather(differences: AsyncIterable<UserDifference>): Promise<Found> {
  const found: Found = {};
  for await (const { username, ...rest } of differences) {
    expect(found).not.toHaveProperty([username]);
    found[username] = rest;
  }
  return found;
}

const between = async (from: SnapshotSummary, to: SnapshotSummary): Promise<Found> =>
  gather(diffSnapshots(await world.open('east', from, rings.k1), await world.open('east', to, rings.k1)));
const toLive = async (from: SnapshotSummary, keys: Keyring): Promise<Found> =>
  gather(
    diffLive({
      database: world.databases.east,
      snapshot: await world.open('east', from, keys),
      keys,
      signal: quiet.signal,
    }),
  );

/** Rows of users served here, over all columns that count, by kind. */
const tables = {
  contacts: 'select username, jid, nick, subscription, ask, askmessage, server, subscribe, type from rosterusers',
  groups: 'select username, jid, grp from rostergroups',
  lists: 'select username, name from privacy_list',
  aclItems: `select l.username, l.name, d.t, d.value, d.action, d.ord, d.match_all, d.match_iq, d.match_message,
    d.match_presence_in, d.match_presence_out from privacy_list l join privacy_list_data d using (id)`,
  defaults: 'select username, name from privacy_default_list',
} as const;
const served = (sql: string): string => `select x.* from (${sql}) x join tandem.served using (username)`;
type Kind = keyof typeof tables;
const kinds = Object.keys(tables) as Kind[];

/** Puts the state aside, by plain SQL. */
async function keep(): Promise<void> {
  const tablesKept = ['users', ...kinds].map((kind) => {
    const sql = kind === 'users' ? 'select username from tandem.served' : served(tables[kind as Kind]);
    return `drop table if exists kept_${kind}; create table kept_${kind} as ${sql};`;
  });
  await world.sql('east', tablesKept.join('\n'));
}

/** What became of the kept state, by EXCEPT ALL both ways. */
async function byPlainSql(): Promise<Found> {
  const users = await world.sql(
    'east',
    `select username, case when k.username is null then 'added' when s.username is null then 'removed' else 'changed' end as how
       from kept_users k full join tandem.served s using (username)`,
  );
  const both = kinds.flatMap((kind) => {
    const [now, then] = [served(tables[kind]), `select * from kept_${kind}`];
    return [
      `select username, '${kind}' as kind, 'added' as side from ((${now}) except all (${then})) d`,
      `select username, '${kind}' as kind, 'removed' as side from ((${then}) except all (${now})) d`,
    ];
  });
  const rows = await world.sql(
    'east',
    `select username, kind, side, count(*)::int as n from (${both.join(' union all ')}) a group by 1, 2, 3`,
  );
  const found: Found = {};
  for (const { username, how } of users as { username: string; how: UserDifference['how'] }[])
    if (how !== 'changed' || rows.some((row) => row['username'] === username))
      found[username] = { how, rows: noRowDifferences() };
  for (const { username, kind, side, n } of rows as { username: string; kind: Kind; side: 'added'; n: number }[]) {
    const of = found[username];
    if (of) of.rows[kind][side] = n;
  }
  return found;
}

/** What may happen to a user between two snapshots. */
const edits = {
  renamed: [`update rosterusers set nick = nick || '.' where username = $1`],
  emptied: [
    'delete from rosterusers where username = $1',
    'delete from rostergroups where username = $1',
    'delete from privacy_default_list where username = $1',
    'delete from privacy_list where username = $1',
  ],
  deleted: ['delete from tandem.home where username = $1', 'delete from rosterusers where username = $1'],
  'gone with rows left': ['delete from tandem.home where username = $1'],
  'moved to the peer': [`update tandem.home set site = 'west' where username = $1`],
  'moved here': [`update tandem.home set site = 'east' where username = $1`],
  'in a group twice more': [`insert into rostergroups values ($1, 'a@b', 'Team'), ($1, 'a@b', 'Team')`],
  'in a group once less': [
    `delete from rostergroups where ctid in (select ctid from rostergroups where username = $1 limit 1)`,
  ],
  'in another order of ACL items': [
    `update privacy_list_data set ord = 7 - ord where id in (select id from privacy_list where username = $1)`,
  ],
  'with an order that is only written otherwise': [
    `update privacy_list_data set ord = ord * 1.000 where id in (select id from privacy_list where username = $1)`,
  ],
  'of another default': [
    `insert into privacy_default_list values ($1, 'other') on conflict (username) do update set name = 'another'`,
  ],
  'with a list more': [`insert into privacy_list (username, name) values ($1, 'l' || clock_timestamp())`],
  'who went and came again': [
    'delete from tandem.home where username = $1',
    `insert into tandem.home values ($1, 'east')`,
  ],
  new: [`insert into tandem.home values ('new ' || $1, 'east') on conflict do nothing`],
  'new with rows': [
    `insert into tandem.home values ('row ' || $1, 'east') on conflict do nothing`,
    `insert into rostergroups values ('row ' || $1, 'a@b', 'Team')`,
  ],
} as const;
type Edit = keyof typeof edits;
const all = Object.keys(edits) as Edit[];
/** What stands before the name of the user who is made. */
const newcomers: { [edit in Edit]?: string } = { new: 'new ', 'new with rows': 'row ' };

async function apply(steps: readonly { edit: Edit; user: number }[]): Promise<void> {
  const names = (await world.sql('east', 'select distinct username from kept_everybody order by 1')).map(
    (r) => r['username'],
  );
  for (const { edit, user } of steps)
    for (const sql of edits[edit]) await world.sql('east', sql, [names[user % names.length]]);
}

describe('a difference to live rows', () => {
  const at = async (site: 'east' | 'west', snapshot: SnapshotSummary): Promise<Found> =>
    gather(
      diffLive({
        database: world.databases[site],
        snapshot: await world.open('west', snapshot, rings.k1),
        keys: rings.k1,
        signal: quiet.signal,
      }),
    );
  const sum = (found: Found, side: 'added' | 'removed'): number =>
    Object.values(found).reduce((n, { rows }) => n + rows.contacts[side], 0);

  it('is about the users of that half: at the peer, of its standby copy', async () => {
    const taken = await world.take('west', { keys: rings.k1 });
    expect(await at('west', taken)).toEqual({});
    // It was never applied there: all rows are missing.
    const missing = await at('east', taken);
    expect(new Set(Object.values(missing).map(({ how }) => how))).toEqual(new Set(['changed']));
    expect([sum(missing, 'added'), sum(missing, 'removed')]).toEqual([0, taken.counts.contacts]);
  });

  it('is about all users that a site serves after a failover, and about its own again when it is closed', async () => {
    const taken = await world.take('west', { keys: rings.k1 });
    const half = await world.sql(
      'west',
      `select username from tandem.home where site = 'east' order by username collate "C"`,
    );
    await world.sql('west', `update tandem.serving set site = 'west'`);
    const both = await at('west', taken);
    expect(Object.keys(both).toSorted()).toHaveLength(half.length);
    expect(half.every(({ username }) => both[String(username)]?.how === 'added')).toBe(true);
    await world.sql('west', `update tandem.epoch set number = number + 1`);
    expect(await at('west', taken)).toEqual({});
  });
});

describe('a difference', () => {
  // First: the random edits below leave nobody as he was.
  it('is seen of each kind, and the way back is its mirror', async () => {
    const users = await world.sql(
      'east',
      `select distinct username from tandem.served s join privacy_list using (username) join privacy_list_data using (id)
        where exists (select from rosterusers r where r.username = s.username)
          and exists (select from rostergroups g where g.username = s.username)
        order by username limit ${all.length}`,
    );
    const of = new Map(all.map((edit, i) => [edit, String(users[i]?.['username'])]));
    const from = await world.take('east', { keys: rings.k1 });
    await keep();
    for (const [edit, username] of of) for (const sql of edits[edit]) await world.sql('east', sql, [username]);
    const expected = await byPlainSql();
    const to = await world.take('east', { keys: rings.k1, read: 'changes' });
    const found = await between(from, to);
    expect(found).toEqual(expected);
    const seen = (edit: Edit): UserDifference['how'] | undefined =>
      found[`${newcomers[edit] ?? ''}${of.get(edit)}`]?.how;
    expect(all.filter((edit) => seen(edit) === undefined)).toEqual([
      'moved here',
      'with an order that is only written otherwise',
      'who went and came again',
    ]);
    expect(all.filter((edit) => seen(edit) === 'added')).toEqual(['new', 'new with rows']);
    expect(all.filter((edit) => seen(edit) === 'removed')).toEqual([
      'deleted',
      'gone with rows left',
      'moved to the peer',
    ]);
    const mirrored = Object.entries(found).map(([name, { how, rows }]) => [
      name,
      {
        how: how === 'added' ? 'removed' : how === 'removed' ? 'added' : how,
        rows: Object.fromEntries(kinds.map((k) => [k, { added: rows[k].removed, removed: rows[k].added }])),
      },
    ]);
    expect(await between(to, from)).toEqual(Object.fromEntries(mirrored));
  });

  it('is what plain SQL says, between any two snapshots and to the live rows, also under another key', async () => {
    await world.sql('east', 'create table kept_everybody as select username from tandem.home');
    const steps = fc.array(fc.record({ edit: fc.constantFrom(...all), user: fc.nat() }), {
      maxLength: 12,
    });
    const run = fc.record({
      steps,
      key: fc.constantFrom('k1' as const, 'k2'),
      read: fc.constantFrom('all' as const, 'changes'),
    });
    let last = await world.take('east', { keys: rings.k1 });
    let [runs, differing] = [0, 0];
    const property = fc.asyncProperty(run, async ({ steps: some, read }) => {
      await keep();
      await apply(some);
      const expected = await byPlainSql();
      const keys = rings[Math.floor(runs++ / 2) % 2 === 0 ? 'k1' : 'k2']; // Another one at every second step.
      expect(await toLive(last, keys)).toEqual(expected);
      const next = await world.take('east', { keys, read });
      expect(await between(last, next)).toEqual(expected);
      differing += Object.keys(expected).length;
      last = next;
    });
    await fc.assert(property, { numRuns: 12, endOnFailure: true });
    expect(differing).toBeGreaterThan(5);
  });

  it('is nothing between a snapshot and itself, or one under another key', async () => {
    const first = await world.take('east', { keys: rings.k1 });
    const second = await world.take('east', { keys: rings.k2 });
    expect(second.gen).toBeGreaterThan(first.gen);
    expect(await between(first, first)).toEqual({});
    expect(await between(first, second)).toEqual({});
    expect(await between(second, first)).toEqual({});
  });
});
