import type { KeyObject } from 'node:crypto';
import { failure } from '../../workflows/model/failures.ts';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Keyring } from '../settings.ts';
import { damaged } from './bytes.ts';
import { sitePrefix, type DatabaseReading } from './manifest.ts';
import { openRecords, type OpenRecords } from './open.ts';
import { digits, type PackRef, type PackSet } from './pack-reader.ts';
import type { PackPlace } from './pack.ts';
import type { Vault } from './port.ts';
import { sha256, unseal } from './signed.ts';

/**
 * What a site that came back has on its disk and no snapshot has: its *unsent changes*. It lies apart from snapshots, under a
 * name of its own, and is signed as another kind of document: nothing that looks for recovery points can find it.
 */
export interface Salvage extends DatabaseReading {
  format: 1;
  customer: string;
  /** The site whose disk it is, and which signs. */
  site: string;
  /** Under which it served these halves last. One salvage for each. */
  epoch: number;
  halves: string[];
  /** The newest epoch that the site knew: by this it was closed, or by an earlier one. */
  closedBy: number;
  /** Why its rows may not be what people left there; null when nothing speaks against it. */
  suspect: string | null;
  /** By half, the snapshot that a failover had brought it here as of; none of those that no failover brought. */
  restored?: Record<string, RestoredFrom>;
  packs: PackRef[];
}

/** A snapshot by its place and the SHA-256 of its manifest, hex. */
export interface RestoredFrom {
  snapshot: SnapshotId;
  manifest: string;
}

/** Packs of a salvage open at no other place: neither as those of a snapshot, nor the other way round. */
export const salvagePlace = (customer: string, site: string, epoch: number): PackPlace => ({
  customer,
  site: `${site}/salvage`,
  gen: epoch,
});

export const salvagePrefix = (customer: string, site: string, epoch: number): string =>
  `${sitePrefix(customer, site)}salvage/${digits(epoch)}/`;

export const salvageKey = (customer: string, site: string, epoch: number): string =>
  `${salvagePrefix(customer, site, epoch)}salvage.json`;

export interface SignedSalvage {
  salvage: Salvage;
  bytes: Buffer;
}

interface Place {
  vault: Vault;
  customer: string;
  site: string;
  publicKeys: ReadonlyMap<string, KeyObject>;
  signal?: AbortSignal;
}

/** The salvage of a site under an epoch, as its own signature vouches for it; null when there is none. */
export async function readSalvage(
  { vault, customer, site, publicKeys, signal }: Place,
  epoch: number,
): Promise<SignedSalvage | null> {
  const key = salvageKey(customer, site, epoch);
  const where = `vault ${vault.site}: ${key}`;
  const own = new Map([...publicKeys].filter(([name]) => name === site));
  let fault: unknown;
  for (const bytes of await vault.versions(key, signal && { signal })) {
    try {
      return { salvage: openDocument(bytes, { customer, site, epoch }, own, where), bytes };
    } catch (error) {
      fault ??= error;
    }
  }
  if (fault instanceof Error) throw fault;
  return null;
}

function openDocument(
  bytes: Buffer,
  { customer, site, epoch }: Pick<Salvage, 'customer' | 'site' | 'epoch'>,
  own: ReadonlyMap<string, KeyObject>,
  where: string,
): Salvage {
  const { document: salvage } = unseal<Salvage>('salvage', own, bytes, where);
  const { format } = salvage as { format: number };
  if (format > 1) throw failure('snapshot-format', `${where}: format ${format}, this Tandem knows 1`);
  if (salvage.customer !== customer || salvage.site !== site || salvage.epoch !== epoch)
    throw damaged(where, `it is the salvage of ${salvage.customer}/${salvage.site} under epoch ${salvage.epoch}`);
  return salvage;
}

/**
 * Opens a salvage for reading, from the vault of its site. `no-recovery-point` when there is none, `snapshot-damaged` when it is
 * not the one expected, by the SHA-256 of its document.
 */
export async function openSalvage(
  request: Place & { keys: Keyring; expectDocument?: string },
  epoch: number,
): Promise<OpenRecords & { salvage: Salvage }> {
  const { customer, site, vault } = request;
  const found = await readSalvage(request, epoch);
  if (!found)
    throw failure('no-recovery-point', `vault ${vault.site}: ${salvageKey(customer, site, epoch)} is not there`);
  const { salvage, bytes } = found;
  const { expectDocument = sha256(bytes) } = request;
  if (sha256(bytes) !== expectDocument)
    throw damaged(
      `vault ${vault.site}: ${salvageKey(customer, site, epoch)}`,
      `document ${sha256(bytes).slice(0, 16)}, expected was ${expectDocument.slice(0, 16)}`,
    );
  const packs: PackSet = { ...salvagePlace(customer, site, epoch), packs: salvage.packs };
  return { salvage, ...openRecords(request, packs) };
}
