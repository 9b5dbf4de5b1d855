import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readServed, type ReadRequest } from '../../activities/contacts/reader.ts';
import { hasRows, makeRecord, noRows, UserRecord } from '../../activities/vault/record.ts';
import { recordKeys } from '../../activities/vault/keys.ts';
import { readUsers } from '../../activities/contacts/rows.ts';
import { CUSTOMER, openWorld, quiet, type World } from '../vault/world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld(200);
});
afterEach(() => world.drop());

async function read(changes: Partial<ReadRequest> = {}, during?: () => Promise<unknown>): Promise<UserRecord[]> {
  const request = {
    database: world.databases.east,
    customer: CUSTOMER,
    site: 'east',
    keys: world.keys,
    maxAgeMs: 30_000,
    signal: quiet.signal,
    ...changes,
  };
  return readServed(request, async (reading) => {
    const found: UserRecord[] = [];
    const { users, records } = await reading.all();
    for await (const { user, record } of records) {
      if (found.length === 0) await during?.();
      found.push(new UserRecord(users.name(user).toString('utf8'), Buffer.from(record.bytes), record.recordId)); // Its bytes are lent.
    }
    return found;
  });
}

describe('a reading', () => {
  it('refuses the database of another site or customer', async () => {
    await expect(read({ site: 'west' })).rejects.toMatchObject({ type: 'database-wrong' });
    await expect(read({ customer: 'other' })).rejects.toMatchObject({ type: 'database-wrong' });
  });

  it('names a table or column that is missing, and refuses the schema for several hosts', async () => {
    await world.sql('east', 'alter table rosterusers add server_host text');
    await expect(read()).rejects.toMatchObject({
      type: 'database-refused',
      message: expect.stringContaining('server_host') as string,
    });
    await world.sql('east', 'alter table privacy_list_data drop column match_iq');
    await expect(read()).rejects.toMatchObject({
      type: 'database-refused',
      message: expect.stringContaining('privacy_list_data.match_iq') as string,
    });
    await world.sql('east', 'drop table rostergroups');
    await expect(read()).rejects.toMatchObject({
      type: 'database-refused',
      message: expect.stringContaining('rostergroups.grp') as string,
    });
  });

  it('is the only one of its customer', async () => {
    let second: unknown;
    await read({}, async () => {
      second = await read().catch((error: unknown) => error);
    });
    expect(second).toMatchObject({ type: 'snapshot-running' });
    expect(await read()).toHaveLength(100); // Nothing to unlock by hand.
  });

  it('ends when its time is over, whoever is slow', async () => {
    const slow = read({ maxAgeMs: 300 }, () => new Promise((done) => setTimeout(done, 500)));
    await expect(slow).rejects.toMatchObject({ type: 'snapshot-too-slow' });
    const open = await world.sql(
      'east',
      `select from pg_stat_activity where datname = current_database() and state like 'idle in%'`,
    );
    expect(open).toHaveLength(0);
  });

  it('never mixes two points in time', async () => {
    const [last] = await world.sql('east', `select max(username collate "C") as name from tandem.served`);
    const records = await read({}, () =>
      world.sql('east', `insert into rostergroups values ($1, 'later@x', 'Later')`, [last?.['name']]),
    );
    expect(records.flatMap(({ rows }) => rows.groups).filter(([jid]) => jid === 'later@x')).toEqual([]);
  });

  it('of a site that serves nobody is refused: it would be the newest one, and cover nobody', async () => {
    await world.sql('east', `update tandem.serving set site = 'west' where half = 'east'`);
    await expect(read()).rejects.toMatchObject({ type: 'serves-nobody' });
  });

  it('gives the users served here, each once, in byte order, also those without rows', async () => {
    const records = await read();
    const names = records.map(({ username }) => username);
    const served = await world.sql('east', `select username from tandem.served order by username collate "C"`);
    expect(names).toEqual(served.map((r) => r['username']));
    expect(
      names
        .map((n) => Buffer.from(n))
        .toSorted((x, y) => Buffer.compare(x, y))
        .map(String),
    ).toEqual(names);
    expect(records.some(({ bytes }) => !hasRows(bytes))).toBe(true);
  });

  it('keeps NULL, blanks and long numbers as they stand', async () => {
    const [first] = await world.sql('east', `select min(username collate "C") as name from tandem.served`);
    const name = first?.['name'];
    for (const table of ['rosterusers', 'privacy_default_list', 'privacy_list'])
      await world.sql('east', `delete from ${table} where username = $1`, [name]);
    await world.sql(
      'east',
      `insert into rosterusers values ($1, E'tab\\there\\\\"''', '', 'N', ' ', E'line\\nbreak', ' ', '', null)`,
      [name],
    );
    await world.sql('east', `insert into privacy_list (username, name) values ($1, '😀')`, [name]);
    await world.sql(
      'east',
      `insert into privacy_list_data select id, 'n', '', 'd', 10000000000000000000001.500, true, false, false, true, true from privacy_list where username = $1`,
      [name],
    );
    const [record] = await read();
    expect(record?.rows.contacts).toEqual([['tab\there\\"\'', '', 'N', ' ', 'line\nbreak', ' ', '', null]]);
    expect(record?.rows.items).toEqual([['😀', 'n', '', 'd', '10000000000000000000001.5', 'tfftt']]);
  });
});

