import type { LastOpening } from '../../activities/services/closed.ts';
import type { Closing } from '../../workflows/model/closing.ts';

/** What screens say of a site that is closed. */

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

/** What comes next; of a fork two operators pick the line first. */
export const openCommand = (site: string, customer: string, { kind }: Closing): string =>
  kind === 'fork'
    ? 'tandem status'
    : `tandem site open --site ${site} --customer ${customer} --operator ID --key FILE --because "…"`;
