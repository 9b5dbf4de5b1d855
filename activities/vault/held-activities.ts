import { damagedSeqs, type Check } from '../../workflows/model/checks.ts';
import { openBulk } from '../contacts/bulk.ts';
import type { Running } from '../running.ts';
import type { SiteSettings } from '../settings.ts';
import type { HeldResult, StandbyActivities } from '../types.ts';
import { limitOf, withPeer } from './activities.ts';
import { verifyHeld } from './held.ts';
import { limitReads } from './rate-limit.ts';

/** The rotation: what lies in this site's vault is opened again each day. */
export function createHeldActivities(
  settings: SiteSettings,
  running: () => Running,
): Pick<StandbyActivities, 'verify-held'> {
  const { site, signingKey, publicKeys } = settings;
  const bulk = openBulk(settings);
  return {
    async 'verify-held'({ customer }) {
      const { keys, peer: other, snapshots } = bulk.customer(customer);
      const { heartbeat, signal } = running();
      const limit = limitOf(snapshots);
      const checks = await withPeer(settings, bulk, customer, (peer) =>
        verifyHeld({
          own: bulk.vault,
          peer: limit ? limitReads(peer, limit, signal, () => undefined) : peer,
          database: bulk.database(customer),
          site,
          // What stands in for the peer comes first.
          sites: [other, site],
          customer,
          keys,
          signingKey,
          publicKeys,
          heartbeat,
          signal,
        }),
      );
      return checks.map(heldResult);
    },
  };
}

function heldResult({ of, snapshots, packs, bytes, damaged, repaired, strays }: Check): HeldResult {
  return {
    of,
    snapshots,
    packs,
    bytes,
    damaged: damaged.length,
    repaired: repaired.length,
    strays: strays.versions + strays.markers + strays.unknown,
    uncovered: [...damagedSeqs({ damaged })].toSorted((a, b) => b - a),
    because: damaged[0]?.because ?? null,
  };
}
