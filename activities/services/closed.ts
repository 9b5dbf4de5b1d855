import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { Closing, ClosingKind } from '../../workflows/model/closing.ts';
import { mayOpen, type Opening, type OwnRights, type PeerRights } from '../../workflows/model/opening.ts';
import { duration } from '../../workflows/model/rto.ts';
import type { Database } from '../contacts/database.ts';
import { LEASE_MS } from './obeyed.ts';

const LEASE_TOLD = `its peer has confirmed it; the service there may go by what it read before for ${LEASE_MS / 1000} s more`;

/** Rows of `tandem.closed`: a site that has one serves nobody of the customer. Its serving rows stay as they are. */

type Query = Pick<PoolClient, 'query'>;

interface ClosedRow extends Omit<Closing, 'since' | 'triedAt'> {
  since: Date;
  triedAt: Date | null;
}

/** Null when this site is open. `lock`: nobody else opens it until the transaction ends. */
export async function readClosing(client: Query, customer: string, lock = false): Promise<Closing | null> {
  const { rows } = await client.query<ClosedRow>(
    `select id, kind, because, since, waits_for as "waitsFor", tried_at as "triedAt"
       from tandem.closed where customer = $1${lock ? ' for update' : ''}`,
    [customer],
  );
  const [row] = rows;
  return row ? { ...row, since: row.since.toISOString(), triedAt: row.triedAt?.toISOString() ?? null } : null;
}

/** The same, and a site that serves nobody for want of a worker that looks: the next one writes that down. */
export const closingOf = (database: Database, customer: string): Promise<Closing | null> =>
  database.connection(async (client) => (await readClosing(client, customer)) ?? (await unwritten(client, customer)));

async function unwritten(client: Query, customer: string): Promise<Closing | null> {
  const { rows } = await client.query<{ since: Date; limit: number }>(
    `select saw_at + make_interval(secs => self_fence_s) as since, self_fence_s * 1000 as limit
       from tandem.alive where customer = $1 and tandem.cut_off(customer)`,
    [customer],
  );
  const [row] = rows;
  if (!row) return null;
  const because = `no worker here has seen its peer or the witness for ${duration(row.limit)}`;
  const since = row.since.toISOString();
  return { id: '', kind: 'cut-off', because, since, waitsFor: 'a worker of this site', triedAt: null };
}

/**
 * What this site has the right to serve, by its own rows, whether it is closed or not. The epoch row is locked until the
 * transaction ends: no epoch is taken between what is decided and what is done. Shared, as moves hold it, who may for minutes.
 */
export async function lockRights(client: Query, customer: string): Promise<OwnRights> {
  const { rows } = await client.query<{ number: string; site: string; move: string; own: string }>(
    `select e.number, e.site, e.move, i.site as own from tandem.epoch e join tandem.identity i on i.customer = e.customer
      where e.customer = $1 for share of e`,
    [customer],
  );
  const [row] = rows;
  if (!row) throw failure('database-wrong', `${customer}: the database of this site holds no epoch`);
  const served = await client.query<{ half: string }>(
    'select half from tandem.serving where customer = $1 and site = $2 and epoch = $3 order by half',
    [customer, row.own, row.number],
  );
  return {
    site: row.own,
    epoch: { number: Number(row.number), site: row.site, move: row.move },
    halves: served.rows.map(({ half }) => half),
  };
}

/** Closes; answers the closing that stands, which is the earlier one when there is one. */
export async function close(
  client: Query,
  customer: string,
  { kind, because, id = null }: { kind: ClosingKind; because: string; id?: string | null },
): Promise<Closing> {
  await client.query(
    `insert into tandem.closed (customer, kind, because, id) values ($1, $2, $3, coalesce($4::uuid, gen_random_uuid()))
     on conflict do nothing`,
    [customer, kind, because, id],
  );
  const closing = await readClosing(client, customer, true);
  if (!closing) throw failure('database-unreachable', `${customer}: was opened in the moment it was closed`);
  return closing;
}

