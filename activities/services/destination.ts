import type { RecoverySource } from '../../workflows/model/plan.ts';
import { ageMs } from '../../workflows/model/snapshots.ts';
import { failure, failureText } from '../../workflows/model/failures.ts';
import { isCohort } from '../../workflows/model/half.ts';
import { duration } from '../../workflows/model/rto.ts';
import { peerQuery, within } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import { heldAtPeer, heldText } from './peer-functions.ts';
import type { OwnSite } from './site.ts';

const ASK_LIMIT_MS = 5000;

/** What the destination's own database tells of itself. */
export interface Destination {
  epoch: { number: number; site: string; move: string };
  /** Halves that are its own to serve under that epoch, whether it is open for them or not. */
  owns: string[];
  /** Those of them for which it is closed, or that it is handing over itself. */
  closedFor: string[];
  /** Whom it takes the users who are to come to be served by, by half; null where it says nothing of them. */
  takesServedBy: { half: string; site: string | null }[];
  /** The newest snapshot of this site that it holds applied; null when it holds none. */
  holds: RecoverySource | null;
  /** Users of the half who were left out of that; null where it is not told. */
  held: number | null;
}

interface ObservedRow {
  half: string;
  site: string;
  epoch: string;
  open: boolean;
  newest: string;
  claimed_by: string;
  move: string;
}

interface AppliedRow {
  gen: string;
  seq: string;
  manifest: string;
  point: Date | null;
}

/** Asks the destination's database. One that does not answer is a reason against the plan, and no failure: it may come back. */
export async function destinationAsItIs(
  site: OwnSite,
  customer: CustomerSettings,
  halves: readonly string[],
  signal?: AbortSignal,
): Promise<Destination | { silent: string }> {
  try {
    return await askDestination(site, customer, halves, signal);
  } catch (error) {
    signal?.throwIfAborted();
    return { silent: failureText(error) };
  }
}

async function askDestination(
  site: OwnSite,
  customer: CustomerSettings,
  halves: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Destination> {
  const { id, peer, peerDatabaseUrl } = customer;
  const what = `database of ${peer}`;
  const ask = <Row extends object>(sql: string, values: unknown[]): Promise<Row[]> =>
    within(ASK_LIMIT_MS, what, (limit) => peerQuery<Row>(peerDatabaseUrl, ASK_LIMIT_MS, sql, values, limit), signal);
  const own = site.settings.site;
  const [rows, [applied], held] = await Promise.all([
    ask<ObservedRow>(
      'select half, site, epoch::text, open, newest::text, claimed_by, move from tandem.observe() where customer = $1',
      [id],
    ),
    ask<AppliedRow>(
      'select gen::text, seq::text, manifest, point from tandem.observe_applied() where customer = $1 and site = $2',
      [id, own],
    ),
    heldAtPeer(customer, own, halves, signal),
  ]);
  const [first] = rows;
  if (!first) throw failure('database-wrong', `${what}: it knows nothing of ${id}`);
  const owned = rows.filter((r) => r.site === peer && r.epoch === r.newest);
  return {
    epoch: { number: Number(first.newest), site: first.claimed_by, move: first.move },
    owns: owned.map((r) => r.half).toSorted(),
    closedFor: owned.filter((r) => !r.open).map((r) => r.half),
    takesServedBy: halves.map((half) => ({ half, site: rows.find((r) => r.half === half)?.site ?? null })),
    holds: applied?.point
      ? {
          snapshot: { customer: id, site: own, gen: Number(applied.gen), seq: Number(applied.seq) },
          manifest: applied.manifest,
          point: applied.point.toISOString(),
          from: 'standby-copy',
          users: await usersOf(site, id),
          applied: true,
        }
      : null,
    held,
  };
}

async function usersOf(site: OwnSite, id: string): Promise<number> {
  const [row] = await site.database(id).query<{ n: number }>('select count(*)::int as n from tandem.served');
  return row?.n ?? 0;
}

/** Why users cannot be moved there yet. */
export function unready(
  to: string,
  { halves, epoch, rpoMs, own }: { halves: readonly string[]; epoch: number; rpoMs: number; own: string },
  { epoch: theirs, closedFor, takesServedBy, holds, held }: Omit<Destination, 'owns'>,
  now: number = Date.now(),
): string[] {
  const age = holds && ageMs(holds.point, now);
  return [
    ...(theirs.number === epoch
      ? []
      : [`${to} holds epoch ${theirs.number}, ${own} epoch ${epoch}: it has yet to obey`]),
    ...(closedFor.length > 0
      ? [`${to} is closed for its users of ${closedFor.join(' and ')}, or hands them over itself`]
      : []),
    ...takesServedBy
      // A cohort that it does not know yet, `whyApart` tells of.
      .filter(({ half, site }) => site !== own && !(site === null && isCohort(half)))
      .map(
        ({ half, site }) =>
          `${to} takes users of ${half} to be served by ${site ?? 'nobody'}, and gets no copies of them: a site that came back is salvaged first`,
      ),
    ...(holds && held !== null && held > 0 ? [heldText(to, halves, held)] : []),
    ...(age === null
      ? [`${to} holds no copy of the users of ${own} yet: \`tandem snapshot now --site ${own}\` has one taken`]
      : []),
    ...(age !== null && age > rpoMs
      ? [`the copy at ${to} is ${duration(age)} old, ${duration(rpoMs)} at most are allowed`]
      : []),
  ];
}
