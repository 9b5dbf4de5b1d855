import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createArchiveActivities } from '../../activities/archive/activities.ts';
import { ARCHIVE_KEPT_MS, DELETE_EXPIRED, deleteExpiredArchive } from '../../activities/archive/expired.ts';
import { Database } from '../../activities/contacts/database.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import { kindOf } from '../failover-acts/world.ts';
import { scratchDatabase, type ScratchDatabase } from '../rig/databases.ts';

/** Messages are kept for 30 days, and no longer, in ejabberd's own table of them. */

const DAY = 24 * 3_600_000;
let scratch: ScratchDatabase;
let database: Database;

/** As /usr/share/ejabberd/sql/pg.sql has it. */
const TABLE = `
  create table archive (
    username text not null, timestamp bigint not null, peer text not null, bare_peer text not null, xml text not null,
    txt text, id serial, kind text, nick text, created_at timestamp not null default now());
  create index i_timestamp on archive using btree (timestamp);`;

beforeEach(async () => {
  scratch = await scratchDatabase('west');
  database = new Database('west', scratch.url, { connections: 3, connectMs: 5000, statementMs: 20_000 });
  await database.query(TABLE);
});
afterEach(async () => {
  await database.close();
  await scratch.drop();
});

const fill = (rows: number, ageDays: number): Promise<unknown> =>
  database.query(
    `insert into archive (username, timestamp, peer, bare_peer, xml, txt)
     select 'u' || n, $2::bigint - n, 'p', 'p', '<message/>', 'text' from generate_series(1, $1::int) n`,
    [rows, Math.round((Date.now() - ageDays * DAY) * 1000)],
  );
const count = async (): Promise<number> =>
  (await database.query<{ n: number }>('select count(*)::int as n from archive'))[0]?.n ?? -1;
const beats: number[] = [];
const run = (change: Partial<Parameters<typeof deleteExpiredArchive>[1]> = {}) =>
  deleteExpiredArchive(database, {
    customer: 'acme',
    now: Date.now(),
    heartbeat: ({ deleted = 0 }) => beats.push(deleted),
    signal: new AbortController().signal,
    ...change,
  });

describe('an archive never', () => {
  it('loses what is younger than 30 days, by however little', async () => {
    await fill(10, 30 - 1 / 1440);
    expect(await run()).toMatchObject({ deleted: 0, archive: 'kept' });
    expect(await count()).toBe(10);
  });

  it('loses anything by a clock that is wrong', async () => {
    await fill(10, 1);
    expect(await kindOf(run({ now: Date.now() + 40 * DAY }))).toBe('clock-wrong');
    expect(await kindOf(run({ now: Date.now() - 40 * DAY }))).toBe('clock-wrong');
    expect(await count()).toBe(10);
  });

  it('is deleted for a customer without the option', async () => {
    await fill(10, 31);
    const settings = (options: string[]): SiteSettings => {
      const customer = { options, databaseUrl: scratch.url } as unknown as CustomerSettings;
      return { site: 'west', customers: new Map([['acme', customer]]) } as unknown as SiteSettings;
    };
    const running = () => ({ heartbeat: () => undefined, signal: new AbortController().signal });
    const acts = (options: string[]) => createArchiveActivities(settings(options), running);
    const work = (options: string[]) => acts(options)['delete-expired-archive']({ customer: 'acme' });
    expect(await work(['external-av'])).toMatchObject({ archive: 'no-option', deleted: 0 });
    expect(await count()).toBe(10);
    expect(await work(['content-archiving'])).toMatchObject({ archive: 'kept', deleted: 10 });
  });

  it('goes on losing when it is told to stop', async () => {
    await fill(100, 31);
    const stop = new AbortController();
    const heartbeat = (): void => stop.abort(new Error('stopped'));
    await expect(run({ batch: 10, heartbeat, signal: stop.signal })).rejects.toThrow('stopped');
    expect(await count()).toBe(90);
    expect(await run({ batch: 10 })).toMatchObject({ deleted: 90 });
  });
});

describe('an archive', () => {
  it('loses all that is older, in pieces, while messages are written, and two runs at once do not mind', async () => {
    await fill(1234, 31);
    await fill(50, 3);
    beats.length = 0;
    const writing = fill(20, 0);
    const [one, other] = await Promise.all([run({ batch: 100 }), run({ batch: 100 })]);
    await writing;
    expect(one.deleted + other.deleted).toBe(1234);
    expect(one.before).toBe(new Date(Date.parse(one.before ?? '')).toISOString());
    expect(Date.now() - Date.parse(one.before ?? '')).toBeGreaterThanOrEqual(ARCHIVE_KEPT_MS);
    expect(await count()).toBe(70);
    expect(beats.length).toBeGreaterThan(10);
    expect(await run()).toMatchObject({ deleted: 0 });
  });

  it('is found by its index, however much is kept', async () => {
    await fill(20_000, 3);
    await fill(100, 31);
    await database.query('analyze archive');
    const plan = await database.query<{ 'QUERY PLAN': string }>(`explain ${DELETE_EXPIRED}`, [
      Math.round((Date.now() - 30 * DAY) * 1000),
      5000,
    ]);
    const text = plan.map((row) => row['QUERY PLAN']).join('\n');
    expect(text).toMatch(/Tid Scan/);
    expect(text).toMatch(/Index (Only )?Scan using i_timestamp/);
    expect(text).not.toMatch(/Seq Scan/);
  });

  it('that the service does not have is said to be missing', async () => {
    await database.query('drop table archive');
    expect(await run()).toMatchObject({ archive: 'missing', deleted: 0 });
  });
});
