import type { Epoch } from '../../workflows/model/epoch.ts';
import type { Line } from '../../workflows/model/fork.ts';
import { follows, takesHandedOver, undoesForgotten } from './following.ts';
import { epochOf, OTHER, otherRight, ownRight, rowsGive, type Ground } from './ground.ts';
import { endsLostHandOvers, followsPeer } from './halves.ts';
import type { Half } from './rules.ts';
import {
  Closing,
  Loss,
  otherOf,
  Phase,
  siteName,
  siteOfMove,
  sites,
  Way,
  type SiteIndex,
  type World,
} from './world.ts';

/** What a site does by itself: its service reads its rights, its worker watches, obeys, closes and opens. */

/** What a service that reads now may believe. */
function mayBelieve(ground: Ground, s: SiteIndex): number {
  const { w, rules } = ground;
  const site = w.sites[s];
  if (site.database === 0 || site.closed !== Closing.open) return 0;
  if (rules.selfFence && rules.closesCutOff === 'service' && site.seen === 0) return 0;
  if (site.lapsed === 1 && site.alive === 0) return 0;
  return rowsGive(ground, s) & ~site.drained;
}

/** The service reads. A database that is away tells it nothing: it goes on with what it has read before. */
export function reads(ground: Ground, s: SiteIndex): void {
  const site = ground.w.sites[s];
  if (site.service === 0 || site.database === 0) return;
  site.belief = mayBelieve(ground, s);
  if (site.belief === 0) site.byWord = 0; // What came of the word is over.
  if (site.alive === 1) site.lapsed = 0;
}

/**
 * After each change: what the service gains is read at once, and what it loses only when it reads, or its lease is over. To gain
 * late harms nobody, so that this leaves out no order in which two sites serve.
 */
export function gains(ground: Ground, s: SiteIndex): void {
  const site = ground.w.sites[s];
  if (site.service === 0 || site.database === 0) return;
  site.belief |= mayBelieve(ground, s);
  if (site.alive === 1) site.lapsed = 0;
}

/** A service has nothing to believe any more. */
export function lapse({ w, rules }: Ground, s: SiteIndex, { starts }: { starts: boolean }): void {
  const site = w.sites[s];
  site.belief = 0;
  if (rules.startsClosed && (starts || rules.wantsLifeAfterLapse)) site.lapsed = 1;
}

/** So much time passes that every service has read, or has nothing to believe: the lease, and a second. */
export function leasePasses(ground: Ground): void {
  const { w, rules } = ground;
  for (const s of sites) {
    const site = w.sites[s];
    if (site.service === 0) continue;
    if (site.database === 1) reads(ground, s);
    else if (rules.beliefRunsOut) lapse(ground, s, { starts: false });
  }
  for (const site of w.sites) {
    if (site.confirmed !== 0) site.ripe = 1;
    if (site.lost === Loss['let go']) site.lost = Loss.listed;
    if (site.lost === Loss.heard) site.lost = Loss.nothing;
  }
  for (const move of w.moves) if (move.phase === Phase.closing) move.phase = Phase.closed;
}

/** Which stores of the peer, and whether the witness, answer this site now. */
function looks({ w, rules }: Ground, s: SiteIndex): { database: boolean; anybody: boolean } {
  const peer = w.sites[otherOf(s)];
  const linked = w.all.peers === 1;
  const database = linked && peer.database === 1;
  const vault = linked && peer.vault === 1;
  const anything = rules.seesBy === 'anything' && w.all.peers !== 0 && peer.service === 1;
  return { database, anybody: database || vault || anything || w.sites[s].toWitness === 1 };
}

/** The newest epoch of its peer that a site sees; 0: it sees none. */
export function seenOfPeer({ w, rules }: Ground, s: SiteIndex): number {
  const site = w.sites[s];
  const peer = w.sites[otherOf(s)];
  const linked = w.all.peers === 1;
  const own = rules.obeysOwnClaims ? null : s;
  return [
    linked && peer.database === 1 && siteOfMove(peer.epoch) !== own ? peer.epoch : 0,
    linked && peer.vault === 1 ? peer.inVault : 0,
    site.toWitness === 1 ? peer.inWitness : 0,
  ].reduce((best, one) => (w.numberOf(one) > w.numberOf(best) ? one : best));
}

