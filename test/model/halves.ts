import type { Epoch } from '../../workflows/model/epoch.ts';
import type { PeerHalf } from '../../workflows/model/opening.ts';
import { epochOf, OTHER, otherRight, OWN, ownRight, rowsGive, type Ground } from './ground.ts';
import { Loss, otherOf, siteName, type SiteIndex } from './world.ts';

/** What a site learns of halves that have gone to its peer. */

/** What the peer's database says of both halves. */
function toldBy({ w }: Ground, peer: SiteIndex): { epoch: Epoch; halves: PeerHalf[] } {
  const site = w.sites[peer];
  return {
    epoch: epochOf(w, site.epoch),
    halves: [
      { half: siteName(otherOf(peer)), ...otherRight(site, peer), open: true },
      { half: siteName(peer), ...ownRight(site, peer), open: true },
    ],
  };
}

/** It lets go of what it has handed over, and has lost that it did. Answers whether it has let go of anything. */
export function endsLostHandOvers(ground: Ground, s: SiteIndex): boolean {
  const { w, rules } = ground;
  const site = w.sites[s];
  const serves = rowsGive(ground, s);
  if (serves === 0) return false;
  const names = [siteName(s), siteName(otherOf(s))];
  const halves = names.filter((_, i) => (serves & (i + 1)) !== 0);
  const own = { site: siteName(s), epoch: epochOf(w, site.epoch), halves };
  const lost = rules.lostHandOvers(own, siteName(otherOf(s)), toldBy(ground, otherOf(s)));
  if (lost.includes(siteName(s))) Object.assign(site, { ownHere: 0, drained: site.drained & ~OWN });
  if (lost.includes(siteName(otherOf(s)))) Object.assign(site, { otherHere: 0, drained: site.drained & ~OTHER });
  if (lost.length > 0) site.lost = Loss['let go'];
  return lost.length > 0;
}

/** Where both sites' rows name their own site for a half: it may learn that the half is its peer's. What it had is salvaged. */
export function followsPeer(ground: Ground, s: SiteIndex): void {
  const { w, rules } = ground;
  const site = w.sites[s];
  const peerSite = otherOf(s);
  const peer = w.sites[peerSite];
  if (!(site.ownHere === 1 && peer.otherHere === 1) && !(site.otherHere === 1 && peer.ownHere === 1)) return;
  const [own, other] = [siteName(s), siteName(peerSite)];
  const halves = [
    { half: own, ...ownRight(site, s) },
    { half: other, ...otherRight(site, s) },
  ];
  const here = { epoch: epochOf(w, site.epoch), halves, unsalvaged: [] };
  const gone = rules.goneToPeer(here, other, toldBy(ground, peerSite));
  const number = w.numberOf(site.epoch);
  if (gone.includes(own)) Object.assign(site, { ownHere: 0, ownNumber: number });
  if (gone.includes(other)) Object.assign(site, { otherHere: 0, otherNumber: number });
}
