import type { PoolClient } from 'pg';
import { compareEpoch, type Epoch } from '../../workflows/model/epoch.ts';
import { failure } from '../../workflows/model/failures.ts';
import { sameLine, whomInFork, type ForkLines } from '../../workflows/model/fork.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import type { Fork } from '../../workflows/model/watch-news.ts';
import type { Database } from '../contacts/database.ts';
import type { CustomerSettings } from '../settings.ts';
import { close, endClosing, lockRights, readClosing } from './closed.ts';
import type { ClaimStore } from './obey.ts';
import { LEASE_MS } from './obeyed.ts';
import type { PeerFork } from './peer-fork.ts';

/** What a site does by itself about an epoch that two moves have claimed (`tandem.fork`). */

/** In the place of a move: what holds back a half that is not at home here. No move has this name. */
export const FORK_DRAIN = 'fork';

export interface StandingFork extends Fork {
  seenAt: Timestamp;
  /** When the peer's own database was first heard to have noted it; null while it was not. */
  notedThereAt: Timestamp | null;
}

interface Row {
  number: string;
  here_site: string;
  here_move: string;
  there_site: string;
  there_move: string;
  store: string;
  seen_at: Date;
  noted_there_at: Date | null;
}

type Query = Pick<PoolClient, 'query'>;

/** The fork that stands at this site; null when none does. */
export async function readFork(client: Query, customer: string): Promise<StandingFork | null> {
  const { rows } = await client.query<Row>(
    `select f.number::text, here_site, here_move, there_site, there_move, store, seen_at, noted_there_at
       from tandem.fork f join tandem.epoch e on e.customer = f.customer and e.number = f.number
      where f.customer = $1 and f.ended_at is null`,
    [customer],
  );
  const [row] = rows;
  if (!row) return null;
  return {
    number: Number(row.number),
    here: { site: row.here_site, move: row.here_move },
    there: { site: row.there_site, move: row.there_move, store: row.store },
    seenAt: row.seen_at.toISOString(),
    notedThereAt: row.noted_there_at?.toISOString() ?? null,
  };
}

export const forkHere = (database: Database, customer: string): Promise<StandingFork | null> =>
  database.connection((client) => readFork(client, customer));

/** Moves stand still while a fork does. The epoch's row being locked: no fork is noted between this and what follows it. */
export async function refuseForked(client: Query, customer: string): Promise<void> {
  const fork = await readFork(client, customer);
  if (fork) throw failure('forked', `${customer}: ${toldLines(fork)}`);
}

/** Nobody can approve a move while a fork stands. */
export const blockedByFork = (fork: ForkLines | null): Plan['blockers'] =>
  fork === null
    ? []
    : [
        {
          kind: 'forked',
          text: `${toldLines(fork)}: nobody moves before two operators have picked the line that stands`,
        },
      ];

export const toldLines = ({ number, here, there }: ForkLines): string =>
  `epoch ${number} is claimed by move ${here.move} of ${here.site}, and by move ${there.move} of ${there.site}`;

/**
 * Notes a fork, in one transaction: this site is closed, and of the halves that are not at home here it serves none before the
 * fork has ended, whatever else opens it. An act that is under way may give it one of them still: they are held back, too. Its
 * serving rows stay as they are, for they are what the line is. False when it was noted before, or is none any more.
 */
export async function noteFork(
  database: Database,
  { id, sites }: Pick<CustomerSettings, 'id' | 'sites'>,
  { number, here, there }: Fork,
): Promise<boolean> {
  return database.transaction(async (client) => {
    const own = await lockRights(client, id);
    if (own.epoch.number !== number || !sameLine(own.epoch, here)) return false;
    if (there.store !== PEER_DATABASE && (await isFollowed(client, id))) return false;
    const { rowCount } = await client.query(
      `insert into tandem.fork as f (customer, number, here_site, here_move, there_site, there_move, store)
       values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (customer, number) do update set here_site = excluded.here_site, here_move = excluded.here_move,
         there_site = excluded.there_site, there_move = excluded.there_move, store = excluded.store,
         seen_at = excluded.seen_at, noted_there_at = null, ended_at = null
         where f.ended_at is not null or (f.there_site, f.there_move) <> (excluded.there_site, excluded.there_move)`,
      [id, number, here.site, here.move, there.site, there.move, there.store],
    );
    if (rowCount === 0) return false;
    await client.query(
      `insert into tandem.drained as d (customer, half, epoch, move)
       select $1, half, $3, $4 from (select unnest($2::text[]) union select half from tandem.serving where customer = $1) known (half)
        where tandem.home_of(half) <> $5
       on conflict (customer, half) do update set epoch = excluded.epoch, move = excluded.move,
         at = excluded.at, obeyed_at = null`,
      [id, sites, number, FORK_DRAIN, own.site],
    );
    await closeForFork(client, id, { number, here, there });
    return true;
  });
}

/** The peer's own word: what its database holds now. */
const PEER_DATABASE: ClaimStore = 'database of the peer';

async function isFollowed(client: PoolClient, customer: string): Promise<boolean> {
  const { rows } = await client.query('select from tandem.epoch where customer = $1 and followed = number', [customer]);
  return rows.length > 0;
}

