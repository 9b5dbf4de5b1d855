import type { Timestamp } from './snapshots.ts';

/**
 * `ready`: people would only have to sign. `asks`: they would have to accept by name what is worse than promised.
 * `not-ready`: nobody could approve it, or users could not sign in. `took-over`: it has happened.
 */
export type ReadinessState = 'ready' | 'asks' | 'not-ready' | 'took-over';

/** What the failover in which a site would survive would come to, if its peer were lost now. No names of users. */
export interface Readiness {
  customer: string;
  /** Lost. */
  from: string;
  /** Survives. */
  to: string;
  at: Timestamp;
  state: ReadinessState;
  /** What would stop it. */
  stops: string[];
  /** What whoever signs would have to accept by name. */
  asks: string[];
  /** From the signatures to the end, ms; null when no plan could be made. */
  forecastMs: number | null;
  /** Looks in a row that found it not ready, and when the first of them was; left out when this one did not. */
  notReady?: { looks: number; since: Timestamp };
  /** What whoever is on duty is to hear, once; left out when there is nothing. */
  news?: 'not-ready' | 'ready-again';
}

/** A fault that the next look finds mended is nobody's night: people hear of the second look in a row, half an hour after the first. */
const LOOKS_BEFORE_PAGE = 2;

/** What is found now, after what was found before. */
export function withNews(before: Readiness | null, now: Readiness): Readiness {
  if (now.state === 'not-ready') {
    const { looks, since } = before?.notReady ?? { looks: 0, since: now.at };
    const notReady = { looks: looks + 1, since };
    return { ...now, notReady, ...(notReady.looks === LOOKS_BEFORE_PAGE && { news: 'not-ready' as const }) };
  }
  const told = (before?.notReady?.looks ?? 0) >= LOOKS_BEFORE_PAGE;
  return { ...now, ...(told && { news: 'ready-again' as const }) };
}

export const readinessOf = (stops: readonly string[], asks: readonly string[]): ReadinessState =>
  stops.length > 0 ? 'not-ready' : asks.length > 0 ? 'asks' : 'ready';

/** In sentences, the worst first. */
export function readinessLines({ from, to, state, stops, asks }: Readiness): string[] {
  const what = `a failover from ${from} to ${to}`;
  if (state === 'took-over') return [`${to} serves the users of ${from}`];
  if (state === 'ready') return [`${what} would need signatures only`];
  return [
    ...stops.map((text) => `${what} would be stopped: ${text}`),
    ...asks.map((text) => `${what} would have to be accepted: ${text}`),
  ];
}
