import { compareEpoch, type Epoch } from './epoch.ts';
import type { Isolation } from './plan.ts';

/**
 * Who may serve, as pure rules. What each says is what operators read; why each is needed is shown by
 * `test/model/mutations.ts`, where the explorer leaves one out at a time and finds two sites that serve one user.
 */

/** What a store of claims answers: its number grows, and a number is one move's. */
export const claimAnswers = {
  taken: 'the store holds this claim now',
  same: 'the store held this very claim already',
  refused: 'a newer epoch stands there: this move is superseded',
  fork: 'another move stands there under the same number',
} as const;
export type ClaimAnswer = keyof typeof claimAnswers;

export function answerClaim(held: Epoch | null, offered: Epoch): ClaimAnswer {
  const verdict = compareEpoch(held, offered);
  if (verdict === 'newer') return 'taken';
  if (verdict === 'same') return 'same';
  return held?.number === offered.number ? 'fork' : 'refused';
}

/** What a site does about an epoch that it sees elsewhere. */
export const obediences = {
  nothing: 'this site holds it, or a newer one',
  obey: 'this site takes it over; what it served before is closed',
  fork: 'two moves hold the same number: this site keeps its own half only, moves freeze, two operators pick the line',
} as const;
export type Obedience = keyof typeof obediences;

export function obey(held: Epoch | null, seen: Epoch): Obedience {
  const answer = answerClaim(held, seen);
  if (answer === 'taken') return 'obey';
  return answer === 'fork' ? 'fork' : 'nothing';
}

/** A right to serve as a site's database keeps it: a half, by whom, under which number. */
export interface Right {
  site: string;
  epoch: number;
}

/** Whether site `own` serves a half by its row: under an older number than the newest it is closed. */
export function servesBy(row: Right | null, own: string, newest: number): boolean {
  return row !== null && row.site === own && row.epoch === newest;
}

/** Whether a move may write its right over what stands: never over a newer one, nor over another site's of its number. */
export function mayTake(row: Right | null, offered: Right): boolean {
  return row === null || row.epoch < offered.epoch || (row.epoch === offered.epoch && row.site === offered.site);
}

/** Whether a right goes along when the site takes a further epoch: what was open stays open, what was closed, closed. */
export function goesAlong(row: Right, own: string, held: number): boolean {
  return row.site === own && row.epoch === held;
}

/**
 * Whether rights go along at all, by the newest number that the peer is seen to have claimed. A database that holds an older one,
 * as one from a backup does, does not know what was taken from it.
 */
export function knowsItsRights(held: number, claimedByPeer: number): boolean {
  return claimedByPeer <= held;
}

/** How it is known that the source of a failover serves nobody, best first; the words are those of step `fence-site`. */
export const confirmations = {
  service: 'its own service says that it serves nobody',
  database: 'its database holds the epoch, and its service had the time to read it',
  statement: 'people have signed how it is cut off: two sites serve one user if that is not so',
  observers: 'its observers found it dead: two sites serve one user if it was only cut off',
} as const;
export type Confirmation = keyof typeof confirmations;

/** Null: nobody may be served by the survivor yet. */
export function confirmedBy(
  source: { closed: 'service' | 'database' } | { closed: null; silent: boolean },
  { statement, verdict }: Pick<Isolation, 'statement' | 'verdict'>,
): Confirmation | null {
  if (source.closed !== null) return source.closed;
  if (statement !== null) return 'statement';
  return source.silent && verdict === 'dead' ? 'observers' : null;
}