/**
 * A site that has seen neither its peer nor the witness closes itself. Null when it serves nobody, was closed already, or was
 * opened by operators who knew that it sees neither.
 */
export async function closeCutOff(database: Database, customer: string, because: string): Promise<Closing | null> {
  return database.transaction(async (client) => {
    const { halves } = await lockRights(client, customer);
    if (halves.length === 0 || (await readClosing(client, customer))) return null;
    const { rowCount } = await client.query(
      'select from tandem.site_opened where customer = $1 and words is not null and not seen_since',
      [customer],
    );
    if (rowCount !== 0) return null;
    return close(client, customer, { kind: 'cut-off', because });
  });
}

/** Ends a closing, and keeps how. In the transaction in which it was read and locked. */
export async function endClosing(
  client: Query,
  customer: string,
  closing: Closing,
  { because, words = null }: { because: string; words?: unknown },
): Promise<void> {
  const { rowCount } = await client.query('delete from tandem.closed where customer = $1 and id = $2', [
    customer,
    closing.id,
  ]);
  if (rowCount !== 1) throw failure('verb-refused', `${customer}: another closing stands by now`);
  await client.query(
    `insert into tandem.site_opened (closing, customer, kind, because, since, opened_because, words)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [
      closing.id,
      customer,
      closing.kind,
      closing.because,
      closing.since,
      because,
      words === null ? null : JSON.stringify(words),
    ],
  );
  // It counts as a look, once; whom people have opened in the dark does not close again before one has seen somebody.
  await client.query(
    `update tandem.alive set saw_at = clock_timestamp(), self_fence_s = case when $2 then null else self_fence_s end
      where customer = $1 and self_fence_s is not null`,
    [customer, words !== null],
  );
}

/**
 * Opens this site when the peer has confirmed it for a lease without a break, by what the peer was just heard to say: against what
 * this site's database holds in the moment it opens. Else notes why not. Null when it is open.
 */
export async function openWhenConfirmed(
  database: Database,
  customer: string,
  peer: PeerRights,
): Promise<(Opening & { closing: Closing }) | null> {
  if (!(await closingOf(database, customer))) return null; // No lock is taken where nothing is to be done.
  return database.transaction(async (client) => {
    const own = await lockRights(client, customer);
    const closing = await readClosing(client, customer, true);
    if (!closing) return null;
    const confirmed = mayOpen(closing.kind, own, peer);
    const { rows } = await client.query<{ long: boolean }>(
      `update tandem.closed set tried_at = now(), waits_for = $4,
              confirmed_at = case when $3 then coalesce(confirmed_at, clock_timestamp()) end
        where customer = $1 and id = $2
        returning coalesce(clock_timestamp() - confirmed_at >= make_interval(secs => $5), false) as long`,
      [customer, closing.id, confirmed.open, confirmed.open ? LEASE_TOLD : confirmed.because, LEASE_MS / 1000],
    );
    if (!confirmed.open) return { ...confirmed, closing };
    if (rows[0]?.long !== true) return { open: false, because: LEASE_TOLD, closing };
    await endClosing(client, customer, closing, { because: confirmed.because });
    return { ...confirmed, closing };
  });
}

/** How the last closing ended. */
export interface LastOpening {
  kind: ClosingKind;
  because: string;
  since: Date;
  openedAt: Date;
  openedBecause: string;
  /** Who said so; none when nobody had to. */
  by: string[];
}

export async function lastOpening(database: Database, customer: string): Promise<LastOpening | null> {
  const [row] = await database.query<LastOpening & Record<string, unknown>>(
    `select kind, because, since, opened_at as "openedAt", opened_because as "openedBecause",
            array(select w->>'operator' from jsonb_array_elements(coalesce(words, '[]')) w) as by
       from tandem.site_opened where customer = $1 order by opened_at desc limit 1`,
    [customer],
  );
  return row ?? null;
}
