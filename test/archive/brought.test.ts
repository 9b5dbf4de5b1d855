import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { archiveBrought } from '../../activities/archive/act.ts';
import { WINDOW_AFTER } from '../../activities/archive/reading.ts';
import { eastAt, kindOf } from '../failover-acts/world.ts';
import { sql } from '../rig/sql.ts';
import { DAY, fill, nowUs } from './ground.ts';
import { openMoved, type Moved } from './moved.ts';

/** Users were served at west, and go to east: what was archived for them at west is found at east afterwards. */

let moved: Moved;
beforeEach(async () => {
  moved = await openMoved();
});
afterEach(() => moved.world.close());

describe('what is archived for users who moved', () => {
  it('is brought byte for byte, whatever is in it, under numbers of its own', async () => {
    await fill(moved.world.eastDb, { rows: 3, user: 'e1', ageDays: 1 });
    const odd = `<message>"\\ 'ä' 😀 \t\n\u0001 {}[] $1 %s</message>`;
    const at = nowUs();
    for (const [i, kind] of ['groupchat', null].entries())
      await moved.world.westDb.query(
        `insert into public.archive (username, timestamp, peer, bare_peer, xml, txt, kind, nick, created_at)
         values ('w1', $1, 'a@b/"c', 'a@b', $2, $3, $4, $5, '2026-01-02 03:04:05.678901')`,
        [at + i, odd, kind && odd, kind, kind && '"nick'],
      );
    await moved.bring();
    const rows = await moved.world.eastDb.query(
      `select to_jsonb(a) - 'id' as row from public.archive a where username = 'w1' order by timestamp`,
    );
    expect(rows).toEqual(
      await moved.world.westDb.query(`select to_jsonb(a) - 'id' as row from public.archive a order by timestamp`),
    );
    expect(rows).toHaveLength(2);
    expect(await moved.world.eastDb.query('select from public.archive group by id having count(*) > 1')).toEqual([]);
  });

  it('that differs in one column alone is another message', async () => {
    const at = nowUs();
    const rows = ['w1,p,chat,a', 'w1,p,chat,b', 'w1,p,,a', 'w1,q,chat,a', 'w2,p,chat,a', 'w1,p,chat,a'].map((told) =>
      told.split(','),
    );
    for (const [username, peer, kind, xml] of rows)
      await moved.world.westDb.query(
        `insert into public.archive (username, timestamp, peer, bare_peer, xml, kind) values ($1, $2, $3, $3, $4, nullif($5, ''))`,
        [username, at, peer, xml, kind],
      );
    expect((await moved.bring({ sizes: {} })).facts).toMatchObject({ brought: 5 });
    expect((await moved.bring({ step: moved.step({ round: 1 }), sizes: {} })).facts).toMatchObject({ brought: 5 });
  });

  it('goes on where the step’s time was over, without a look at what was brought', async () => {
    await moved.here(45);
    await moved.here(20, 'e1', 0.5);
    const slow = await moved.bring({ step: moved.step({ timeoutMs: 1 }) }).catch((reason: unknown) => reason);
    expect(slow).toMatchObject({
      type: 'archive-slow',
      message: 'archive of contoso at east: looked at 10 messages, brought 10, and time is over',
    });
    const { site, wire, close } = await moved.cutAt(0, 'after');
    expect((await moved.bring({ site, step: moved.step({ round: 1 }) })).facts).toEqual({
      rows: 45,
      brought: 45,
      strangers: 0,
    });
    await close();
    expect(wire.calls.filter((call) => call.includes('archive_lacks'))).toHaveLength(4);
    expect(moved.beats.at(-1)).toEqual({ looked: 45, brought: 45 });
  });

  it('of cohorts comes along with the rest of the half', async () => {
    await moved.world.westDb.query(`update tandem.home set site = 'west/pilot' where username = 'w2'`);
    await moved.world.eastDb.query(`update tandem.home set site = 'west/pilot' where username = 'w2'`);
    await moved.world.eastDb.query(`insert into tandem.serving values ('contoso', 'west/pilot', 'east', 2)`);
    await moved.here(5, 'w1');
    await moved.here(5, 'w2');
    expect((await moved.bring()).facts).toMatchObject({ rows: 5, brought: 5 });
    const step = moved.step({ cohorts: ['west/pilot'], id: 'both' });
    expect((await moved.bring({ step })).facts).toMatchObject({ rows: 10, brought: 5 });
  });

  it('waits for a destination that is away, and is nothing where nothing is archived', async () => {
    await moved.here(5);
    expect(await kindOf(moved.bring({ site: moved.world.westWith(eastAt(moved.world, '127.0.0.1:1')) }))).toBe(
      'destination-unreachable',
    );
    await moved.world.westDb.query('drop table public.archive');
    expect(await moved.bring()).toEqual({
      summary: 'west has no archive: there is nothing to bring',
      facts: { rows: 0, brought: 0 },
    });
  });

  it('is found by the index of its table, however much is of others', async () => {
    await fill(moved.world.westDb, { rows: 20_000, user: 'e1', ageDays: 3 });
    await moved.world.westDb.query('analyze public.archive');
    const plan = await moved.world.westDb.query<{ 'QUERY PLAN': string }>(`explain ${WINDOW_AFTER}`, [
      nowUs() - 30 * DAY * 1000,
      -1,
      ['west'],
      5000,
    ]);
    const text = plan.map((row) => row['QUERY PLAN']).join('\n');
    expect(text).toMatch(/Index Scan using i_timestamp/);
    expect(text).toMatch(/Index Cond: .*"timestamp" >=/);
    expect(text).not.toMatch(/Seq Scan on archive/);
  });
});

