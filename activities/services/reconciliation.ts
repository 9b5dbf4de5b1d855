import { failureText } from '../../workflows/model/failures.ts';
import type { ConflictRule, Reconciliation } from '../../workflows/model/planned-move.ts';
import { peerQuery, within, withPeerVault } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import { readManifest } from '../vault/open.ts';
import type { Vault } from '../vault/port.ts';
import { readSalvage, type Salvage } from '../vault/salvage.ts';
import { sha256 } from '../vault/signed.ts';
import { restoredHere } from './restored-here.ts';
import type { OwnSite } from './site.ts';

/** What a question to the peer's database, and to its vault, may take. */
const DATABASE_MS = 3000;
const VAULT_MS = 10_000;

export interface FoundReconciliation {
  /** Null: the peer has nothing of these users that is not here, or `why` tells what is in the way. */
  reconcile: Reconciliation | null;
  /** Why the plan must not go on; null when it may. */
  why: string | null;
  /** What whoever signs should know, and what is no reason not to. */
  notes: string[];
  /** Of the salvage. */
  counts?: { users: number; contacts: number; aclItems: number };
}

/**
 * What the peer alone has of these halves, from when it served them last, and the snapshot from which both sides began: the newest
 * salvage there that nobody has released, and what the failover that brought the users here had restored. Changes nothing.
 */
export async function findReconciliation(
  site: OwnSite,
  customer: CustomerSettings,
  halves: readonly string[],
  rule: ConflictRule,
  signal?: AbortSignal,
): Promise<FoundReconciliation> {
  const stop = (why: string): FoundReconciliation => ({ reconcile: null, why, notes: [] });
  const half = halves.join(' and ');
  try {
    const [newest, ...older] = await readPeerSalvages(customer, halves, signal);
    if (!newest) return { reconcile: null, why: null, notes: [] };
    const due = [newest, ...older].find(({ manifest }) => manifest === null);
    if (due)
      return stop(
        `${customer.peer} served ${half} under epoch ${due.epoch}, and what was changed there is not salvaged yet`,
      );
    // One document has all who were served under its epoch; of another epoch are others.
    const apart = halves.filter((one) => !newest.halves.includes(one));
    if (apart.some((one) => older.some((salvage) => salvage.halves.includes(one))))
      return stop(
        `${customer.peer} served ${newest.halves.join(' and ')} under epoch ${newest.epoch}, and ${apart.join(' and ')} under another: each cohort comes home on its own first, with \`--half\``,
      );
    const manifest = newest.manifest ?? '';
    const access = site.settings.peerVaults.get(customer.peer);
    if (!access) return stop(`no credentials for the vault of ${customer.peer} are configured`);
    const look = (limit: AbortSignal): Promise<Looked> =>
      withPeerVault(access, (peer) =>
        lookInVaults(site, customer, { halves, epoch: newest.epoch, manifest }, peer, limit),
      );
    const { salvage, base, notes } = await within(VAULT_MS, `vault of ${customer.peer}`, look, signal);
    const { users, contacts, aclItems } = salvage.counts;
    const also = older.map(
      ({ epoch }) =>
        `what ${customer.peer} alone had of ${half} under epoch ${epoch} is not brought together by this move`,
    );
    const suspect = salvage.suspect === null ? [] : [`the salvage is suspect (${salvage.suspect}): ${NO_REMOVALS}`];
    return {
      reconcile: { rule, salvage: { epoch: newest.epoch, manifest }, base },
      why: null,
      notes: [...suspect, ...notes, ...also],
      counts: { users, contacts, aclItems },
    };
  } catch (error) {
    signal?.throwIfAborted();
    return stop(`what ${customer.peer} alone has of ${half} is not known: ${failureText(error)}`);
  }
}

/** Of a suspect salvage, for people. */
export const NO_REMOVALS = 'nothing that is missing there counts as removed';

interface PeerSalvage {
  epoch: number;
  /** Null: it is yet to be made. */
  manifest: string | null;
  /** Of those asked for. */
  halves: string[];
}

/** Newest first; those that were released are none. */
async function readPeerSalvages(
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

interface Looked {
  salvage: Salvage;
  base: Reconciliation['base'];
  notes: string[];
}

async function lookInVaults(
  site: OwnSite,
  customer: CustomerSettings,
  wanted: { halves: readonly string[]; epoch: number; manifest: string },
  peer: Vault,
  signal: AbortSignal,
): Promise<Looked> {
  const { publicKeys } = site.settings;
  const found = await readSalvage(
    { vault: peer, customer: customer.id, site: customer.peer, publicKeys, signal },
    wanted.epoch,
  );
  if (!found) throw new Error(`its salvage of epoch ${wanted.epoch} is not in the vault of ${customer.peer}`);
  if (sha256(found.bytes) !== wanted.manifest)
    throw new Error(
      `the vault of ${customer.peer} has another salvage of epoch ${wanted.epoch} than its database says`,
    );
  const begun = (why: string): Looked => ({
    salvage: found.salvage,
    base: null,
    notes: [`${why}: what stands on either side is kept, and what was removed on one alone comes back`],
  });
  const sources = [];
  for (const half of wanted.halves) sources.push(await restoredHere(site, customer, half, wanted.epoch));
  const [source = null] = sources;
  if (sources.some((other) => other?.manifest !== source?.manifest))
    throw new Error(
      `users of ${wanted.halves.join(' and ')} were restored by different moves: each cohort comes home on its own first, with \`--half\``,
    );
  if (!source) return begun(`no failover here has restored ${wanted.halves.join(' and ')}`);
  const { snapshot, manifest } = source;
  for (const [from, vault] of [
    ['own-vault', site.vault],
    ['peer-vault', peer],
  ] as const) {
    const there = await readManifest({ vault, id: snapshot, publicKeys, signal });
    if (there?.summary.manifest === manifest)
      return { salvage: found.salvage, base: { snapshot, manifest, from }, notes: [] };
  }
  return begun(
    `neither vault holds snapshot ${snapshot.seq} of ${snapshot.site} any more, from which both sides began`,
  );
}
