import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { archiveBrought } from '../../activities/archive/act.ts';
import { eastAt, kindOf } from '../failover-acts/world.ts';
import { archived, DAY, fill, nowUs } from './ground.ts';
import { ownArchive } from '../../activities/archive/unfit.ts';
import { openMoved, small, type Moved } from './moved.ts';

/** What must not happen to archived messages when their users move. */

let moved: Moved;
beforeEach(async () => {
  moved = await openMoved();
});
afterEach(() => moved.world.close());

const LOCKED = `select from pg_locks join pg_stat_activity a using (pid) where not granted and a.datname = current_database()`;
const missing = (limitMs?: number) =>
  archiveBrought(moved.world.west, moved.step(), new AbortController().signal, {
    ...small,
    ...(limitMs !== undefined && { limitMs }),
  });

describe('what is archived for users who moved never', () => {
  it('is brought twice: not what is there already, nor once more in a later round', async () => {
    await moved.here(25);
    // As if they had been home before.
    const some = await archived(moved.world.westDb);
    await fill(moved.world.eastDb, { copies: some.slice(5, 12) });
    const first = await moved.bring();
    expect(first.facts).toEqual({ rows: 25, brought: 18, strangers: 0 });
    expect(await moved.there()).toEqual(some);
    // Not even asked for what is done.
    expect(await moved.bring({ site: moved.world.westWith(eastAt(moved.world, '127.0.0.1:1')) })).toEqual(first);
    expect((await moved.bring({ step: moved.step({ round: 1 }) })).facts).toEqual(first.facts);
    expect(await moved.there()).toEqual(some);
  });

  it.each([1, 2, 3, 5, 8].flatMap((at) => (['before', 'after'] as const).map((when) => [at, when] as const)))(
    'is brought twice, nor counted so, when an attempt dies at its batch %i, %s that is done there',
    async (at, when) => {
      await moved.here(25);
      const { site, close } = await moved.cutAt(at, when);
      expect(await kindOf(moved.bring({ site }))).toBe('destination-unreachable');
      await close();
      expect((await moved.bring()).facts).toEqual({ rows: 25, brought: 25, strangers: 0 });
      expect(await moved.there()).toEqual(await archived(moved.world.westDb));
    },
  );

  it('is brought twice by two attempts at once', async () => {
    await moved.here(60);
    const ended = await Promise.allSettled([moved.bring(), moved.bring(), moved.bring()]);
    const kinds = await Promise.all(
      ended.map((one) => kindOf(one.status === 'fulfilled' ? Promise.resolve() : Promise.reject(one.reason as Error))),
    );
    expect(kinds).toContain('no failure');
    expect(kinds.filter((kind) => kind !== 'no failure' && kind !== 'attempt-running')).toEqual([]);
    expect((await moved.bring()).facts).toEqual({ rows: 60, brought: 60, strangers: 0 });
    expect(await moved.there()).toEqual(await archived(moved.world.westDb));
  });

  it('is brought twice by two steps at once', async () => {
    await moved.here(60);
    const results = await Promise.all(['one', 'other'].map((id) => moved.bring({ step: moved.step({ id }) })));
    const brought = results.map(({ facts }) => Number(facts['brought']));
    expect(brought.reduce((sum, n) => sum + n)).toBe(60);
    expect(await moved.there()).toEqual(await archived(moved.world.westDb));
  });

  it('is brought twice by who did not wait for another who brings the same', async () => {
    await moved.here(5);
    const rows = JSON.stringify(await archived(moved.world.westDb));
    const { columns } = await ownArchive(moved.world.eastDb);
    const batch = JSON.stringify({ columns, from: null, to: { at: nowUs(), id: 9 }, looked: 5, strangers: 0 });
    const { move } = moved.step().key.epoch;
    const sql = `select from tandem.take_archive('contoso', '{west}', $1, 2, 'west', $2, $3, $4)`;
    await moved.world.eastDb.connection(async (client) => {
      await client.query('begin');
      await client.query(sql, ['one', move, rows, batch]);
      const other = moved.world.eastDb.query(sql, ['other', move, rows, batch]);
      other.catch(() => undefined);
      await expect.poll(() => moved.world.eastDb.query(LOCKED)).toHaveLength(1);
      await client.query('commit');
      await other;
    });
    expect(await moved.there()).toHaveLength(5);
  });

  it('brings along what is another’s: of the other half, of nobody, or of who is not of this half there', async () => {
    await moved.here(5, 'e1');
    await moved.here(5, 'room@conference.contoso.example');
    await moved.here(5, 'w2');
    await moved.here(5, 'w1');
    await moved.world.eastDb.query(`update tandem.home set site = 'east' where username = 'w2'`);
    const { facts, alarms } = await moved.bring();
    expect(facts).toEqual({ rows: 10, brought: 5, strangers: 5 });
    expect(alarms).toEqual([
      '5 archived messages at west are of users who are not of this half at east: they were not brought',
    ]);
    expect(new Set((await moved.there()).map(({ username }) => username))).toEqual(new Set(['w1']));
  });

  it('is brought when it is kept no longer', async () => {
    await moved.here(5, 'w1', 30 + 1 / 1440);
    await moved.here(5, 'w1', 30 - 1 / 1440);
    expect((await moved.bring()).facts).toMatchObject({ rows: 5, brought: 5 });
    expect((await moved.there()).every(({ timestamp }) => Number(timestamp) > nowUs() - 30 * DAY * 1000)).toBe(true);
  });

  it.each([
    ['a newer epoch', "update tandem.epoch set number = 3, site = 'east', move = 'theirs'", 'epoch-superseded'],
    ['this number for another move', "update tandem.epoch set site = 'east', move = 'theirs'", 'epoch-superseded'],
    ['an older epoch', 'update tandem.epoch set number = 1', 'destination-behind'],
    [
      'an older epoch, under which the half was its own',
      'update tandem.epoch set number = 1; update tandem.serving set epoch = 1',
      'destination-behind',
    ],
    ['no right to the half', "update tandem.serving set site = 'west' where half = 'west'", 'destination-behind'],
    ['the right of an older epoch', "update tandem.serving set epoch = 1 where half = 'west'", 'destination-behind'],
    [
      'a fork',
      `insert into tandem.fork (customer, number, here_site, here_move, there_site, there_move, store) values ('contoso', 2, 'west', 'a', 'east', 'b', 'x')`,
      'forked',
    ],
  ])('is brought to a site that holds %s', async (_, change, kind) => {
    await moved.here(5);
    await moved.world.eastDb.query(change);
    expect(await kindOf(moved.bring())).toBe(kind);
    expect(await moved.there()).toEqual([]);
  });

  it('is brought under an epoch that is overtaken here', async () => {
    await moved.here(5);
    await moved.world.westDb.query('update tandem.epoch set number = 3');
    expect(await kindOf(moved.bring())).toBe('epoch-superseded');
    expect(await moved.there()).toEqual([]);
  });

  it('is brought under an epoch that is overtaken while a batch waits', async () => {
    await moved.here(25);
    const claim = await moved.world.eastDb.connection(async (client) => {
      await client.query(`begin; update tandem.epoch set number = 3, move = 'newer'`);
      const bringing = kindOf(moved.bring());
      await expect.poll(() => moved.world.eastDb.query(LOCKED)).toHaveLength(1);
      await client.query('commit');
      return bringing;
    });
    expect(claim).toBe('epoch-superseded');
    expect(await moved.there()).toEqual([]);
  });

  it('is brought any further once the epoch is overtaken between two batches', async () => {
    await moved.here(25);
    await moved.world.eastDb.query(
      `create function public.overtake() returns trigger language plpgsql as $$ begin update tandem.epoch set number = 3; return null; end $$;
       create trigger overtake after insert on public.archive execute function public.overtake()`,
    );
    expect(await kindOf(moved.bring())).toBe('epoch-superseded');
    expect(await moved.there()).toHaveLength(3);
  });

  it('stands there in half a batch, nor in an error: a row that is refused is told by its code', async () => {
    await moved.here(7);
    const [secret] = (await archived(moved.world.westDb)).slice(4, 5);
    await moved.world.eastDb.query(
      `create function public.refuse() returns trigger language plpgsql as $$ begin
         if new.xml = '${secret?.xml}' then raise exception 'no % of %', new.xml, new.username; end if; return new; end $$;
       create trigger refuse before insert on public.archive for each row execute function public.refuse()`,
    );
    const error: unknown = await moved.bring().catch((reason: unknown) => reason);
    expect(String(error)).toMatch(/archive of contoso at east: it refuses a row \(SQLSTATE P0001\)$/);
    expect(JSON.stringify(error)).not.toMatch(/w1|word/);
    // The first batch of three, and nothing of the second.
    expect(await moved.there()).toHaveLength(3);
    await moved.world.eastDb.query('drop trigger refuse on public.archive');
    expect((await moved.bring()).facts).toEqual({ rows: 7, brought: 7, strangers: 0 });
  });

  it('goes on being brought when it is told to stop', async () => {
    await moved.here(60);
    const stop = new AbortController();
    const stopped = moved.bring({ signal: stop.signal, heartbeat: () => stop.abort(new Error('stopped')) });
    await expect(stopped).rejects.toThrow('stopped');
    expect(await moved.there()).toHaveLength(10);
  });

  it('is said to be there by hand while a row is missing', async () => {
    await moved.here(25);
    expect(await missing()).toEqual({ seen: false, summary: '25 archived messages are missing at east' });
    await fill(moved.world.eastDb, { copies: (await archived(moved.world.westDb)).slice(1) });
    expect(await missing()).toEqual({ seen: false, summary: '1 archived messages are missing at east' });
    await fill(moved.world.eastDb, { copies: (await archived(moved.world.westDb)).slice(0, 1) });
    expect(await missing()).toEqual({ seen: true, summary: 'east has all that west has' });
    expect(await missing(0)).toEqual({
      seen: false,
      summary: '0 archived messages are missing at east among those that could be looked at in time',
    });
  });
});
