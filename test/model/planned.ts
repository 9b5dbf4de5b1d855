import { gains, heldIn, seenOfPeer } from './by-itself.ts';
import { isBehind, knowsOfPeer, takesAlong, takesOwn } from './following.ts';
import { epochOf, otherRight, OWN, ownRight, rowsGive, swapped, type Ground } from './ground.ts';
import { endsLostHandOvers } from './halves.ts';
import { losesTransaction } from './parts.ts';
import { able, freeMove, isLive, nextNumber, reaches, superseded } from './planning.ts';
import { claimInStores, endsWithout } from './steps.ts';
import {
  Closing,
  Kind,
  Loss,
  movesOf,
  otherOf,
  Phase,
  siteName,
  siteOfMove,
  type MoveIndex,
  type SiteIndex,
} from './world.ts';

/** A planned move of one half: it runs where its users are, split where its worker can die or freeze between two effects. */

export type HalfBit = 1 | 2;

/** Before and after its service has let go of the half, as the rules take times. */
const BEFORE = '2026-01-01T00:00:00.000Z';
const LET_GO = '2026-01-01T00:00:01.000Z';
const AFTER = '2026-01-01T00:00:02.000Z';

/** Operators plan it, and sign: this site serves the half, and the peer is there and knows the same. */
export function plans(ground: Ground, s: SiteIndex, half: HalfBit): boolean {
  const { w } = ground;
  const slot = freeMove(ground, s);
  const site = w.sites[s];
  if (!able(ground, s) || site.fork === 1 || slot === null || movesOf(s).some((m) => isLive(ground, m))) return false;
  if (!reaches(ground, s) || w.sites[otherOf(s)].epoch !== site.epoch || (rowsGive(ground, s) & half) === 0)
    return false;
  const keeps = swapped(rowsGive(ground, otherOf(s)));
  Object.assign(w.move(slot), {
    number: nextNumber(ground, s),
    phase: Phase.declared,
    kind: Kind.planned,
    half,
    keeps,
  });
  return true;
}

/** `advance-epoch`: nothing is claimed without the peer, nor when rights here and there are not as they were planned with. */
export function claimsPlanned(ground: Ground, m: MoveIndex, { dies }: { dies: boolean }): boolean {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const site = w.sites[s];
  const peer = w.sites[otherOf(s)];
  const move = w.move(m);
  if (!able(ground, s) || move.phase !== Phase.declared || move.ended === 1 || !reaches(ground, s)) return false;
  if (dies && (site.vault === 0 || site.inVault === m)) return false;
  const offered = epochOf(w, m);
  const stands = [
    rules.answerClaim(epochOf(w, site.epoch), offered),
    peer.epoch === m ? 'taken' : rules.answerClaim(epochOf(w, peer.epoch), offered),
    w.all.peers === 1 && peer.vault === 1 ? rules.answerClaim(heldIn(w, peer.inVault), offered) : 'taken',
  ];
  if (stands.some((answer) => answer !== 'taken')) {
    move.phase = Phase.over;
    return true;
  }
  const [held, there] = [w.numberOf(site.epoch), w.numberOf(peer.epoch)];
  const mine = rowsGive(ground, s);
  const asPlanned =
    (mine & move.half) !== 0 && (mine & move.keeps) === 0 && (mine & swapped(rowsGive(ground, otherOf(s)))) === 0;
  const ownClaim = peer.epoch !== 0 && siteOfMove(peer.epoch) === s && there > held;
  if (!asPlanned || (peer.epoch !== site.epoch && !ownClaim)) return false;
  if (!rules.knowsItsRights(held, w.numberOf(seenOfPeer(ground, s)))) return false;
  if (site.inVault !== m) move.follows = peer.epoch === m ? held : there;
  move.phase = claimInStores(ground, m, dies) ? Phase['in stores'] : Phase.over;
  if (dies) {
    move.phase = Phase.declared;
    site.worker = 0;
  }
  return true;
}

/** `tandem.follow` in the peer's database; false: a newer epoch stands there. */
function peerFollows(ground: Ground, m: MoveIndex): boolean {
  const { w, rules } = ground;
  const t = otherOf(siteOfMove(m));
  const answer = rules.answerClaim(epochOf(w, w.sites[t].epoch), epochOf(w, m));
  const { keeps, follows } = w.move(m);
  if (answer === 'taken') takesAlong(ground, t, m, { keeps, after: follows });
  gains(ground, t);
  return answer === 'taken' || answer === 'same';
}

/** The end of `advance-epoch`, or whoever comes later: the peer is told of the claim. */
export function tellsOfClaim(ground: Ground, m: MoveIndex): boolean {
  const { w } = ground;
  const { kind, phase } = w.move(m);
  const s = siteOfMove(m);
  if (!able(ground, s) || kind !== Kind.planned || phase < Phase.taken || phase > Phase.closed) return false;
  if (!reaches(ground, s) || w.sites[otherOf(s)].epoch === m) return false;
  if (!peerFollows(ground, m)) w.move(m).phase = Phase.over;
  return true;
}

/** `drain-sessions`. Its service goes on for as long as it believes what it has read. */
export function drains(ground: Ground, m: MoveIndex): boolean {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const site = w.sites[s];
  const move = w.move(m);
  if (!able(ground, s) || move.kind !== Kind.planned || move.phase !== Phase.taken || move.ended === 1) return false;
  if (endsWithout(ground, m)) return true;
  if (site.closed !== Closing.open || (rowsGive(ground, s) & move.half) === 0) return false;
  site.drained |= move.half;
  move.phase = rules.drainWaits ? Phase.closing : Phase.closed;
  return true;
}

