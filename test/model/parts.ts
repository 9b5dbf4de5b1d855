import { gains, lapse, watches } from './by-itself.ts';
import { type Ground } from './ground.ts';
import { movesOf, otherOf, Phase, type SiteIndex, type SiteView, type World } from './world.ts';

/** What happens to the parts of a site: they die, come back, and are put back to an older state. */

export function startDatabase(ground: Ground, s: SiteIndex): void {
  ground.w.sites[s].database = 1;
  gains(ground, s);
}

/** Yesterday it served its own half under the first epoch, and nothing had happened. */
export function putBack(ground: Ground, s: SiteIndex): void {
  const site = ground.w.sites[s];
  Object.assign(site, {
    database: 1,
    epoch: 0,
    ownHere: 1,
    ownNumber: 1,
    otherHere: 0,
    otherNumber: 1,
    drained: 0,
    closed: 0,
    restored: 0,
    alive: 0,
    seen: 0,
    fork: 0,
    lost: 0,
    stale: 0,
    byWord: 0,
    rolledBack: 1,
    confirmed: 0,
    confirmedUnder: 0,
    ripe: 0,
  });
  for (const m of movesOf(otherOf(s))) ground.w.move(m).copied = 0; // What was copied to it is gone.
  lapse(ground, s, { starts: false }); // It takes longer than a lease.
  gains(ground, s);
}

export function startService(ground: Ground, s: SiteIndex): void {
  const site = ground.w.sites[s];
  site.service = 1;
  lapse(ground, s, { starts: true });
  gains(ground, s);
}

export function stopWorker(site: SiteView): void {
  Object.assign(site, { worker: 0, confirmed: 0, confirmedUnder: 0, ripe: 0 });
}

export function startWorker(ground: Ground, s: SiteIndex): boolean {
  const site = ground.w.sites[s];
  site.worker = 1;
  if (ground.rules.selfFence) site.began = 1;
  watches(ground, s, { starts: true });
  return true;
}

/** A move claims in the stores within a transaction of its own database: without that it begins anew. */
export function losesTransaction(w: World, s: SiteIndex): true {
  for (const m of movesOf(s)) if (w.move(m).phase === Phase['in stores']) w.move(m).phase = Phase.declared;
  return true;
}

export function loseSite(ground: Ground, s: SiteIndex): void {
  const site = ground.w.sites[s];
  losesTransaction(ground.w, s);
  Object.assign(site, { database: 0, service: 0, vault: 0 });
  lapse(ground, s, { starts: true });
  stopWorker(site);
}
