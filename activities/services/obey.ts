import { compareEpoch, type Epoch } from '../../workflows/model/epoch.ts';
import { failureKind } from '../../workflows/model/failures.ts';
import type { Database } from '../contacts/database.ts';
import { withPeerVault, within } from '../probes/peer.ts';
import type { SiteSettings, VaultAccess } from '../settings.ts';
import { readClaims } from '../vault/epochs.ts';

/** A site that starts does not wait longer than this for a peer, or a witness, that may be gone. */
const LIMIT_MS = 4000;

/**
 * Takes over the newer epoch that the peer has claimed while this site was away, by the peer's vault or by the witness.
 * Every serving row here is then older, and this site is closed: a site that returns never serves beside the one that took
 * its users over. Claims of this site's own are for the move that made them. Answers that epoch, or null when there is none
 * or nobody answers.
 */
export async function obeyNewerEpoch(
  settings: SiteSettings,
  customer: string,
  database: Database,
): Promise<Epoch | null> {
  const peer = settings.customers.get(customer)?.peer ?? '';
  const stores = [settings.peerVaults.get(peer), settings.witness].filter((access) => access != null);
  const found = await Promise.all(stores.map((access) => newestOf(access, settings, customer, peer)));
  const claim = found.reduce<Epoch | null>((best, one) => (one && (best?.number ?? 0) < one.number ? one : best), null);
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

/** The newest claim of the peer that a store tells; null when it tells none, or not in time. */
async function newestOf(
  access: VaultAccess,
  { publicKeys }: SiteSettings,
  customer: string,
  peer: string,
): Promise<Epoch | null> {
  const key = publicKeys.get(peer);
  if (!key) return null;
  try {
    return await within(LIMIT_MS, `claims in vault ${access.site}`, (signal) =>
      withPeerVault(
        access,
        async (vault) => (await readClaims(vault, customer, { publicKeys: new Map([[peer, key]]), signal })).newest,
      ),
    );
  } catch (error) {
    if (['vault-unreachable', 'source-unreachable'].includes(failureKind(error) ?? '')) return null;
    throw error;
  }
}
