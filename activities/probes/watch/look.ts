import { compareEpoch } from '../../../workflows/model/epoch.ts';
import { verdictOf } from '../../../workflows/model/verdict.ts';
import type { Fork } from '../../../workflows/model/watch-news.ts';
import { newestClaim, type PeerClaim } from '../../services/obey.ts';
import { aheadOf, forkOf } from './claims.ts';
import type { CustomerEyes, Eyes } from './eyes.ts';
import { lookAtPeer, type Manner, type Peer } from './look-at-peer.ts';
import { lookAtSelf, type Self } from './look-at-self.ts';
import type { Observer, Seen } from './seen.ts';

/** All that one look at a customer's peer and at this site has found. */
export interface Round {
  seen: Seen;
  peer: Peer;
  self: Self;
  observers: Observer[];
  /** Why each observer is not sure; for people. */
  because: Record<string, string>;
  /** The newest epoch that the peer has claimed where this site believes it; null when none was read. */
  claim: PeerClaim | null;
  fork: Fork | null;
  /** Why the zone is ahead of all that sites have signed; null while it is not. */
  zoneAhead: string | null;
}

/**
 * Looks once at the peer of a customer, and at this site: all at once, read-only, within OBSERVER_LIMIT_MS whatever hangs.
 * Rejects only when it is told to end.
 */
export async function lookAround(eyes: Eyes, own: CustomerEyes, manner: Manner, signal: AbortSignal): Promise<Round> {
  const [peer, self] = await Promise.all([lookAtPeer(eyes, own, manner, signal), lookAtSelf(eyes, own, signal)]);
  signal.throwIfAborted();
  const observers = peer.told.map(({ observer }) => observer);
  const claim = newestClaim(peer.claims);
  const { database, rows, epoch, witness, zone } = peer;
  const inDatabase = epoch && { ...epoch, store: 'database of the peer' };
  const inZone = zone && { ...zone, store: 'zone' };
  // A peer that holds this site's own claim, or was seen to, has no other line: what was claimed elsewhere of that number came to
  // nothing, stays there for good, and is no news. What its database holds now is another matter.
  const follows = epoch !== null && self.epoch !== null && compareEpoch(self.epoch, epoch) === 'same';
  const elsewhere = follows || self.followed ? [] : peer.claims;
  const seenFork = forkOf(self.epoch, [inDatabase, ...elsewhere]);
  return {
    seen: {
      peer: {
        site: own.customer.peer,
        verdict: verdictOf(observers),
        database,
        rows,
        epoch,
        tells: rows !== null || peer.vaultRead,
      },
      witness,
      own: { database: self.database, epoch: self.epoch, clients: self.clients, vault: self.vault },
      fork: seenFork,
    },
    peer,
    self,
    observers,
    because: Object.fromEntries(
      peer.told.flatMap(({ observer, because }) => (because === null ? [] : [[observer.name, because]])),
    ),
    claim,
    // One that was noted stands, also while nobody else is seen.
    fork: self.fork ?? seenFork ?? forkOf(self.epoch, [inZone]),
    zoneAhead: aheadOf(zone, [self.epoch, claim, epoch], eyes.settings.site),
  };
}
