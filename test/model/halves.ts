import type { Epoch } from '../../workflows/model/epoch.ts';
import type { Right } from '../../workflows/model/rights.ts';
import type { Rules } from './rules.ts';
import { otherOf, siteName, siteOfMove, type SiteIndex, type SiteView, type World } from './world.ts';

/** What a site's rows say of the two halves, and what its peer's tell it. */

export interface Ground {
  w: World;
  rules: Rules;
}

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

/** Where both sites' rows name their own site for a half: it may learn that the half is its peer's. What it had is salvaged. */
export function follows({ w, rules }: Ground, s: SiteIndex): void {
  const site = w.sites[s];
  const peerSite = otherOf(s);
  const peer = w.sites[peerSite];
  if (!(site.ownHere === 1 && peer.otherHere === 1) && !(site.otherHere === 1 && peer.ownHere === 1)) return;
  const [own, other] = [siteName(s), siteName(peerSite)];
  const halves = [
    { half: own, ...ownRight(site, s) },
    { half: other, ...otherRight(site, s) },
  ];
  const told = [
    { half: own, ...otherRight(peer, peerSite), open: true },
    { half: other, ...ownRight(peer, peerSite), open: true },
  ];
  const here = { epoch: epochOf(w, site.epoch), halves, unsalvaged: [] };
  const gone = rules.goneToPeer(here, other, { epoch: epochOf(w, peer.epoch), halves: told });
  const number = w.numberOf(site.epoch);
  if (gone.includes(own)) Object.assign(site, { ownHere: 0, ownNumber: number });
  if (gone.includes(other)) Object.assign(site, { otherHere: 0, otherNumber: number });
}
