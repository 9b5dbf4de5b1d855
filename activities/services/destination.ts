import type { RecoverySource } from '../../workflows/model/plan.ts';
import { ageMs } from '../../workflows/model/snapshots.ts';
import { failure, failureText } from '../../workflows/model/failures.ts';
import { duration } from '../../workflows/model/rto.ts';
import { peerQuery, within } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import type { OwnSite } from './site.ts';

const ASK_LIMIT_MS = 5000;

/** What the destination's own database tells of itself. */
export interface Destination {
  epoch: { number: number; site: string; move: string };
  /** Halves that it serves, and is open for. */
  serves: string[];
  /** Whom it takes the users who are to come to be served by; null when it says nothing of them. */
  takesServedBy: string | null;
  /** The newest snapshot of this site that it holds applied. */
  holds: RecoverySource;
}

interface ObservedRow {
  half: string;
  site: string;
  open: boolean;
  newest: string;
  claimed_by: string;
  move: string;
}

interface AppliedRow {
  gen: string;
  seq: string;
  manifest: string;
  point: string;
}

/**
 * Asks the destination's database. It must answer: a planned move to a site that does not waits until it does
 * (`source-unreachable`); one that holds no copy of this site's users at all is `no-recovery-point`.
 */
export async function destinationAsItIs(
  site: OwnSite,
  { id, peer, peerDatabaseUrl }: CustomerSettings,
  half: string,
  signal?: AbortSignal,
): Promise<Destination> {
  const what = `database of ${peer}`;
  const ask = <Row extends object>(sql: string, values: unknown[]): Promise<Row[]> =>
    within(ASK_LIMIT_MS, what, (limit) => peerQuery<Row>(peerDatabaseUrl, ASK_LIMIT_MS, sql, values, limit), signal);
  const own = site.settings.site;
  const [rows, [applied]] = await Promise.all([
    ask<ObservedRow>(
      'select half, site, open, newest::text, claimed_by, move from tandem.observe() where customer = $1',
      [id],
    ),
    ask<AppliedRow>(
      `select gen::text, seq::text, manifest, to_char(point at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as point
         from tandem.observe_applied() where customer = $1 and site = $2`,
      [id, own],
    ),
  ]).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw failure('source-unreachable', `${what}: ${failureText(error)}`);
  });
  const [first] = rows;
  if (!first) throw failure('database-wrong', `${what}: it knows nothing of ${id}`);
  if (!applied) throw failure('no-recovery-point', `${id}: ${peer} holds no copy of the users of ${own} yet`);
  return {
    epoch: { number: Number(first.newest), site: first.claimed_by, move: first.move },
    serves: rows.filter((r) => r.open).map((r) => r.half),
    takesServedBy: rows.find((r) => r.half === half)?.site ?? null,
    holds: {
      snapshot: { customer: id, site: own, gen: Number(applied.gen), seq: Number(applied.seq) },
      manifest: applied.manifest,
      point: applied.point,
      from: 'standby-copy',
      users: await usersOf(site, id),
      applied: true,
    },
  };
}

async function usersOf(site: OwnSite, id: string): Promise<number> {
  const [row] = await site.database(id).query<{ n: number }>('select count(*)::int as n from tandem.served');
  return row?.n ?? 0;
}

/** Why users cannot be moved there yet. */
export function unready(
  to: string,
  { half, epoch, rpoMs, own }: { half: string; epoch: number; rpoMs: number; own: string },
  { epoch: theirs, takesServedBy, holds }: Pick<Destination, 'epoch' | 'takesServedBy' | 'holds'>,
  now: number = Date.now(),
): string[] {
  const age = ageMs(holds.point, now);
  return [
    ...(theirs.number === epoch
      ? []
      : [`${to} holds epoch ${theirs.number}, ${own} epoch ${epoch}: it has yet to obey`]),
    ...(takesServedBy === own
      ? []
      : [
          `${to} takes users of ${half} to be served by ${takesServedBy ?? 'nobody'}, and gets no copies of them: a site that came back is salvaged first`,
        ]),
    ...(age <= rpoMs ? [] : [`the copy at ${to} is ${duration(age)} old, ${duration(rpoMs)} at most are allowed`]),
  ];
}