/** Remembers that the peer holds the very claim that this site holds, once for each epoch. Nothing is written else. */
export async function noteFollowed(database: Database, customer: string, { number, site, move }: Epoch): Promise<void> {
  await database.query(
    `update tandem.epoch set followed = number
      where customer = $1 and number = $2 and site = $3 and move = $4 and followed is distinct from number`,
    [customer, number, site, move],
  );
}

/** A closing that the peer would open stands no longer beside it; one that an operator has made does. */
async function closeForFork(client: PoolClient, customer: string, fork: ForkLines): Promise<void> {
  const because = toldLines(fork);
  const standing = await readClosing(client, customer, true);
  if (standing && standing.kind !== 'cut-off' && standing.kind !== 'was-down') return;
  if (standing) await endClosing(client, customer, standing, { because });
  await close(client, customer, { kind: 'fork', because });
}

/**
 * Goes by what the peer was just heard to say of a fork that stands here. Once its own database has noted it too, and its service
 * can no longer go by what it read before, this site serves its own half again. A peer that holds the very claim which this site
 * holds has no other line any more: the fork has ended. Answers what has changed, for people.
 */
export async function settleFork(database: Database, customer: string, told: PeerFork): Promise<string[]> {
  return database.transaction(async (client) => {
    const own = await lockRights(client, customer);
    const fork = await readFork(client, customer);
    if (!fork) return [];
    if (told.state === 'says' && compareEpoch(own.epoch, told.epoch) === 'same') {
      await client.query('update tandem.fork set ended_at = now() where customer = $1 and number = $2', [
        customer,
        fork.number,
      ]);
      // The closing that stands yet opens when the peer confirms all that this site serves.
      await client.query('delete from tandem.drained where customer = $1 and move = $2', [customer, FORK_DRAIN]);
      return [
        `${customer}: the fork at epoch ${fork.number} has ended: the peer's database holds the claim of this site`,
      ];
    }
    const may = told.state === 'says' && whomInFork(fork, told.fork) === 'own-half';
    const { rows } = await client.query<{ long: boolean }>(
      `update tandem.fork set noted_there_at = case when $3 then coalesce(noted_there_at, clock_timestamp()) end
        where customer = $1 and number = $2
        returning coalesce(clock_timestamp() - noted_there_at >= make_interval(secs => $4), false) as long`,
      [customer, fork.number, may, LEASE_MS / 1000],
    );
    const closing = await readClosing(client, customer, true);
    if (closing?.kind === 'cut-off' || closing?.kind === 'was-down') await closeForFork(client, customer, fork);
    if (closing?.kind !== 'fork') return [];
    if (rows[0]?.long === true) {
      const because = `its peer has noted the fork at epoch ${fork.number} as well: each site serves its own half`;
      await endClosing(client, customer, closing, { because });
      return [`${customer}: opened for its own half: ${because}`];
    }
    const waits = may
      ? `its peer has noted the fork; the service there may go by what it read before for ${LEASE_MS / 1000} s more`
      : told.state === 'says'
        ? 'its peer has not noted the fork yet'
        : `its peer does not say whether it has noted the fork: ${told.because}`;
    await client.query('update tandem.closed set tried_at = now(), waits_for = $3 where customer = $1 and id = $2', [
      customer,
      closing.id,
      waits,
    ]);
    return [];
  });
}

/** A fork that has ended by a further epoch, as this site has come to know of it. */
export interface EndedFork {
  number: number;
  /** The site whose line was picked; null when something else has ended it. */
  picked: string | null;
}

/** The move of the epoch by which a line was picked. */
export const PICK_PREFIX = 'pick-';

/**
 * Ends the fork whose number is no longer the newest. A site that was closed by it opens as after any other closing: when its peer
 * confirms what it serves now. Null when there is none. Safe to repeat.
 */
export async function endFork(database: Database, customer: string): Promise<EndedFork | null> {
  const sql = `select from tandem.fork f join tandem.epoch e using (customer)
                where customer = $1 and (f.ended_at is null and f.number < e.number
                   or f.ended_at is not null and exists (select from tandem.closed c where c.customer = e.customer and c.kind = 'fork'))`;
  if ((await database.query(sql, [customer])).length === 0) return null; // No lock is taken where nothing is to be done.
  return database.transaction(async (client) => {
    const { epoch } = await lockRights(client, customer);
    const { rows } = await client.query<{ number: string; picked: string | null }>(
      `update tandem.fork set ended_at = now(), picked = coalesce(picked, $3)
        where customer = $1 and number < $2 and ended_at is null returning number::text, picked`,
      [customer, epoch.number, epoch.move.startsWith(PICK_PREFIX) ? epoch.site : null],
    );
    const closing = await readClosing(client, customer, true);
    if (closing?.kind === 'fork' && !(await readFork(client, customer))) {
      const because = `the fork has ended, under epoch ${epoch.number} of ${epoch.site}`;
      await endClosing(client, customer, closing, { because });
      await close(client, customer, { kind: 'cut-off', because: `${because}: it opens when its peer confirms it` });
    }
    const [row] = rows;
    return row ? { number: Number(row.number), picked: row.picked } : null;
  });
}
