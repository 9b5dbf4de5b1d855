import { gains } from './by-itself.ts';
import { endsFork, type Ground, OTHER, OWN } from './ground.ts';
import { turnsBackPlanned } from './planned.ts';
import { able, freeMove, nextNumber, reaches, superseded } from './planning.ts';
import { claimInStores, closesPeer, endsWithout, takeEpoch } from './steps.ts';
import { Closing, Kind, otherOf, Phase, siteOfMove, type MoveIndex, type SiteIndex } from './world.ts';

/** What operators say beside the steps of a failover: turn back, open by hand, pick a line. */

/** `turn-back`: a further epoch is claimed for the source; what is left of the move does nothing any more. */
export function turnsBack(ground: Ground, m: MoveIndex): boolean {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const site = w.sites[s];
  const move = w.move(m);
  if (move.kind === Kind.planned) return turnsBackPlanned(ground, m);
  const last = rules.turnsBackBeforeServing ? Phase.closed : Phase.served;
  if (!able(ground, s) || move.kind !== Kind.failover || move.phase < Phase['in stores'] || move.phase > last)
    return false;
  if (site.fork === 1 || superseded(ground, m)) return false;
  // It may have been handed the half meanwhile, by a planned move of the source; or still have it, under an older number.
  if (rules.turnsBackBeforeServing && site.otherHere === 1) return false;
  const slot = freeMove(ground, s);
  if (slot === null) return false;
  if (!rules.turnsBackUnderNewEpoch && site.epoch !== m) return false;
  Object.assign(w.move(slot), { number: nextNumber(ground, s), phase: Phase.declared, kind: Kind['turn-back'] });
  w.move(slot).phase = Phase.taken;
  if (!rules.turnsBackUnderNewEpoch) {
    w.move(slot).number = w.numberOf(m);
    return true;
  }
  claimInStores(ground, slot, false);
  takeEpoch(ground, slot);
  site.otherHere = 0;
  site.otherNumber = w.numberOf(slot);
  return true;
}

/** The second half of it: the source's database is given the further epoch, and its own half under it. */
export function reopens(ground: Ground, m: MoveIndex): boolean {
  const { w, rules } = ground;
  const s = siteOfMove(m);
  const peer = w.sites[otherOf(s)];
  const move = w.move(m);
  if (!able(ground, s) || move.kind !== Kind['turn-back'] || move.phase !== Phase.taken || !reaches(ground, s))
    return false;
  if (rules.turnsBackUnderNewEpoch) {
    if (endsWithout(ground, m)) return true;
    move.phase = Phase.over;
    if (!closesPeer(ground, m)) return true;
  }
  move.phase = Phase.over;
  peer.ownHere = 1;
  peer.ownNumber = w.numberOf(peer.epoch);
  if (peer.otherHere === 0) peer.otherNumber = peer.ownNumber; // It knows who serves the other half.
  gains(ground, otherOf(s));
  return true;
}

/** `site open --because`, by two operators: they stand in for a peer that does not answer, never against one that does. */
export function opensByWord(ground: Ground, s: SiteIndex): boolean {
  const { w, rules } = ground;
  const site = w.sites[s];
  if (site.database === 0 || (site.closed !== Closing['was-down'] && site.closed !== Closing['cut-off'])) return false;
  const answers = reaches(ground, s);
  if (rules.wordAsksPeer && answers) return false;
  site.closed = Closing.open;
  site.byWord = answers ? 0 : 1; // What they vouch for is what nobody else tells.
  if (rules.selfFence) site.seen = 1; // A word to open counts as a look, once.
  gains(ground, s);
  return true;
}

/**
 * Two operators pick the line of this site after a fork, which its peer has noted, too: it takes a further epoch with the rights
 * that it had, and leaves to its peer what it calls the peer's. The other site obeys that.
 */
export function picks(ground: Ground, s: SiteIndex): boolean {
  const { w } = ground;
  const site = w.sites[s];
  const slot = freeMove(ground, s);
  const noted = reaches(ground, s) && w.sites[otherOf(s)].fork === 1;
  if (!able(ground, s) || site.fork === 0 || slot === null || !noted) return false;
  const keeps = (site.ownHere === 0 ? OWN : 0) + (site.otherHere === 0 ? OTHER : 0);
  const number = nextNumber(ground, s);
  const after = w.numberOf(site.epoch);
  Object.assign(w.move(slot), { number, phase: Phase.over, kind: Kind.pick, keeps, follows: after });
  claimInStores(ground, slot, false);
  // What it serves by it is opened as after any closing: when the other site has obeyed, or by a word.
  if (site.closed === Closing.open || site.closed === Closing.fork) site.closed = Closing['cut-off'];
  takeEpoch(ground, slot);
  endsFork(site);
  return true;
}
