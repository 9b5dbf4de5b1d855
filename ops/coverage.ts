import type { SiteSettings } from '../activities/settings.ts';
import { coverage } from '../activities/vault/catalog.ts';
import type { Vault } from '../activities/vault/port.ts';
import { S3Vault } from '../activities/vault/s3.ts';
import { failureKind } from '../workflows/model/failures.ts';
import type { Coverage } from '../workflows/model/snapshots.ts';

/** The vaults as one site sees them: its own, and its peers' as long as they answer. */
export interface Vaults {
  own: Vault;
  peer: (site: string) => Vault | null;
  close: () => void;
}

export function openVaults(settings: SiteSettings): Vaults {
  const own = new S3Vault(settings.vault);
  const peers = new Map([...settings.peerVaults].map(([site, access]) => [site, new S3Vault(access)]));
  return {
    own,
    peer: (site) => peers.get(site) ?? null,
    close: () => [own, ...peers.values()].forEach((vault) => vault.close()),
  };
}

/** A question to a peer's vault is not worth more than this. */
export const PEER_LIMIT_MS = 4000;

export interface Direction extends Coverage {
  /** Null when the peer's vault did not answer: what it holds is then unknown. */
  peerAnswers: boolean;
}

/**
 * How a customer's two halves are protected, as this site can see it. A half that the peer serves is judged by this
 * site's own vault, and needs nobody; its own half by the peer's receipts, if that answers.
 */
export async function coverageOf(settings: SiteSettings, vaults: Vaults, customer: string): Promise<Direction[]> {
  const peer = settings.customers.get(customer)?.peer ?? '';
  const { publicKeys, site } = settings;
  const reach = AbortSignal.timeout(PEER_LIMIT_MS);
  const other = vaults.peer(peer);
  const theirs = async (): Promise<Direction> => ({
    ...(await coverage({ customer, site: peer, peer: site, publicKeys }, { source: null, cover: vaults.own })),
    peerAnswers: true,
  });
  const ours = async (): Promise<Direction> => {
    try {
      return {
        ...(await coverage({ customer, site, peer, publicKeys }, { source: vaults.own, cover: other }, reach)),
        peerAnswers: other !== null,
      };
    } catch (error) {
      if (failureKind(error) !== 'vault-unreachable' && !reach.aborted) throw error;
      return {
        ...(await coverage({ customer, site, peer, publicKeys }, { source: vaults.own, cover: null })),
        peerAnswers: false,
      };
    }
  };
  return Promise.all([ours(), theirs()]);
}
