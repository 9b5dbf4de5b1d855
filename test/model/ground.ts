import type { Epoch } from '../../workflows/model/epoch.ts';
import type { Right } from '../../workflows/model/rights.ts';
import type { Rules } from './rules.ts';
import { Closing, otherOf, siteName, siteOfMove, type SiteIndex, type SiteView, type World } from './world.ts';

/** What everything in the model stands on: a world, the rules that are tried, and who has which right. */

export interface Ground {
  w: World;
  rules: Rules;
}

/** Halves as a site sees them: its own, and that of the other site. */
export const OWN = 1;
export const OTHER = 2;

const epochs = new Map<number, Epoch>();

/** What `move` claimed, as the product's rules take it. */
export function epochOf(w: World, move: number): Epoch {
  const number = w.numberOf(move);
  const key = move * 256 + number;
  let epoch = epochs.get(key);
  if (!epoch) {
    const site = move === 0 ? '-' : siteName(siteOfMove(move));
    epoch = { number, site, move: move === 0 ? 'provisioned' : `m${move}` };
    epochs.set(key, epoch);
  }
  return epoch;
}

export const ownRight = (site: SiteView, s: SiteIndex): Right => ({
  site: siteName(site.ownHere === 1 ? s : otherOf(s)),
  epoch: site.ownNumber,
});
export const otherRight = (site: SiteView, s: SiteIndex): Right => ({
  site: siteName(site.otherHere === 1 ? s : otherOf(s)),
  epoch: site.otherNumber,
});

/** The halves that a site's rows give it, whether it is closed or not. */
export function rowsGive({ w, rules }: Ground, s: SiteIndex): number {
  const site = w.sites[s];
  const number = w.numberOf(site.epoch);
  const own = rules.servesBy(ownRight(site, s), siteName(s), number) ? OWN : 0;
  return own + (rules.servesBy(otherRight(site, s), siteName(s), number) ? OTHER : 0);
}

/** Halves as the other site sees them: its own is the other one there. */
export const swapped = (halves: number): number => ((halves & OWN) << 1) | (halves >> 1);

/** A newer epoch than both stands. */
export function endsFork(site: SiteView): void {
  site.fork = 0;
  if (site.closed === Closing.fork) site.closed = Closing.open;
}
