import { verdictOf } from '../../workflows/model/verdict.ts';
import { gains, heldIn, inWitness, obeys, seenOfPeer } from './by-itself.ts';
import { endsFork, epochOf, otherRight, ownRight, type Ground } from './ground.ts';
import { vouchesForPeer } from './following.ts';
import { endsLostHandOvers } from './halves.ts';
import { able, observers, reaches } from './planning.ts';
import { Kind, otherOf, Phase, siteName, siteOfMove, Way, type MoveIndex } from './world.ts';

/** The steps of a failover, split where its worker can die or freeze between two effects. */

/** `advance-epoch` claims in the stores that it reaches; it may die when it has claimed in the first of them. */
export function claims(ground: Ground, m: MoveIndex, { dies }: { dies: boolean }): boolean {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const site = w.sites[s];
  const peer = w.sites[otherOf(s)];
  const move = w.move(m);
  if (!able(ground, s) || move.phase !== Phase.declared || move.kind !== Kind.failover) return false;
  if (dies && (site.vault === 0 || site.inVault === m)) return false;
  if (move.dead === 1 && verdictOf(observers(ground, s)) !== 'dead') return false; // `world-worse`: planned anew.
  const offered = epochOf(w, m);
  const stands = [
    rules.answerClaim(epochOf(w, site.epoch), offered),
    // There it may be this very claim, obeyed already.
    reaches(ground, s) && peer.epoch !== m ? rules.answerClaim(epochOf(w, peer.epoch), offered) : 'taken',
    w.all.peers === 1 && peer.vault === 1 ? rules.answerClaim(heldIn(w, peer.inVault), offered) : 'taken',
  ];
  if (stands.some((answer) => answer !== 'taken')) {
    move.phase = Phase.over;
    return true;
  }
  if (reaches(ground, s)) endsLostHandOvers(ground, s);
  // As if it obeyed: what it served before does not go along.
  if (!rules.knowsItsRights(w.numberOf(site.epoch), w.numberOf(seenOfPeer(ground, s)))) obeys(ground, s);
  move.phase = claimInStores(ground, m, dies) ? Phase['in stores'] : Phase.over;
  if (dies) {
    move.phase = Phase.declared;
    site.worker = 0;
  }
  return true;
}

/** False when one of them refuses. */
export function claimInStores({ w, rules }: Ground, m: MoveIndex, onlyVault: boolean): boolean {
  const site = w.sites[siteOfMove(m)];
  const offered = epochOf(w, m);
  let refused = false;
  const offers = (held: number): boolean => {
    const answer = rules.answerClaim(heldIn(w, held), offered);
    if (answer === 'taken' && held !== 0 && w.numberOf(held) > offered.number) w.all.regressed = 1;
    if (answer === 'refused' || answer === 'fork') refused = true;
    return answer === 'taken';
  };
  if (site.vault === 1 && offers(site.inVault)) site.inVault = m;
  if (onlyVault) return !refused;
  const newest = inWitness(w);
  if (site.toWitness === 1) {
    const answer = rules.answerClaim(newest, offered);
    if (answer === 'taken') {
      if (newest && newest.number > offered.number) w.all.regressed = 1;
      site.inWitness = m;
    } else if (answer !== 'same') refused = true;
  }
  if (site.toZone === 1 && offers(w.all.inZone)) w.all.inZone = m;
  return !refused;
}

/** The end of `advance-epoch`: its own database. The worker may have stood still between the stores and this. */
export function takes(ground: Ground, m: MoveIndex): boolean {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const site = w.sites[s];
  const move = w.move(m);
  if (!able(ground, s) || move.phase !== Phase['in stores']) return false;
  if (rules.answerClaim(epochOf(w, site.epoch), epochOf(w, m)) !== 'taken') {
    move.phase = Phase.over;
    return true;
  }
  takeEpoch(ground, m);
  move.phase = Phase.taken;
  return true;
}