export function obeys(ground: Ground, s: SiteIndex): void {
  const { w, rules } = ground;
  const site = w.sites[s];
  const peer = w.sites[otherOf(s)];
  const told = seenOfPeer(ground, s);
  if (told === 0) return;
  const does = rules.obey(epochOf(w, site.epoch), epochOf(w, told));
  if (does === 'obey') follows(ground, s, told);
  else if (does === 'fork') notesFork(ground, s, looks(ground, s).database && peer.fork === 1);
}

const lineOf = (w: World, move: number): Line => {
  const { site, move: name } = epochOf(w, move);
  return { site, move: name };
};

/** It closes, and serves none of the other half before the fork has ended; its own, once the peer has noted it as well. */
function notesFork({ w, rules }: Ground, s: SiteIndex, notedThere: boolean): void {
  const site = w.sites[s];
  const peer = w.sites[otherOf(s)];
  const here = { number: w.numberOf(site.epoch), here: lineOf(w, site.epoch), there: lineOf(w, peer.epoch) };
  const told = { number: w.numberOf(peer.epoch), here: here.there, there: here.here };
  if (rules.forkHoldsBack) site.drained |= OTHER;
  else site.otherNumber = 0; // Behind every epoch.
  if (site.fork === 0 && site.closed === Closing.open) site.closed = Closing.fork;
  const may = rules.whomInFork(here, notedThere ? told : null);
  if (may === 'own-half' && site.closed === Closing.fork) site.closed = Closing.open;
  site.fork = 1;
}

/** One round of the worker: what it sees, obeys, signs, and hears of its peer. `starts`: its first. */
export function watches(ground: Ground, s: SiteIndex, { starts = false } = {}): boolean {
  const { w, rules } = ground;
  const site = w.sites[s];
  if (site.worker !== 1 || site.database === 0) return false;
  const seen = looks(ground, s);
  obeys(ground, s);
  const serves = rowsGive(ground, s) !== 0 && site.closed === Closing.open;
  // What was too long ago is written down as a closing, in the transaction that makes it fresh again.
  if (site.alive === 0 && rules.startsClosed && serves && (starts || rules.looksAtLastSign))
    site.closed = Closing['was-down'];
  site.alive = 1;
  if (rules.selfFence && seen.anybody) {
    if (site.seen === 0 && rules.closesCutOff === 'service' && serves) site.closed = Closing['cut-off'];
    site.seen = 1;
    site.began = 0;
  }
  if (seen.database) hearsOfLoss(ground, s);
  undoesForgotten(ground, s);
  if (seen.database) takesHandedOver(ground, s);
  hears(ground, s, seen.database);
  if (seen.database) followsPeer(ground, s);
  claimsAgain(ground, s);
  gains(ground, s);
  return true;
}

/** What it had lost of a hand-over it hears of its peer, or that there was none. */
function hearsOfLoss(ground: Ground, s: SiteIndex): void {
  const { w } = ground;
  const site = w.sites[s];
  if (endsLostHandOvers(ground, s)) return;
  // While the peer has yet to obey a further claim of this site's, it says nothing of this one.
  if (site.lost === Loss.unheard && w.sites[otherOf(s)].epoch === site.epoch) site.lost = Loss.heard;
}

