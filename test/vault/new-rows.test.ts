import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Client } from 'pg';
import { readServed, type ReadUsers } from '../../activities/contacts/reader.ts';
import { prepareContactDatabase } from '../../activities/contacts/prepare.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { CHANGES, one } from './row-changes.ts';
import { CUSTOMER, openWorld, quiet, ringOf, type World } from './world.ts';

/** The last copy before users are handed over looks at new rows only: what it missed would be lost for ever. */

let world: World;
let [a, b]: string[] = [];
const open: Client[] = [];

beforeEach(async () => {
  world = await openWorld(200);
  [a = '', b = ''] = await names(2);
});
afterEach(async () => {
  for (const client of open.splice(0)) await client.end();
  await world.drop();
});

/** Users who have rows of every kind. */
async function names(count: number): Promise<string[]> {
  const found = await sql(
    `select r.username from rosterusers r join tandem.served s using (username) join privacy_list l using (username)
       join privacy_list_data d using (id) join rostergroups g using (username)
      group by 1 having count(distinct r.jid) > 2 order by 1 limit $1`,
    count,
  );
  expect(found.length).toBe(count);
  return found.map((r) => String(r['username']));
}

const sql = (text: string, ...values: unknown[]) => world.sql('east', text, values);

/** A session of its own: a transaction of it stays open for as long as a test wants. */
async function session(): Promise<Client> {
  const client = new Client({ connectionString: world.urls.east });
  await client.connect();
  open.push(client);
  return client;
}

const take = (read: 'all' | 'changes' | 'new-rows'): Promise<SnapshotSummary> => world.take('east', { read });

/** What a reading by new rows finds: who differs, and whether it went by them. Nothing is taken. */
function look(keys = world.keys): Promise<{ by: ReadUsers['by']; changed: string[] }> {
  const request = {
    database: world.databases.east,
    customer: CUSTOMER,
    site: 'east',
    keys,
    maxAgeMs: 60_000,
    ...quiet,
  };
  return readServed(request, async (reading) => {
    const { by, users } = await reading.changedLately();
    return { by, changed: Array.from({ length: users.length }, (_, n) => users.name(n).toString()).toSorted() };
  });
}

/** Every column of every kind, by plain SQL, against what a snapshot holds of a user. */
const KINDS = {
  contacts: 'select username, jid, nick, subscription, ask from rosterusers',
  groups: 'select username, jid, grp from rostergroups',
  lists: 'select username, name from privacy_list',
  items: 'select l.username, l.name, d.t, d.value, d.action from privacy_list l join privacy_list_data d using (id)',
  defaults: 'select username, name from privacy_default_list',
};

async function holdsTheDatabase(id: SnapshotSummary): Promise<void> {
  const snapshot = await world.open('east', id);
  const served = new Set((await sql('select username from tandem.served')).map((r) => r['username']));
  const held = new Map(Object.keys(KINDS).map((kind) => [kind, [] as string[]]));
  for await (const { username, rows } of snapshot.records())
    for (const [kind, of] of held)
      of.push(...rows[kind as keyof typeof rows].map((row) => [username, ...row].join('|')));
  for (const [kind, query] of Object.entries(KINDS)) {
    const width = query.slice(0, query.indexOf(' from ')).split(',').length;
    const now = (await sql(query)).filter((r) => served.has(r['username'])).map((r) => Object.values(r).join('|'));
    const first = held.get(kind)?.map((row) => row.split('|').slice(0, width).join('|'));
    expect([kind, ...(first ?? []).toSorted()]).toEqual([kind, ...now.toSorted()]);
  }
  const { counts } = await world.verify('east', id);
  expect(counts).toEqual(id.counts);
  expect(id.counts.users).toBe(served.size);
}

/** Looks by new rows, finds these, and takes a snapshot, against which nobody differs. */
async function withNobodyLeft(...changed: string[]): Promise<SnapshotSummary> {
  expect(await look()).toEqual({ by: 'new-rows', changed: changed.toSorted() });
  const taken = await take('new-rows');
  expect(await look()).toEqual({ by: 'new-rows', changed: [] });
  return taken;
}

const finds = async (...changed: string[]): Promise<void> => holdsTheDatabase(await withNobodyLeft(...changed));

