import { epochOf, otherRight, ownRight, type Ground } from './ground.ts';
import { otherOf, siteName, type SiteIndex } from './world.ts';

/** What a site learns of halves that have gone to its peer. */

/** Where both sites' rows name their own site for a half: it may learn that the half is its peer's. What it had is salvaged. */
export function followsPeer({ w, rules }: Ground, s: SiteIndex): void {
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