describe('an archive that cannot take rows', () => {
  const superuser = (): string =>
    Object.assign(new URL(inject('stack').sites['east']?.superuserUrl ?? ''), {
      pathname: new URL(moved.world.urls.east).pathname,
    }).toString();

  it.each([
    [
      'that is not there',
      'drop table public.archive',
      /^archive of contoso at east: its database has no table archive/,
    ],
    [
      'of another schema',
      'alter table public.archive drop column nick',
      /^archive of contoso at east: it has no nick text, as the archive of west has/,
    ],
    ['of another type', 'alter table public.archive alter column kind type varchar(8)', /it has no kind text, as/],
    [
      'whose rights are lacking',
      'alter table public.archive owner to postgres',
      /may not write it: `grant select, insert, delete on archive to tandem` there/,
    ],
    [
      'whose numbers it may not take',
      'alter table public.archive owner to postgres; grant select, insert, delete on public.archive to tandem',
      /and usage on its sequence/,
    ],
    [
      'of an older version',
      'drop function tandem.observe_archive()',
      /it takes no archived messages: bring its worker to this version/,
    ],
  ])('%s holds the step, and says what to do', async (_, change, told) => {
    await moved.here(5);
    await sql(superuser(), change);
    const error = await moved.bring().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ type: 'archive-unfit', message: expect.stringMatching(told) as string });
    expect((await archiveBrought(moved.world.west, moved.step(), new AbortController().signal)).seen).toBe(false);
  });

  it('with a column more takes them, and one that both have comes along', async () => {
    await moved.here(5);
    await moved.world.eastDb.query(`alter table public.archive add column origin_id text not null default 'none'`);
    expect((await moved.bring()).facts).toMatchObject({ brought: 5 });
    await moved.world.westDb.query(`alter table public.archive add column origin_id text not null default 'west'`);
    await moved.here(1, 'w2');
    await moved.bring({ step: moved.step({ id: 'again' }) });
    expect(
      await moved.world.eastDb.query(`select distinct username, origin_id from public.archive order by 1`),
    ).toEqual([
      { username: 'w1', origin_id: 'none' },
      { username: 'w2', origin_id: 'west' },
    ]);
  });
});
