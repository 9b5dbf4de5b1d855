import type { Right } from '../../workflows/model/rights.ts';
import { endsFork, epochOf, OTHER, otherRight, OWN, ownRight, rowsGive, swapped, type Ground } from './ground.ts';
import {
  Kind,
  movesOf,
  otherOf,
  Phase,
  siteName,
  siteOfMove,
  type MoveIndex,
  type SiteIndex,
  type World,
} from './world.ts';

/** What a site takes along when it obeys, and what it takes by what its peer's database says. */

/** It takes the epoch, and what the claim of a planned move leaves to it, by a bucket, or by the claimant's own database. */
export function follows(ground: Ground, s: SiteIndex, told: number): void {
  const { w, rules } = ground;
  const { kind, keeps, follows: after } = w.move(told);
  const byRows = rules.leavesBy === 'rows' && w.all.peers === 1 && w.sites[otherOf(s)].epoch === told;
  if (byRows) takesAlong(ground, s, told, { keeps: leftTo(w, s), after: w.numberOf(w.sites[s].epoch) });
  else if (kind === Kind.planned || kind === Kind.pick) takesAlong(ground, s, told, { keeps, after });
  else takesAlong(ground, s, told, { keeps: 0 });
}

/** What the peer's database says is this site's under its newest number: as the peer sees it, its own half (1), this site's (2). */
function leftTo(w: World, s: SiteIndex): number {
  const peer = w.sites[otherOf(s)];
  const number = w.numberOf(peer.epoch);
  const own = peer.ownHere === 0 && peer.ownNumber === number ? OWN : 0;
  return own + (peer.otherHere === 0 && peer.otherNumber === number ? OTHER : 0);
}

/** `tandem.take_along`, and the epoch. `after`: the number that the claim follows on; left out, nothing goes along. */
export function takesAlong(
  { w, rules }: Ground,
  s: SiteIndex,
  told: number,
  { keeps, after }: { keeps: number; after?: number },
): void {
  const site = w.sites[s];
  const [held, number] = [w.numberOf(site.epoch), w.numberOf(told)];
  if (keeps !== 0 || after !== undefined) {
    const names = [siteName(otherOf(s)), siteName(s)].filter((_, i) => (keeps & (i + 1)) !== 0);
    const claim = { ...epochOf(w, told), keeps: names, ...(after !== undefined && { follows: after }) };
    const stays = (half: SiteIndex, right: Right): boolean =>
      rules.keepsUnder(claim, { ...right, half: siteName(half) }, siteName(s), held);
    if (stays(s, ownRight(site, s))) takesOwn(w, s, number);
    if (stays(otherOf(s), otherRight(site, s))) site.otherNumber = number;
    knowsOfPeer(w, s, number);
  }
  site.epoch = told;
  site.rolledBack = site.drained = site.lost = 0;
  endsFork(site);
}

/** Its rows of that half are from before the peer handed it over: nothing was brought over them since. */
export function isBehind(w: World, s: SiteIndex): boolean {
  const { ownHere, ownNumber } = w.sites[s];
  const handed = movesOf(otherOf(s))
    .map((m) => w.move(m))
    .filter(
      ({ kind, half, phase }) =>
        kind === Kind.planned && half === OTHER && (phase === Phase.given || phase === Phase.served),
    );
  return ownHere === 1 && handed.some((move) => ownNumber < move.number);
}

/** It is given its own half, under that number. */
export function takesOwn(w: World, s: SiteIndex, number: number): void {
  const site = w.sites[s];
  site.stale = isBehind(w, s) ? 1 : 0;
  [site.ownHere, site.ownNumber] = [1, number];
}

/** What its peer serves it knows under the peer's number. */
export function knowsOfPeer(w: World, s: SiteIndex, number: number): void {
  const site = w.sites[s];
  if (site.ownHere === 0) site.ownNumber = Math.max(site.ownNumber, number);
  if (site.otherHere === 0) site.otherNumber = Math.max(site.otherNumber, number);
}

/** It takes what the peer's database says is its own, under the very epoch that both hold and that the peer has claimed. */
export function takesHandedOver(ground: Ground, s: SiteIndex): void {
  const { w, rules } = ground;
  const site = w.sites[s];
  if (!rules.takesHandedOver || site.epoch === 0 || siteOfMove(site.epoch) === s) return;
  if (site.epoch !== w.sites[otherOf(s)].epoch) return;
  const left = leftTo(w, s) & ~swapped(rowsGive(ground, s));
  const holds = site.restored === 1 || !rules.takesWithCopy;
  const ownHolds = !isBehind(w, s) || !rules.takesWithCopy;
  if ((left & OWN) !== 0 && holds) [site.otherHere, site.otherNumber] = [1, w.numberOf(site.epoch)];
  if ((left & OTHER) !== 0 && ownHolds) takesOwn(w, s, w.numberOf(site.epoch));
  if (left !== 0) knowsOfPeer(w, s, w.numberOf(site.epoch));
}

/** A move that has ended without a hand-over leaves its drain to the worker. */
export function undoesForgotten({ w, rules }: Ground, s: SiteIndex): void {
  const site = w.sites[s];
  const move = site.epoch !== 0 && siteOfMove(site.epoch) === s ? w.move(site.epoch) : null;
  // One that has served them has come to its end, too.
  const ended = move !== null && (move.ended === 1 || move.phase === Phase.served);
  if (site.fork === 0 && site.drained !== 0 && ended && rules.undoesForgottenDrains) site.drained = 0;
}

/** With its own epoch: that the peer may serve what it keeps, this site's database says under the new number. */
export function vouchesForPeer(w: World, m: MoveIndex): void {
  const site = w.sites[siteOfMove(m)];
  const { keeps } = w.move(m);
  if ((keeps & OWN) !== 0 && site.ownHere === 0) site.ownNumber = w.numberOf(m);
  if ((keeps & OTHER) !== 0 && site.otherHere === 0) site.otherNumber = w.numberOf(m);
}
