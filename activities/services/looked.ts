import { duration } from '../../workflows/model/rto.ts';
import type { Closing } from '../../workflows/model/closing.ts';
import type { Database } from '../contacts/database.ts';
import { close, lockRights, readClosing } from './closed.ts';

export interface Look {
  /** This worker sees the peer or the witness. */
  saw: boolean;
  /** Left out: the site never closes itself. */
  selfFenceMs?: number | undefined;
}

export interface Looked {
  /** Grows with each look, of any worker here, that saw one of them. */
  looks: number;
  /** The site's, when it had looked at nobody for too long: it goes on serving nobody until the peer confirms it. */
  closing: Closing | null;
}

/**
 * Notes what this worker sees, where the service goes by it: how long ago anybody here saw the peer or the witness closes the
 * site with or without a worker (`tandem.cut_off`). A look that comes too late is written down as a closing, in the transaction
 * that makes it fresh again where it has seen somebody. From a look that saw one of them on, the site may close itself again.
 */
export async function noteLook(database: Database, customer: string, { saw, selfFenceMs }: Look): Promise<Looked> {
  const limitS = selfFenceMs === undefined ? null : selfFenceMs / 1000;
  const [row] = await database.query<{ late: boolean }>('select tandem.cut_off($1) as late', [customer]);
  // Rows that nothing is decided by are not locked: a move may hold them for minutes.
  const closing = row?.late === true ? await closeLate(database, customer, saw) : null;
  const looks = await (saw ? noteSeen(database, customer, limitS) : noteBlind(database, customer, limitS));
  return { looks, closing };
}

async function noteSeen(database: Database, customer: string, limitS: number | null): Promise<number> {
  const [row] = await database.query<{ seen: string }>(
    `with free as (update tandem.site_opened set seen_since = true where customer = $1 and not seen_since)
     update tandem.alive set seen = seen + 1, saw_at = case when $2::float8 is not null then clock_timestamp() end, self_fence_s = $2::float8 where customer = $1 returning seen::text`,
    [customer, limitS],
  );
  return Number(row?.seen ?? 0);
}

/** Counts from now where it did not count before; whom people have opened in the dark, it does not count for. */
async function noteBlind(database: Database, customer: string, limitS: number | null): Promise<number> {
  const [row] = await database.query<{ seen: string }>(
    `update tandem.alive
        set saw_at = case when $2::float8 is not null then coalesce(saw_at, clock_timestamp()) end,
            self_fence_s = case when saw_at is null or self_fence_s is not null then $2::float8 end
      where customer = $1 returning seen::text`,
    [customer, limitS],
  );
  return Number(row?.seen ?? 0);
}

async function closeLate(database: Database, customer: string, saw: boolean): Promise<Closing | null> {
  return database.transaction(async (client) => {
    const { halves } = await lockRights(client, customer);
    const { rows } = await client.query<{ late: boolean; age: number; limit: number }>(
      `select tandem.cut_off(customer) as late, self_fence_s * 1000 as limit,
              (extract(epoch from clock_timestamp() - saw_at) * 1000)::float8 as age
         from tandem.alive where customer = $1 for update`,
      [customer],
    );
    const [row] = rows;
    if (row?.late !== true || halves.length === 0 || (await readClosing(client, customer))) return null;
    const because = `nobody here saw its peer or the witness for ${duration(Math.abs(row.age))}, limit ${duration(row.limit)}`;
    const closing = await close(client, customer, { kind: 'cut-off', because });
    if (saw) await client.query('update tandem.alive set saw_at = clock_timestamp() where customer = $1', [customer]);
    return closing;
  });
}
