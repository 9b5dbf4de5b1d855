import { failure } from '../../workflows/model/failures.ts';
import type { Reconciliation } from '../../workflows/model/planned-move.ts';
import { peerQuery, within, withPeerVault } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import { readManifest } from '../vault/open.ts';
import type { Vault } from '../vault/port.ts';
import { readSalvage, type RestoredFrom, type Salvage } from '../vault/open-salvage.ts';
import { sha256 } from '../vault/signed.ts';
import { restoredHere } from './restored-here.ts';
import type { OwnSite } from './site.ts';

/** What the peer has salvaged of users whom it served, and from where it and this site went their own ways. */

/** What a question to the peer's database, and to its vault, may take. */
const DATABASE_MS = 3000;
const VAULT_MS = 10_000;

export interface PeerSalvage {
  epoch: number;
  /** Null: it is yet to be made. */
  manifest: string | null;
  /** Of those asked for. */
  halves: string[];
}

/** Newest first; those that were released are none. */
export async function readPeerSalvages(
  { id, peer, peerDatabaseUrl }: CustomerSettings,
  halves: readonly string[],
  signal: AbortSignal | undefined,
): Promise<PeerSalvage[]> {
  const sql = `select o.customer, o.epoch::text, o.manifest, array_agg(o.half order by o.half) as halves
                 from tandem.observe_salvage() o where o.half = any($1) and not o.released
                group by o.customer, o.epoch, o.manifest order by o.epoch desc, o.manifest nulls first`;
  const ask = (limit: AbortSignal) =>
    peerQuery<{ customer: string; epoch: string; manifest: string | null; halves: string[] }>(
      peerDatabaseUrl,
      DATABASE_MS,
      sql,
      [halves],
      limit,
    );
  const rows = await within(DATABASE_MS, `database of ${id} at ${peer}`, ask, signal);
  return rows.flatMap((r) =>
    r.customer === id ? [{ epoch: Number(r.epoch), manifest: r.manifest, halves: r.halves }] : [],
  );
}

/** It is yet to be made: for whoever waits for it. */
export const notSalvagedYet = (
  { id, peer }: CustomerSettings,
  { epoch, halves }: Pick<PeerSalvage, 'epoch' | 'halves'>,
): string =>
  `${peer} served ${halves.join(' and ')} under epoch ${epoch}, and what was changed there is not salvaged yet: its \`standby\` does that, or \`tandem site salvage --site ${peer} --customer ${id}\``;

/** The snapshot from which both sides of a half began; null when there is none, and why, for people. */
export interface Began {
  base: Reconciliation['base'];
  why: string | null;
}

export interface Looked {
  salvage: Salvage;
  /** By half. */
  began: Map<string, Began>;
}

/** The salvage as its site has signed it and its database names it, and with what each of the halves began. Changes nothing. */
export async function lookInVaults(
  site: OwnSite,
  customer: CustomerSettings,
  wanted: { halves: readonly string[]; epoch: number; manifest: string },
  signal: AbortSignal | undefined,
): Promise<Looked> {
  const { peer } = customer;
  const access = site.settings.peerVaults.get(peer);
  if (!access) throw new Error(`no credentials for the vault of ${peer} are configured`);
  const look = (limit: AbortSignal): Promise<Looked> =>
    withPeerVault(access, async (vault) => {
      const salvage = await salvageThere(site, customer, wanted, vault, limit);
      const began = new Map<string, Began>();
      for (const half of wanted.halves)
        began.set(half, await beganWith(site, customer, { half, salvage, peer: vault }, limit));
      return { salvage, began };
    });
  return within(VAULT_MS, `vault of ${peer}`, look, signal);
}

async function salvageThere(
  site: OwnSite,
  { id, peer }: CustomerSettings,
  { epoch, manifest }: { epoch: number; manifest: string },
  vault: Vault,
  signal: AbortSignal,
): Promise<Salvage> {
  const { publicKeys } = site.settings;
  const found = await readSalvage({ vault, customer: id, site: peer, publicKeys, signal }, epoch);
  if (!found) throw failure('snapshot-damaged', `its salvage of epoch ${epoch} is not in the vault of ${peer}`);
  if (sha256(found.bytes) !== manifest)
    throw failure(
      'snapshot-damaged',
      `the vault of ${peer} has another salvage of epoch ${epoch} than its database says`,
    );
  return found.salvage;
}

/**
 * Where this site took the half over from the peer, what that failover restored. Where it had the half all the time, as in a fork, what the
 * peer had restored of it: so its salvage says. A snapshot that the peer took under a newer epoch than that of the salvage is neither: it
 * was given the half anew before that.
 */
async function beganWith(
  site: OwnSite,
  customer: CustomerSettings,
  { half, salvage, peer }: { half: string; salvage: Salvage; peer: Vault },
  signal: AbortSignal,
): Promise<Began> {
  const { publicKeys } = site.settings;
  const here = await restoredHere(site, customer, half, salvage.epoch);
  const sources = [here, salvage.restored?.[half]].filter((one) => one !== null && one !== undefined);
  const lacking: RestoredFrom[] = [];
  for (const source of sources) {
    const { snapshot, manifest } = source;
    let found = false;
    for (const [from, vault] of [
      ['own-vault', site.vault],
      ['peer-vault', peer],
    ] as const) {
      const there = await readManifest({ vault, id: snapshot, publicKeys, signal });
      if (there?.summary.manifest !== manifest) continue;
      found = true;
      if (snapshot.site === customer.peer && there.summary.epoch > salvage.epoch) break;
      return { base: { snapshot, manifest, from }, why: null };
    }
    if (!found) lacking.push(source);
  }
  const [gone] = lacking;
  return {
    base: null,
    why: gone
      ? `neither vault holds snapshot ${gone.snapshot.seq} of ${gone.snapshot.site} any more, from which both sides began`
      : `no failover here has restored ${half}`,
  };
}

/** What comes of it, for whoever signs. */
export const withoutBase = (why: string): string =>
  `${why}: what stands on either side is kept, and what was removed on one alone comes back`;