describe('a change is never missed', () => {
  it('whatever becomes of the rows of one user after another', async () => {
    await sql(`insert into privacy_default_list select username, 'first' from tandem.served on conflict do nothing`);
    await take('changes');
    const users = await names(Object.keys(CHANGES).length);
    let last = await take('all');
    for (const [n, [what, texts]] of Object.entries(CHANGES).entries()) {
      const who = users[n] ?? '';
      for (const text of texts) await sql(text, who);
      last = await withNobodyLeft(who).catch((cause: unknown) => {
        throw new Error(`${what}: ${String(cause)}`, { cause });
      });
    }
    // What one of them had missed, all after it would miss: nobody has changed it since.
    await holdsTheDatabase(last);
  });

  it('rows frozen, moved and vacuumed in between', async () => {
    await take('all');
    await sql(`update rosterusers set nick = 'other' where username = $1`, a);
    await sql('delete from rostergroups where username = $1', b);
    for (const table of ['rosterusers', 'rostergroups', 'privacy_list_data']) await sql(`vacuum (freeze) ${table}`);
    await finds(a ?? '', b ?? '');
    await sql(`update rosterusers set nick = 'another' where username = $1`, a);
    await sql('vacuum (full, freeze) rosterusers');
    expect(await look()).toEqual({ by: 'digests', changed: [a] });
  });

  it('rows that go from one user to another', async () => {
    await take('all');
    await sql(`update rosterusers set username = $2, jid = 'moved@x.example' where ${one('rosterusers')}`, a, b);
    await finds(a ?? '', b ?? '');
  });

  it('what was under way when the one before was read, in a savepoint too', async () => {
    await take('all');
    const [first, second] = [await session(), await session()];
    // Updates: no count tells of them.
    await first.query('begin');
    await first.query(`update rosterusers set nick = 'late' where username = $1`, [a]);
    await second.query('begin');
    await second.query('select pg_current_xact_id()');
    await second.query('savepoint s');
    await second.query(`update rostergroups set grp = 'late' where username = $1`, [b]);
    // Others have ended after these have begun: a shown snapshot holds their numbers for visible, and those of savepoints.
    await sql(`insert into tandem.epoch values ('other', 1, '-', '-')`);
    await holdsTheDatabase(await take('changes'));
    expect(await look()).toEqual({ by: 'new-rows', changed: [] });
    await second.query('release savepoint s');
    for (const client of [first, second]) await client.query('commit');
    await finds(a ?? '', b ?? '');
  });

  it('a deletion alone, by what was under way when the one before was read', async () => {
    await take('all');
    const first = await session();
    await first.query('begin');
    await first.query('delete from rosterusers where username = $1', [a]);
    await take('new-rows');
    await first.query('commit');
    await finds(a ?? '');
  });

  it('what one user lost, beside what others changed', async () => {
    await take('all');
    await sql(`update rosterusers set nick = 'other' where username = $1`, b);
    await sql(`delete from rosterusers where ${one('rosterusers')}`, a);
    await finds(a ?? '', b ?? '');
  });

  it('nor is one who changed nothing taken for one: transactions and savepoints that came to nothing', async () => {
    await take('all');
    const first = await session();
    await first.query('begin');
    await first.query('delete from rosterusers where username = $1', [a]);
    await first.query(`insert into rostergroups values ($1, 'never@x.example', 'Group')`, [b]);
    await first.query('rollback');
    await first.query('begin');
    await first.query('savepoint s');
    await first.query('delete from rosterusers where username = $1', [b]);
    await first.query('rollback to savepoint s');
    await first.query('commit');
    await finds();
  });

  it('users who came, and one who changed on the other half', async () => {
    await take('all');
    await sql(`insert into tandem.home values ('newcomer', 'east'), ('empty', 'east')`);
    await sql(`insert into rostergroups values ('newcomer', 'x@x.example', 'Group')`);
    await sql(
      `update rosterusers set nick = 'copied' where username = (select username from tandem.home h join rosterusers using (username) where h.site = 'west' limit 1)`,
    );
    await sql(`delete from rosterusers where ${one('rosterusers')}`, a);
    await finds('newcomer', 'empty', a ?? '');
  });
});

describe('where rows cannot be told by their transactions', () => {
  const digestsAll = async (): Promise<void> => {
    await sql(`update rosterusers set nick = nick || '+' where username = $1`, a);
    expect(await look()).toEqual({ by: 'digests', changed: [a] });
  };
  const horizon = (set: string): Promise<unknown> => sql(`update tandem.taken set ${set}`);

  it('another server, or another run of it', async () => {
    await take('all');
    await horizon(`horizon = jsonb_set(horizon, '{server}', '"another"')`);
    await digestsAll();
  });

  it('too many transactions since, or more than there were', async () => {
    await take('all');
    await horizon(
      `horizon = jsonb_set(horizon, '{xmin}', to_jsonb((pg_current_xact_id()::text::bigint + 1000)::text))`,
    );
    await digestsAll();
    await horizon(`horizon = jsonb_set(horizon, '{xmin}', '"2"')`);
    await digestsAll();
  });

  it('an older version has moved the ledger, and what it wrote has no counts', async () => {
    await take('all');
    await horizon('horizon_seq = horizon_seq - 1');
    await digestsAll();
    // One of its entries has the counts of before.
    await sql('update tandem.ledger set rows = null where username = $1', b);
    await take('changes');
    await digestsAll();
    await take('all');
    expect(await look()).toEqual({ by: 'new-rows', changed: [] });
  });

  it('tables were replaced, or are guarded by row', async () => {
    await take('all');
    await sql('create table public.other (like rostergroups including all)');
    await sql('insert into public.other select * from rostergroups');
    await take('all');
    expect((await look()).by).toBe('new-rows');
    await sql('alter table rostergroups rename to rostergroups_then');
    await sql('alter table public.other rename to rostergroups');
    expect(await look()).toEqual({ by: 'digests', changed: [] });
    await take('all');
    await sql('alter table rostergroups enable row level security');
    expect((await look()).by).toBe('digests');
  });

  it('digests under another key: everybody is looked into', async () => {
    await take('all');
    const { changed } = await look(ringOf('k2'));
    expect(changed).toHaveLength((await sql('select username from tandem.served')).length);
  });

  it('most have changed', async () => {
    await take('all');
    await sql(`update rosterusers set nick = 'other'`);
    await holdsTheDatabase(await take('new-rows'));
  });

  it('the schema is brought up to date: the first full reading makes up for it', async () => {
    await take('all');
    await sql('alter table tandem.taken drop horizon, drop horizon_seq');
    await sql('alter table tandem.ledger drop rows');
    await sql(`update tandem.identity set schema = 'older'`);
    await prepareContactDatabase(world.databases.east, CUSTOMER, 'east', ['east', 'west']);
    await digestsAll();
    await take('new-rows');
    expect((await look()).by).toBe('digests');
    await take('all');
    expect((await look()).by).toBe('new-rows');
  });
});
