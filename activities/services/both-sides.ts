import { failure } from '../../workflows/model/failures.ts';
import type { Reconciliation } from '../../workflows/model/planned-move.ts';
import { liveSurvivor } from '../contacts/survivors.ts';
import { diffThreeWays, type UserMerge } from '../contacts/three-way.ts';
import { withPeerVault } from '../probes/peer.ts';
import type { Manifest } from '../vault/manifest.ts';
import { openRecords, openSnapshot, type OpenRecords } from '../vault/open.ts';
import type { Vault } from '../vault/port.ts';
import { openSalvage, type Salvage } from '../vault/open-salvage.ts';
import type { LongWork } from './restore.ts';
import type { OwnSite } from './site.ts';

/** The versions that a reconciliation names, open: every byte is checked as it is read. */
export interface BothSides {
  salvage: OpenRecords & { salvage: Salvage };
  /** Its manifest is null when both sides began with nothing. */
  base: OpenRecords & { manifest: Manifest | null };
}

/** Opens what a plan has named, where it said that it lies; another document than people signed is `snapshot-damaged`. */
export async function withBothSides<T>(
  site: OwnSite,
  id: string,
  { salvage: { epoch, manifest }, base }: Reconciliation,
  signal: AbortSignal,
  work: (sides: BothSides) => Promise<T>,
): Promise<T> {
  const { peer, keys } = site.customer(id);
  const { publicKeys } = site.settings;
  const access = site.settings.peerVaults.get(peer);
  if (!access) throw failure('input-invalid', `vault of ${peer}: no credentials for it are configured`);
  return withPeerVault(access, async (vault) => {
    const common = { customer: id, keys, publicKeys, signal };
    const salvage = await openSalvage({ ...common, vault, site: peer, expectDocument: manifest }, epoch);
    return work({ salvage, base: await openBase(site, common, base, vault) });
  });
}

async function openBase(
  site: OwnSite,
  {
    customer,
    ...common
  }: Pick<Parameters<typeof openSnapshot>[0], 'keys' | 'publicKeys' | 'signal'> & { customer: string },
  base: Reconciliation['base'],
  peer: Vault,
): Promise<BothSides['base']> {
  if (!base) {
    const none = { customer, site: site.settings.site, gen: 0, packs: [] };
    return { manifest: null, ...openRecords({ ...common, vault: site.vault }, none) };
  }
  const vault = base.from === 'own-vault' ? site.vault : peer;
  return openSnapshot({ ...common, vault, id: base.snapshot, expectManifest: base.manifest });
}

/** Users of these halves who are not the same in base, salvage and here, as they stand here now. */
export function mergesOf(
  site: OwnSite,
  id: string,
  halves: readonly string[],
  { rule }: Reconciliation,
  { salvage, base }: BothSides,
  { heartbeat, signal }: LongWork,
): AsyncGenerator<UserMerge> {
  const { keys } = site.customer(id);
  const own = { customer: id, site: site.settings.site };
  const here = { database: site.database(id), keys, halves, own, signal };
  return diffThreeWays({
    base,
    salvage,
    suspect: salvage.salvage.suspect !== null,
    survivor: (index) => liveSurvivor(here, index),
    rule,
    heartbeat,
    signal,
  });
}
