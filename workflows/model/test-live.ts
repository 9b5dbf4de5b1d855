import { homeOf } from './half.ts';

/**
 * A live test moves nobody itself: people do, by planned moves. Wherever its users are and whatever is under way with them, it names the
 * one command that brings them to where they are to be.
 */

/** A move that has not ended, by the database of the site where it runs. */
export interface MoveUnderWay {
  move: string;
  /** `relocate`, `failback` or `failover`. */
  kind: string;
  /** Null of a failover of all that a site served. */
  half: string | null;
  to: string | null;
  phase: string;
  /** Its epoch is claimed: it can be turned back, and no longer be aborted. */
  claimed: boolean;
  /** Its users are the destination's: there is no way back but another move. */
  handed: boolean;
}

/** Where the users of a cohort are, by the databases of both sites. */
export interface CohortStand {
  /** The site that may serve them. */
  site: string;
  /** They are drained, or the site does not know yet that they are its own: nobody serves them. */
  between: boolean;
  /** The move under whose epoch that is. */
  move: string;
  /** What is under way, and where it runs. */
  moving: (MoveUnderWay & { at: string }) | null;
  /** Why the peer's word is missing; null when it is not. */
  silent: string | null;
}

/** Where they are to be, and whose they are. */
export interface Wanted {
  customer: string;
  cohort: string;
  to: string;
}

/** What is waited for, and the exact command that helps it on; null when nothing but time does. */
export interface Asked {
  because: string;
  next: string | null;
}

/** Whether all is as it is to be: they are served there, and no move could take them away again. */
export const isAt = ({ site, between, moving, silent }: CohortStand, to: string): boolean =>
  site === to && !between && moving === null && silent === null;

export function askedOf({ customer, cohort, to }: Wanted, stand: CohortStand): Asked {
  const { site, between, moving, silent } = stand;
  const about = `--customer ${customer}`;
  const status = `tandem status ${about}`;
  const are = between ? `nobody serves users of ${cohort}, who are ${site}'s` : `users of ${cohort} are at ${site}`;
  if (silent !== null) return { because: `${are}; ${silent}`, next: status };
  if (moving !== null) {
    const { kind, move, at, half, phase } = moving;
    const told = `${are}; ${kind} ${move}, of ${half ?? 'all users'}, is ${phase} at ${at}`;
    return { because: told, next: commandFor({ customer, cohort, to }, moving) };
  }
  if (site === to) return { because: are, next: between ? status : null };
  return { because: `${are}, and nobody has asked for their move to ${to} yet`, next: startOf(customer, cohort, to) };
}

/** One that leads where they are to be, or cannot be ended any more, comes to its end: it says itself what it waits for. */
function commandFor(
  { customer, cohort, to }: Wanted,
  { kind, half, to: leads, ...m }: MoveUnderWay & { at: string },
): string {
  const verb = (name: string): string => `tandem ${kind} ${name} --customer ${customer} --site ${m.at}`;
  const over = m.handed || m.phase === 'verifying' || m.phase === 'turning-back';
  if (half !== cohort || leads === to || over) return verb('watch');
  return `${verb(m.claimed ? 'turn-back' : 'abort')} --operator ID --key FILE --because TEXT`;
}

const startOf = (customer: string, cohort: string, to: string): string =>
  `tandem ${homeOf(cohort) === to ? 'failback' : 'relocate'} start --customer ${customer} --half ${cohort} --to ${to} --reason "live test" --requested-by ID`;
