import type { Plan, RecoverySource } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import type { OwnSite } from './site.ts';

/** What failovers have restored at this site, by its journal. */

/** A move that gave users of a half a site to be served at. */
export interface ServedBy {
  move: string;
  epoch: number;
  /** When it did, by its own line; null in lines of an older version. */
  servedAt: Timestamp | null;
  /** Null when the journal does not hold it. */
  plan: Plan | null;
  /** What was brought; null when nothing was, as in a planned move. */
  source: RecoverySource | null;
}

/** Moves that served the half under an epoch after `after`, the first one first. */
export async function servedBy(database: Database, id: string, half: string, after: number): Promise<ServedBy[]> {
  const rows = await database.query<{
    move: string;
    epoch: string;
    at: string | null;
    plan: string | null;
    brought: string | null;
  }>(
    `select s.move, s.body::jsonb #>> '{epoch,number}' as epoch, s.body::jsonb #>> '{result,facts,servedAt}' as at,
            (select p.body from tandem.journal p where p.move = s.move and p.kind = 'planned' and p.seq < s.seq order by p.seq desc limit 1) as plan,
            (select r.body::jsonb #>> '{result,facts,from}' from tandem.journal r
              where r.move = s.move and r.kind = 'step' and r.key like 'effect/%' and r.body::jsonb ->> 'act' = 'restore-contacts'
              order by r.seq desc limit 1) as brought
       from tandem.journal s
      where s.customer = $1 and s.kind = 'step' and s.key like 'effect/%' and s.body::jsonb ->> 'act' = 'serve-users'
        and (s.body::jsonb #>> '{result,facts,half}' = $2 or $2 = any(string_to_array(s.body::jsonb #>> '{result,facts,halves}', ' '))) and (s.body::jsonb #>> '{epoch,number}')::bigint > $3
      order by (s.body::jsonb #>> '{epoch,number}')::bigint`,
    [id, half, after],
  );
  return rows.map(({ move, epoch, at, plan: text, brought }) => {
    const plan = text === null ? null : (JSON.parse(text) as Plan);
    const source = [plan?.source, plan?.fallback].find((s) => brought !== null && s?.from === brought) ?? null;
    return { move, epoch: Number(epoch), servedAt: at, plan, source };
  });
}

/**
 * From which snapshot both sides began, of a half that the peer served under that epoch and this site took over: what the failover
 * restored, or what another one brought later, when that is the newer. Null when nothing was restored. In a fork the failover here
 * has the very number under which the peer went on serving; a planned move of that number is the one that gave the peer the half.
 */
export async function restoredHere(
  site: OwnSite,
  { id }: { id: string },
  half: string,
  epoch: number,
): Promise<RecoverySource | null> {
  const all = await servedBy(site.database(id), id, half, epoch - 1);
  return broughtBy(all.filter((move) => move.epoch > epoch || (move.plan && !move.plan.decisions.planned)));
}

/** By the first of them, or by one that brought another recovery point later, when that is the newer. */
function broughtBy([first, ...later]: readonly ServedBy[]): RecoverySource | null {
  const brought = later.flatMap(({ plan, source }) => (plan?.decisions.again?.base && source ? [source] : []));
  return brought.reduce(
    (newest, source) => (newest && Date.parse(source.point) > Date.parse(newest.point) ? source : newest),
    first?.source ?? null,
  );
}

/**
 * From which snapshot this site began a half that it served under that epoch: for the site that has the half by then, and may never have
 * let go of it, as in a fork. Null when no failover had brought it here.
 */
export async function servedFrom(
  database: Database,
  id: string,
  half: string,
  epoch: number,
): Promise<RecoverySource | null> {
  return broughtBy(await takenOver(database, id, half, epoch));
}

/**
 * The failover by which this site serves the half now, or did under an older epoch, and those that brought another recovery point after
 * it. Empty when it was handed over here, which restores nobody.
 */
export async function takenOver(
  database: Database,
  id: string,
  half: string,
  under: number = Infinity,
): Promise<ServedBy[]> {
  const all = (await servedBy(database, id, half, 0)).filter(({ epoch }) => epoch <= under);
  const last = all.findLastIndex(({ plan }) => plan?.decisions.again === undefined);
  const found = last < 0 ? [] : all.slice(last);
  return found[0]?.plan?.decisions.planned ? [] : found;
}