export function takeEpoch(ground: Ground, m: MoveIndex): void {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const site = w.sites[s];
  const held = w.numberOf(site.epoch);
  const number = w.numberOf(m);
  if (number < held) w.all.regressed = 1;
  if (rules.goesAlong(ownRight(site, s), siteName(s), held)) site.ownNumber = number;
  if (rules.goesAlong(otherRight(site, s), siteName(s), held)) site.otherNumber = number;
  if (w.move(m).kind === Kind.planned || w.move(m).kind === Kind.pick) vouchesForPeer(w, m);
  site.epoch = m;
  site.rolledBack = site.drained = 0;
  gains(ground, s);
}

/** `fence-site`: the source's own database, else what people signed or observers found. */
export function fences(ground: Ground, m: MoveIndex): boolean {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const move = w.move(m);
  if (!able(ground, s) || move.phase !== Phase.taken || move.kind !== Kind.failover) return false;
  if (endsWithout(ground, m)) return true;
  const reached = reaches(ground, s);
  if (reached && !closesPeer(ground, m)) {
    move.phase = Phase.over;
    return true;
  }
  const source = reached ? { closed: 'database' as const } : { closed: null, silent: true };
  const word = {
    statement: move.stated === 1 ? 'stated' : null,
    verdict: move.dead === 1 ? 'dead' : 'unknown',
  } as const;
  const by = rules.confirmedBy(source, word);
  if (by === null) return false; // Held: `isolation-unknown`.
  move.by = by === 'service' ? Way.database : Way[by];
  move.phase = by === 'database' && rules.waitsForLease ? Phase.closing : Phase.closed;
  return true;
}

/** `tandem.fence` in the peer's database. */
export function closesPeer({ w, rules }: Ground, m: MoveIndex): boolean {
  const peer = w.sites[otherOf(siteOfMove(m))];
  const answer = rules.answerClaim(epochOf(w, peer.epoch), epochOf(w, m));
  if (answer === 'refused' || answer === 'fork') return false;
  if (answer === 'taken') {
    if (w.numberOf(m) < w.numberOf(peer.epoch)) w.all.regressed = 1;
    peer.epoch = m;
    peer.rolledBack = peer.drained = peer.lost = 0;
    endsFork(peer);
  }
  return true;
}

/** Another epoch stands in the move's own database: it ends, `superseded`. */
export function endsWithout({ w, rules }: Ground, m: MoveIndex): boolean {
  if (!rules.actsUnderItsEpoch || w.sites[siteOfMove(m)].epoch === m) return false;
  w.move(m).phase = Phase.over;
  return true;
}

export function restores(ground: Ground, m: MoveIndex): boolean {
  const { w } = ground;
  const s = siteOfMove(m);
  const { phase, kind } = w.move(m);
  if (!able(ground, s) || kind !== Kind.failover || phase < Phase.taken || phase > Phase.closed) return false;
  if (endsWithout(ground, m)) return true;
  w.sites[s].restored = 1;
  return true;
}

/** `serve-users`: the point of no return. */
export function serves(ground: Ground, m: MoveIndex): boolean {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const site = w.sites[s];
  const move = w.move(m);
  if (!able(ground, s) || move.phase !== Phase.closed || move.kind !== Kind.failover) return false;
  if (rules.forkFreezes && site.fork === 1) return false;
  if (rules.servesAfterRestore && site.restored === 0) return false;
  const byWords = move.by !== Way.database;
  if (rules.selfFence && byWords && rules.waitsForSelfFence && move.waited === 0) return false;
  // A source that lived has claimed a newer epoch there meanwhile, and keeps its users by it.
  const stands = site.toWitness === 1 && rules.answerClaim(inWitness(w), epochOf(w, m)) === 'same';
  if (rules.selfFence && byWords && rules.asksWitnessAgain && !stands) return false;
  if (endsWithout(ground, m)) return true;
  const number = w.numberOf(rules.actsUnderItsEpoch ? m : site.epoch);
  if (!rules.mayTake(otherRight(site, s), { site: siteName(s), epoch: number })) {
    move.phase = Phase.over;
    return true;
  }
  site.otherHere = 1;
  site.otherNumber = number;
  move.phase = Phase.served;
  gains(ground, s);
  return true;
}
