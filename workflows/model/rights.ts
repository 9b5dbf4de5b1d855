import { compareEpoch, type Claim, type Epoch } from './epoch.ts';
import type { Isolation } from './plan.ts';

/**
 * Who may serve, as pure rules. Why each is needed is shown by `test/model/mutations.ts`: the explorer leaves out one at a time, and
 * finds what goes wrong. What stands in SQL as well is held against these by `test/failover-acts/rights.test.ts`.
 */

/**
 * What a store of claims answers: its number grows, and a number is one move's. `same`: it held this very claim already.
 * `refused`: a newer epoch stands there, and the move is superseded. `fork`: another move stands there under the same number.
 */
export type ClaimAnswer = 'taken' | 'same' | 'refused' | 'fork';

export function answerClaim(held: Epoch | null, offered: Epoch): ClaimAnswer {
  const verdict = compareEpoch(held, offered);
  if (verdict === 'newer') return 'taken';
  if (verdict === 'same') return 'same';
  return held?.number === offered.number ? 'fork' : 'refused';
}

/**
 * What a site does about an epoch that it sees elsewhere. `obey`: it takes it over, and what it served before is closed. `fork`:
 * moves freeze, the site keeps its own half at most, and two operators pick the line that stands.
 */
export type Obedience = 'nothing' | 'obey' | 'fork';

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
 * Whether a site goes on serving a half when it obeys a claim of its peer. One that missed an epoch in between does not know what
 * became of its rights under it, and takes nothing along.
 */
export function keepsUnder(claim: Claim, row: Right & { half: string }, own: string, held: number): boolean {
  return goesAlong(row, own, held) && claim.keeps?.includes(row.half) === true && claim.follows === held;
}

/** A half that is drained: nobody serves it here, and it stays this site's to protect. */
export interface Drain {
  epoch: number;
  /** Its service was known to serve none of it any longer, and all that it had written before was written. ISO 8601. */
  obeyedAt: string | null;
}

/**
 * Why a planned move may not hand a half over; null when it may. `copiedAt`: the recovery point of the newest snapshot of this
 * site that the destination holds applied. What was changed here after it would be lost.
 */
export function whyNotHandOver(
  row: Right | null,
  drain: Drain | null,
  copiedAt: string | null,
  offered: Right,
): 'not-its-own' | 'not-drained' | 'not-copied' | null {
  if (!servesBy(row, offered.site, offered.epoch)) return 'not-its-own';
  if (drain?.epoch !== offered.epoch || drain.obeyedAt === null) return 'not-drained';
  return copiedAt !== null && Date.parse(copiedAt) > Date.parse(drain.obeyedAt) ? null : 'not-copied';
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
  service: 'its service says that it serves nobody',
  database: 'its database holds the epoch',
  // Two sites serve one user if that is not so.
  statement: 'is isolated by the statement that was signed',
  // Two sites serve one user if it was only cut off.
  observers: 'was found dead by its observers',
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
