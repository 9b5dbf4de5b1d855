import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { Again } from '../../workflows/model/again.ts';
import type { Loss, RecoverySource } from '../../workflows/model/plan.ts';
import { ageMs, type Timestamp } from '../../workflows/model/snapshots.ts';
import type { CustomerSettings } from '../settings.ts';
import type { Chosen } from './sources.ts';

/** How the users of the lost half stand in the ledger of the standby copy, in numbers. */
export interface LedgerCounts {
  all: number;
  /** It has them from the lost site. */
  known: number;
  quarantined: number;
  /** The epoch that this database holds. */
  epoch: number;
  /** Whether this site has the right to serve any of them by now, also while it is closed. */
  servedHere: boolean;
  /** This site's own users, when it does not serve them: they were moved to the lost one. */
  ownUnserved: number;
  /** Halves that the lost site serves as well, by this database, and that are not among these; none of others' that have nobody in them. */
  othersThere: string[];
}

export async function countLedger(
  client: PoolClient,
  { id, peer }: CustomerSettings,
  halves: readonly string[],
): Promise<LedgerCounts> {
  const { rows } = await client.query<LedgerCounts | (Omit<LedgerCounts, 'epoch'> & { epoch: null })>(
    `select count(*)::int as all, count(l.username)::int as known, count(q.username)::int as quarantined,
            (select number::float8 from tandem.epoch where customer = $2) as epoch,
            exists (select from tandem.serving s join tandem.epoch e on e.customer = s.customer and e.number = s.epoch
                      join tandem.identity i on i.customer = s.customer and i.site = s.site
                     where s.customer = $2 and s.half = any($1)) as "servedHere",
            (select count(*)::int from tandem.home o join tandem.identity i on tandem.home_of(o.site) = i.site
              where o.site <> all($1) and not exists (select from tandem.served s where s.half = o.site)) as "ownUnserved",
            array(select s.half from tandem.serving s where s.customer = $2 and s.site = $3 and s.half <> all($1)
                     and (s.half = s.site or exists (select from tandem.home o where o.site = s.half)) order by 1) as "othersThere"
       from tandem.home h
       left join tandem.ledger l on l.username = h.username and l.served_by = $3
       left join tandem.quarantine q on q.username = h.username and q.release is null
      where h.site = any($1)`,
    [halves, id, peer],
  );
  const [row] = rows;
  if (!row || row.epoch === null) throw failure('database-wrong', `${id}: its database here holds no epoch`);
  return row;
}

/**
 * Which users of the lost half lose how much, in numbers. Exact when the standby copy stands for the source: the ledger
 * then has whoever is in it. A source that is newer than the copy tells only how many it holds.
 */
export function lossOf(
  { all, known, quarantined }: LedgerCounts,
  source: RecoverySource,
  disruptedAt: Timestamp,
): Loss {
  const users = source.applied ? known : Math.min(all, source.users);
  const ms = ageMs(source.point, Date.parse(disruptedAt));
  return { users, ms, withoutSnapshot: all - users, quarantined, exact: source.applied };
}

/**
 * What people sign is the oldest point they may get. A source that may fail in the middle, as a lost site's vault may, is
 * replaced by the next one without asking anybody again as long as that keeps the RPO; beyond it nobody has agreed to it.
 */
export function oldestAcceptable(
  { source, fallback, notTaken }: Chosen,
  { disruptedAt, rpoMs, again }: { disruptedAt: Timestamp; rpoMs: number; again: Again | null },
): Chosen & { oldest: Timestamp } {
  // Users who are served wait for the snapshot that was asked for: no other is brought in its place.
  if (fallback && !again && ageMs(fallback.point, Date.parse(disruptedAt)) <= rpoMs)
    return { source, fallback, notTaken, oldest: fallback.point };
  return { source, notTaken, oldest: source.point };
}