/** A snapshot of this site is taken, and applied at the peer. */
export function copies(ground: Ground, m: MoveIndex): boolean {
  const { w } = ground;
  const s = siteOfMove(m);
  const [site, peer] = [w.sites[s], w.sites[otherOf(s)]];
  const move = w.move(m);
  if (!able(ground, s) || move.kind !== Kind.planned || !reaches(ground, s) || peer.epoch !== site.epoch) return false;
  const last = move.phase === Phase.closed && (site.drained & move.half) !== 0;
  const copied = last ? 1 : 2;
  if (move.copied === copied || (!last && move.phase !== Phase.taken) || (rowsGive(ground, s) & move.half) === 0)
    return false;
  move.copied = copied;
  if (move.half === OWN) peer.restored = 1;
  return true;
}

/** `serve-users`, its own database: the point of no return. The peer was asked before what it holds. */
export function letsGo(ground: Ground, m: MoveIndex): boolean {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const site = w.sites[s];
  const move = w.move(m);
  if (!able(ground, s) || move.kind !== Kind.planned || move.ended === 1 || !reaches(ground, s)) return false;
  if (move.phase < Phase.taken || move.phase > Phase.closed) return false;
  if (endsWithout(ground, m)) return true;
  if (!peerFollows(ground, m)) {
    move.phase = Phase.over;
    return true;
  }
  if (endsLostHandOvers(ground, s) && (rowsGive(ground, s) & move.half) === 0) {
    move.phase = Phase.given;
    return true;
  }
  const right = move.half === OWN ? ownRight(site, s) : otherRight(site, s);
  const obeyedAt = move.phase === Phase.closed ? LET_GO : null;
  const drain = (site.drained & move.half) === 0 ? null : { epoch: move.number, obeyedAt };
  const copiedAt = [null, AFTER, BEFORE][move.copied] ?? null;
  if (rules.whyNotHandOver(right, drain, copiedAt, { site: siteName(s), epoch: move.number }) !== null) return false;
  if (move.copied !== 1) w.all.uncopied = 1;
  if (rules.letsGoFirst) givesAway(ground, m);
  else peerTakes(ground, m);
  move.phase = Phase.given;
  return true;
}

/** And the peer's database. */
export function tellsOfHandOver(ground: Ground, m: MoveIndex): boolean {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const move = w.move(m);
  if (!able(ground, s) || move.kind !== Kind.planned || move.phase !== Phase.given || !reaches(ground, s)) return false;
  if (!rules.letsGoFirst) givesAway(ground, m);
  else if (!peerFollows(ground, m)) {
    move.phase = Phase.over;
    return true;
  } else if (!peerTakes(ground, m)) return false;
  move.phase = Phase.served;
  return true;
}

function givesAway({ w }: Ground, m: MoveIndex): void {
  const site = w.sites[siteOfMove(m)];
  const { half } = w.move(m);
  if (half === OWN) site.ownHere = 0;
  else site.otherHere = 0;
  site.drained &= ~half;
}

/** `tandem.hand_over`. False: it does not hold the copy any more. */
function peerTakes(ground: Ground, m: MoveIndex): boolean {
  const { w, rules } = ground;
  const t = otherOf(siteOfMove(m));
  const peer = w.sites[t];
  const { half, number } = w.move(m);
  if (rules.takesWithCopy && (half === OWN ? peer.restored === 0 : isBehind(w, t))) return false;
  if (half === OWN) [peer.otherHere, peer.otherNumber] = [1, number];
  else takesOwn(w, t, number);
  knowsOfPeer(w, t, number);
  gains(ground, t);
  return true;
}

/** Its own database loses that commit, as a replica does that is promoted without it: the half is drained there, and its own. */
export function losesHandOver({ w }: Ground, m: MoveIndex): void {
  losesTransaction(w, siteOfMove(m));
  const site = w.sites[siteOfMove(m)];
  const { phase, half, number } = w.move(m);
  if (half === OWN) Object.assign(site, { ownHere: 1, ownNumber: number });
  else Object.assign(site, { otherHere: 1, otherNumber: number });
  site.drained |= half;
  site.lost = Loss.unheard;
  if (phase === Phase.given) w.move(m).phase = Phase.closed;
}

export function hasHandedOver({ w }: Ground, m: MoveIndex): boolean {
  const site = w.sites[siteOfMove(m)];
  const { kind, phase, half } = w.move(m);
  const given = kind === Kind.planned && (phase === Phase.given || phase === Phase.served);
  return given && site.epoch === m && (half === OWN ? site.ownHere : site.otherHere) === 0;
}

/** Its run ends without a hand-over, whatever it leaves. */
export function isGivenUp(ground: Ground, m: MoveIndex): boolean {
  const move = ground.w.move(m);
  if (move.kind !== Kind.planned || move.phase > Phase.closed || !isLive(ground, m)) return false;
  move.ended = 1;
  return true;
}

/** `open-site`: the drain is undone, under the same epoch. What is left of the move finds no drain any more. */
export function turnsBackPlanned(ground: Ground, m: MoveIndex): boolean {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const site = w.sites[s];
  const move = w.move(m);
  if (!able(ground, s) || move.phase < Phase['in stores'] || move.phase > Phase.given || move.ended === 1) return false;
  if (reaches(ground, s)) endsLostHandOvers(ground, s);
  // What was handed over is no longer this site's, by its own row.
  if (rules.turnsBackBeforeServing && (rowsGive(ground, s) & move.half) === 0) return false;
  if (superseded(ground, m)) return false;
  site.drained &= ~move.half;
  if (move.half === OWN) site.ownHere = 1;
  else site.otherHere = 1;
  move.ended = 1;
  gains(ground, s);
  return true;
}
