import type { Forecast, Plan } from './plan.ts';
import { duration } from './rto.ts';
import type { Timestamp } from './snapshots.ts';

/** Lines that the plans of every kind of move have. */

/** `10,233`. */
export const grouped = (n: number): string => String(n).replaceAll(/\B(?=(\d{3})+$)/g, ',');

export const users = (n: number): string => `${grouped(n)} ${n === 1 ? 'user' : 'users'}`;
export const minute = (at: Timestamp): string => `${at.slice(0, 16).replace('T', ' ')} UTC`;

/** What waits at the lost site for users who were away; nothing for a plan of an older version. */
export function undeliveredLines({ undelivered, decisions: { from, planned } }: Plan): string[] {
  if (undelivered === undefined) return [];
  if (undelivered === null) return [`Messages that wait at ${from} for users who were away: not known how many`];
  const { messages, users: some, at } = undelivered;
  const counted = `counted at ${minute(at)}`;
  return messages === 0
    ? [`No message waits at ${from} for a user who was away, ${counted}`]
    : [
        `Messages that wait at ${from}: ${grouped(messages)} for ${users(some)} who were away, ${counted}; ${planned ? 'they stay there' : 'they come when it is back'}`,
      ];
}

export function forecastLine({ ms, p75Ms, steps, waits }: Forecast): string {
  const measured = steps.filter(({ basis }) => basis !== 'default').length;
  const by = `${measured} of ${steps.length} steps by measured times, the others by usual ones`;
  const people = waits.length > 0 ? `; not counted is the wait for people at ${waits.join(', ')}` : '';
  return `Forecast: through ${duration(ms)} after the signatures, ${duration(p75Ms)} at a slow pace; ${by}${people}.`;
}