/** What the peer's database says of what this site may open. Acted upon later: the worker may stand still in between. */
function hears(ground: Ground, s: SiteIndex, answers: boolean): void {
  const { w, rules } = ground;
  const site = w.sites[s];
  const peerSite = otherOf(s);
  const peer = w.sites[peerSite];
  const before = site.confirmed === 0 ? null : site.confirmedUnder;
  site.confirmed = site.confirmedUnder = 0;
  const gives = rowsGive(ground, s);
  const closedItself = site.closed === Closing['was-down'] || site.closed === Closing['cut-off'];
  const names = [siteName(s), siteName(peerSite)];
  if (closedItself) {
    const halves: Half[] = [
      { half: names[0] ?? '', right: otherRight(peer, peerSite) },
      { half: names[1] ?? '', right: ownRight(peer, peerSite) },
    ];
    const own = {
      site: siteName(s),
      epoch: epochOf(w, site.epoch),
      halves: names.filter((_, i) => (gives & (i + 1)) !== 0),
    };
    const said = { site: siteName(peerSite), epoch: epochOf(w, peer.epoch), halves };
    if (rules.opens(own, answers ? said : null)) site.confirmed = 1;
  }
  if (site.confirmed !== 0) site.confirmedUnder = site.epoch;
  if (site.confirmed === 0 || site.confirmedUnder !== before) site.ripe = 0;
}

/** The transaction that opens the site, by what was heard. */
export function opensNow(ground: Ground, s: SiteIndex): boolean {
  const { w, rules } = ground;
  const site = w.sites[s];
  if (site.worker !== 1 || site.database === 0 || site.confirmed === 0) return false;
  if (rules.opensAfterLease && site.ripe === 0) return false;
  const same = site.epoch === site.confirmedUnder;
  site.confirmed = site.confirmedUnder = site.ripe = 0;
  if (!same && rules.opensIfUnchanged) return true;
  site.closed = Closing.open;
  site.byWord = 0;
  if (!same) {
    site.ownHere = 1;
    site.ownNumber = w.numberOf(site.epoch);
  }
  gains(ground, s);
  return true;
}

/** Claims that a store did not hold because it was away are written there with the lines of the journal that follow. */
function claimsAgain({ w, rules }: Ground, s: SiteIndex): void {
  const site = w.sites[s];
  const { epoch } = site;
  if (epoch === 0 || siteOfMove(epoch) !== s) return;
  const offered = epochOf(w, epoch);
  if (site.vault === 1 && rules.answerClaim(heldIn(w, site.inVault), offered) === 'taken') site.inVault = epoch;
  if (site.toWitness === 1 && rules.answerClaim(inWitness(w), offered) === 'taken') site.inWitness = epoch;
  if (site.toZone === 1 && rules.answerClaim(heldIn(w, w.all.inZone), offered) === 'taken') w.all.inZone = epoch;
}

export const heldIn = (w: World, move: number): Epoch | null => (move === 0 ? null : epochOf(w, move));

/** The newest claim in the witness, of whichever site. */
export function inWitness(w: World): Epoch | null {
  const [east, west] = [w.sites[0].inWitness, w.sites[1].inWitness];
  return heldIn(w, w.numberOf(east) >= w.numberOf(west) ? east || west : west);
}

/** More than five minutes and the self-fence time pass: whoever lives has looked around meanwhile, `first` before the other. */
export function longTimePasses(ground: Ground, first: SiteIndex): void {
  const { w, rules } = ground;
  // A claim that comes into the witness only now has not stood there for all that time.
  const stood = w.sites.map((site) => site.inWitness);
  for (const s of [first, otherOf(first)]) {
    const site = w.sites[s];
    const watched = watches(ground, s);
    if (!watched) site.alive = 0;
    if (!rules.selfFence || (watched && looks(ground, s).anybody)) continue;
    if (watched && site.began === 1 && rules.countsFrom === 'start') {
      site.began = 0;
      continue;
    }
    if (rules.closesCutOff === 'service') site.seen = 0;
    if (watched && rules.closesCutOff !== 'nobody' && site.closed === Closing.open && rowsGive(ground, s) !== 0)
      site.closed = Closing['cut-off'];
  }
  leasePasses(ground);
  if (!rules.selfFence) return;
  w.moves.forEach((move, i) => {
    const byWords = move.by === Way.statement || move.by === Way.observers;
    const told = !rules.waitsForWitness || stood[siteOfMove(i + 1)] === i + 1;
    if (move.phase === Phase.closed && byWords && told) move.waited = 1;
  });
}