describe('a reading of large tables', () => {
  /** Some 40 MiB: enough for threads and for the disk. Long rows and a very long one are among them. */
  const fill = (): Promise<unknown> =>
    world.sql(
      'east',
      `with served as (select username from tandem.served)
       insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
       select username, 'contact' || (c * 7919) % 1000 || '@x', repeat('n', case when c = 500 then 70000 else 300 end),
              'B', 'N', '', 'N', '', 'item' from served, generate_series(1, 1000) c order by md5(username || c)`,
    );

  it('gives every row to its user, as reading user by user does', async () => {
    await fill();
    const records = await read();
    const names = records.map(({ username }) => username);
    const keys = recordKeys(world.keys.ring.get('k1') ?? Buffer.alloc(0));
    const rows = await world.databases.east.connection((client) => readUsers(client, names));
    expect(names).toHaveLength(100);
    for (const record of records) {
      const single = makeRecord(record.username, rows.get(record.username) ?? noRows(), keys);
      expect(record.recordId).toEqual(single.recordId);
      expect(record.bytes.equals(single.bytes)).toBe(true);
    }
    expect(records.reduce((sum, record) => sum + record.rows.contacts.length, 0)).toBeGreaterThan(100_000);
  });

  it('ends at once when it is told to, or when its connections break, and leaves nothing open', async () => {
    await fill();
    const busy = async (): Promise<number> => {
      const [row] = await world.sql(
        'east',
        `select count(*)::int as n from pg_stat_activity where datname = current_database() and query like 'copy (select r.%'`,
      );
      return Number(row?.['n']);
    };
    const during = (act: () => Promise<unknown>): (() => Promise<unknown>) => {
      const started = async (): Promise<unknown> => {
        for (;;) if ((await busy()) > 0) return act();
      };
      return started;
    };
    const stopped = new AbortController();
    const [ended] = await Promise.allSettled([
      read({ signal: stopped.signal }),
      during(() => Promise.resolve(stopped.abort(new Error('stopped'))))(),
    ]);
    expect(ended).toMatchObject({ status: 'rejected', reason: { message: 'stopped' } });
    await expect.poll(busy).toBe(0);
    const terminate = `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`;
    const [broken] = await Promise.allSettled([read(), during(() => world.sql('east', terminate))()]);
    expect(broken).toMatchObject({ status: 'rejected', reason: { type: 'database-unreachable' } });
    expect(await read()).toHaveLength(100);
  });
});
