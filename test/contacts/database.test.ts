import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { Client } from 'pg';
import { Database } from '../../activities/contacts/database.ts';

/** A server that is full is busy, not broken: whoever comes next waits, as long as for one that does not answer. */

const ROLE = `crowded_${process.pid}`;
const admin = new Client({ connectionString: inject('stack').sites['east']?.superuserUrl });
const url = Object.assign(new URL(inject('stack').sites['east']?.superuserUrl ?? ''), {
  username: ROLE,
  password: ROLE,
});
beforeAll(async () => {
  await admin.connect();
  await admin.query(`create role ${ROLE} login password '${ROLE}' connection limit 1`);
});
afterAll(async () => {
  await admin.query(`drop role ${ROLE}`);
  await admin.end();
});

const crowded = (connectMs: number): Database =>
  new Database('a crowded one', url.href, { connections: 1, connectMs, statementMs: 1000 });
let holder: Client;
beforeEach(async () => {
  holder = new Client({ connectionString: url.href });
  await holder.connect();
});

describe('a server without a connection to spare', () => {
  it('is waited for until one is free', async () => {
    const database = crowded(5000);
    const answer = database.query<{ one: number }>('select 1 as one');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await holder.end();
    expect(await answer).toEqual([{ one: 1 }]);
    await database.close();
  });

  it('is a failure that says so, once the time to connect is over', async () => {
    const database = crowded(400);
    await expect(database.query('select 1')).rejects.toThrow(/a crowded one: too many connections for role/);
    await database.close();
    await holder.end();
  });

  it('is not what one waits for whose own process has many questions: they take turns, however long each lasts', async () => {
    await holder.end();
    const database = crowded(300);
    const answers = Array.from({ length: 5 }, () =>
      database.query<{ one: number }>('select 1 as one from pg_sleep(0.2)'),
    );
    expect((await Promise.all(answers)).flat()).toHaveLength(5);
    await database.close();
  });

  it('is left soon by whoever has nothing more to ask', async () => {
    await holder.end();
    const [first, second] = [crowded(1000), crowded(5000)];
    await first.query('select 1'); // Keeps its connection, idle.
    expect(await second.query<{ one: number }>('select 1 as one')).toEqual([{ one: 1 }]);
    await Promise.all([first.close(), second.close()]);
  });
});
