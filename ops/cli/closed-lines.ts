import type { Drained } from '../../activities/services/drained.ts';
import type { LastOpening } from '../../activities/services/closed.ts';
import { toldLines, type StandingFork } from '../../activities/services/fork.ts';
import type { Closing } from '../../workflows/model/closing.ts';
import { duration } from '../../workflows/model/rto.ts';

/** What screens say of a site that is closed. */

/** Longer than any drain takes from which users come back at once. */
const DRAIN_USUAL_MS = 60_000;

export function closedLine(
  site: string,
  customer: string,
  { kind, because, since, waitsFor, triedAt }: Closing,
): string {
  const waits = waitsFor === null ? '' : `; not opened at ${triedAt?.slice(11, 16) ?? '-'} UTC: ${waitsFor}`;
  return `CLOSED: ${site} serves nobody of ${customer} since ${since}: ${kind}, ${because}${waits}`;
}

export const openedLine = ({ kind, because, since, openedAt, openedBecause, by }: LastOpening): string =>
  `Last closed at ${since.toISOString()} (${kind}, ${because}), opened at ${openedAt.toISOString()}${by.length > 0 ? ` by ${by.join(' and ')}` : ''}: ${openedBecause}`;

/** A drain is for seconds. One that lasts is of a move that stands still: whose users nobody serves meanwhile. */
export function drainedLine(site: string, { half, move, since, ageMs, live }: Drained): string {
  const next = live ? 'retry its step, or turn it back' : 'its worker undoes that within seconds';
  return `DRAINED: nobody serves the users of ${half} since ${since.toISOString()} (${duration(ageMs)}): move ${move} ${live ? 'is handing them over from' : 'has ended at'} ${site}${ageMs > DRAIN_USUAL_MS || !live ? `; ${next}` : ''}`;
}

/** Two moves hold one epoch: which, since when, and whether each site has noted it. */
export function forkLine(site: string, customer: string, fork: StandingFork): string {
  const noted =
    fork.notedThereAt === null
      ? `${site} serves nobody before the other site has noted it as well`
      : `each site serves its own half`;
  return `FORK, seen at ${site} since ${fork.seenAt}: ${toldLines(fork)}; moves of ${customer} stand still; ${noted}`;
}

export const pickCommand = (customer: string, line = 'SITE'): string =>
  `tandem site pick --line ${line} --customer ${customer} --operator ID --key FILE --because "…"`;

/** What comes next; of a fork two operators pick the line first. */
export const openCommand = (site: string, customer: string, { kind }: Closing): string =>
  kind === 'fork'
    ? pickCommand(customer)
    : `tandem site open --site ${site} --customer ${customer} --operator ID --key FILE --because "…"`;
