import { compareEpoch, type Epoch } from '../../workflows/model/epoch.ts';
import { failureKind } from '../../workflows/model/failures.ts';
import type { Database } from '../contacts/database.ts';
import { withPeerVault } from '../probes/peer.ts';
import type { SiteSettings } from '../settings.ts';
import { newestClaim } from '../vault/epochs.ts';

/** A site that starts does not wait longer than this for a peer that may be gone. */
const PEER_LIMIT_MS = 4000;

/**
 * Takes over the newer epoch that the peer has claimed while this site was away. Every serving row here is then older,
 * and this site is closed: a site that returns never serves beside the one that took its users over. Answers that epoch,
 * or null when there is none or the peer is silent.
 */
export async function obeyNewerEpoch(
  settings: SiteSettings,
  customer: string,
  database: Database,
): Promise<Epoch | null> {
  const peer = settings.customers.get(customer)?.peer;
  const access = peer === undefined ? undefined : settings.peerVaults.get(peer);
  if (!access) return null;
  const claim = await withPeerVault(access, async (vault) => {
    try {
      return await newestClaim(vault, settings, customer, AbortSignal.timeout(PEER_LIMIT_MS));
    } catch (error) {
      if (failureKind(error) === 'vault-unreachable') return null;
      throw error;
    }
  });
  if (!claim) return null;
  return database.transaction(async (client) => {
    const { rows } = await client.query<{ number: string; site: string; move: string }>(
      'select number, site, move from tandem.epoch where customer = $1 for update',
      [customer],
    );
    const [row] = rows;
    const held = row ? { number: Number(row.number), site: row.site, move: row.move } : null;
    if (compareEpoch(held, claim) !== 'newer') return null;
    await client.query('update tandem.epoch set number = $2, site = $3, move = $4, at = now() where customer = $1', [
      customer,
      claim.number,
      claim.site,
      claim.move,
    ]);
    return claim;
  });
}
