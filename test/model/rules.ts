import type { Epoch } from '../../workflows/model/epoch.ts';
import { whomInFork } from '../../workflows/model/fork.ts';
import { goneToPeer, lostHandOvers } from '../../workflows/model/opening.ts';
import {
  answerClaim,
  confirmedBy,
  goesAlong,
  keepsUnder,
  knowsItsRights,
  mayTake,
  obey,
  servesBy,
  whyNotHandOver,
  type Right,
} from '../../workflows/model/rights.ts';

/**
 * The rules that the two sites of the model go by. Those of `workflows/model` are the product's own functions; the others are
 * what keeps the order of its effects, each with the place that holds it. `mutations.ts` leaves one out at a time.
 */
export interface Rules {
  /** Configuration: a site that sees neither its peer nor the witness closes itself. */
  selfFence: boolean;

  answerClaim: typeof answerClaim;
  obey: typeof obey;
  servesBy: typeof servesBy;
  mayTake: typeof mayTake;
  goesAlong: typeof goesAlong;
  knowsItsRights: typeof knowsItsRights;
  confirmedBy: typeof confirmedBy;
  keepsUnder: typeof keepsUnder;
  whyNotHandOver: typeof whyNotHandOver;
  opens: typeof opens;
  /** A site that sees a fork serves nobody until its peer's database has noted it as well; then its own half. */
  whomInFork: typeof whomInFork;
  goneToPeer: typeof goneToPeer;
  /** A second line: whatever lets both sites have a half under a claim of this site's own, is mended by it within a look. */
  lostHandOvers: typeof lostHandOvers;

  /** A site obeys its own claims, where its peer's database holds them: no, they are for the move that made them. */
  obeysOwnClaims: boolean;
  /** An act locks its site's epoch row, and does nothing when another epoch stands there (`lockEpoch`). */
  actsUnderItsEpoch: boolean;
  /** While a fork stands, nobody is given to either site. */
  forkFreezes: boolean;
  /** A right that an act gives all the same, for it was under way, gives nobody anything before the fork has ended. */
  forkHoldsBack: boolean;
  /** Nobody is served before his contacts are restored (`needs` in the runbook, held by its linter). */
  servesAfterRestore: boolean;
  /** After it has closed a source by its database, step `fence-site` waits for as long as a service may believe what it read. */
  waitsForLease: boolean;
  /** A service that cannot read its rights believes the last for some seconds, and then serves nobody (`mod_tandem`). */
  beliefRunsOut: boolean;
  /** A service wants a fresh sign of life of its site whenever it had nothing to believe; false: only when it starts. */
  wantsLifeAfterLapse: boolean;
  /** A worker looks how old the last sign is whenever it gives one; false: only when it starts. */
  looksAtLastSign: boolean;
  /** A stale sign of life closes the site at all (start-closed). */
  startsClosed: boolean;
  /** The opening looks once more, in its transaction, whether the epoch is the one that was confirmed. */
  opensIfUnchanged: boolean;
  /** And a lease after the peer was first heard to confirm: its service may believe for so long what it read before. */
  opensAfterLease: boolean;
  /** Two operators stand in for a peer that is silent; one that answers opens the site itself, or has a reason not to. */
  wordAsksPeer: boolean;
  /** Who closes a site that sees nobody: the service, by the age of the last look in its database; the worker, while it lives. */
  closesCutOff: 'service' | 'worker' | 'nobody';
  /** The self-fence time counts from the last look that saw somebody; or anew from each start of the worker. */
  countsFrom: 'look' | 'start';
  /** Where nothing but words or silence says that the source is closed, the survivor waits for the self-fence time to pass. */
  waitsForSelfFence: boolean;
  /** And counts it from when its claim stands in the witness, where a source that sees the witness reads it. */
  waitsForWitness: boolean;
  /** After the wait, its claim must still be the newest in the witness. */
  asksWitnessAgain: boolean;
  /** What counts as seeing the peer: what would tell a newer epoch (its database, its vault); or whatever answers. */
  seesBy: 'stores' | 'anything';
  /** A move is turned back only before its first user is served. */
  turnsBackBeforeServing: boolean;
  /** A half counts as drained once its service has let go of it, or a lease is over. */
  drainWaits: boolean;
  /** A drain of a move that has ended is undone by the worker. */
  undoesForgottenDrains: boolean;
  /** A half is handed over in this site's own database first. */
  letsGoFirst: boolean;
  /** A site takes what its peer's database says is its own, under the epoch that both hold. */
  takesHandedOver: boolean;
  /** What a claim leaves to a site that obeys: what it says itself; or what the claimant's rows say now, whatever this site held. */
  leavesBy: 'claim' | 'rows';
  /** What is handed over is taken by a site that holds the copy: not by one that was put back meanwhile. */
  takesWithCopy: boolean;
  /** Turning a failover back takes a further epoch, so that what is left of the move does nothing any more. */
  turnsBackUnderNewEpoch: boolean;
}

export interface Half {
  half: string;
  right: Right;
}

/**
 * Whether a site that closed itself may open, by what its peer's database says: `peer` holds the very epoch, and no right to
 * any of the halves that this site would serve. Then the peer takes a newer epoch before it serves one of them.
 */
export function opens(
  own: { site: string; epoch: Epoch; halves: readonly string[] },
  peer: { site: string; epoch: Epoch; halves: readonly Half[] } | null,
): boolean {
  if (peer === null) return false; // It does not answer.
  if (answerClaim(own.epoch, peer.epoch) !== 'same') return false;
  const serves = (half: string): boolean =>
    peer.halves.some((h) => h.half === half && servesBy(h.right, peer.site, peer.epoch.number));
  return !own.halves.some(serves);
}

export const rules: Rules = {
  selfFence: false,
  answerClaim,
  obey,
  servesBy,
  mayTake,
  goesAlong,
  knowsItsRights,
  confirmedBy,
  keepsUnder,
  whyNotHandOver,
  opens,
  whomInFork,
  goneToPeer,
  lostHandOvers,
  obeysOwnClaims: false,
  actsUnderItsEpoch: true,
  forkFreezes: true,
  forkHoldsBack: true,
  servesAfterRestore: true,
  waitsForLease: true,
  beliefRunsOut: true,
  wantsLifeAfterLapse: true,
  looksAtLastSign: true,
  startsClosed: true,
  opensIfUnchanged: true,
  opensAfterLease: true,
  wordAsksPeer: true,
  closesCutOff: 'service',
  countsFrom: 'look',
  waitsForSelfFence: true,
  waitsForWitness: true,
  asksWitnessAgain: true,
  seesBy: 'stores',
  turnsBackBeforeServing: true,
  drainWaits: true,
  undoesForgottenDrains: true,
  letsGoFirst: true,
  takesHandedOver: true,
  leavesBy: 'claim',
  takesWithCopy: true,
  turnsBackUnderNewEpoch: true,
};
