import type { KeyObject } from 'node:crypto';
import { failure } from '../../workflows/model/failures.ts';
import type { SnapshotCounts, SnapshotId, SnapshotSummary, Timestamp } from '../../workflows/model/snapshots.ts';
import { damaged } from './bytes.ts';
import type { Link } from './generation.ts';
import { digits, type PackRef } from './pack-reader.ts';
import { sha256, unseal } from './signed.ts';

export const MANIFEST_FORMAT = 1;

/** One reading of a site's database, as a signed document tells it. */
export interface DatabaseReading {
  /** Start of the read transaction, by the database's clock. */
  point: Timestamp;
  /** The reading machine's own clock at the point. */
  clock: Timestamp;
  /** The id of the database it was read from. */
  database: string;
  /** Position in the database's write-ahead log at the point. */
  wal: string;
  /** SHA-256 over tables, columns and types, hex. */
  schema: string;
  /** Major version of the PostgreSQL it was read from. */
  postgres: number;
  /** Over (userKey, recordId) of all users: see `SetHash`. */
  setHash: string;
  counts: SnapshotCounts;
  /** Rows of privacy_list_data that belong to no list, and so to nobody: counted, not kept. */
  ownerless: number;
}

/** A snapshot's one commit point (VAULT, rule 2), sealed by the site that took it. */
export interface Manifest extends SnapshotId, DatabaseReading {
  format: typeof MANIFEST_FORMAT;
  /** The manifest before it; null for the first. */
  previous: Link | null;
  /** The base of its generation: when it was read, and how large it is. */
  base: { point: Timestamp; bytes: number };
  /** The newest epoch the site knew. */
  epoch: number;
  /** Newest first: the first pack that knows a user holds him. A base's packs are in the order of user names, last first. */
  packs: PackRef[];
}

/** A manifest whose signature holds, and the bytes it was read from. */
export interface SignedManifest {
  manifest: Manifest;
  summary: SnapshotSummary;
  bytes: Buffer;
}

export const sitePrefix = (customer: string, site: string): string => `${customer}/${site}/`;

export const manifestKey = ({ customer, site, gen, seq }: SnapshotId): string =>
  `${sitePrefix(customer, site)}${digits(gen)}/m/${digits(seq)}.json`;

export const receiptPrefix = (customer: string, signedBy: string, source: string): string =>
  `${sitePrefix(customer, signedBy)}receipts/${source}/`;

export const receiptKey = (signedBy: string, { customer, site, gen, seq }: SnapshotId): string =>
  `${receiptPrefix(customer, signedBy, site)}${digits(gen)}-${digits(seq)}.json`;

/** The snapshot that a key is the manifest of; null for every other key. */
export function manifestId(customer: string, site: string, key: string): SnapshotId | null {
  const match = /^(\d{10})\/m\/(\d{10})\.json$/.exec(key.slice(sitePrefix(customer, site).length));
  return match ? { customer, site, gen: Number(match[1]), seq: Number(match[2]) } : null;
}

/** Order of snapshots of one site: seq grows across generations. */
export const compareIds = (a: { gen: number; seq: number }, b: { gen: number; seq: number }): number =>
  a.seq - b.seq || a.gen - b.gen;

export function summarise(manifest: Manifest, bytes: Buffer): SnapshotSummary {
  const { customer, site, gen, seq, point, epoch, counts, packs } = manifest;
  const size = packs.reduce((sum, pack) => sum + pack.bytes, 0);
  return { customer, site, gen, seq, point, epoch, counts, packs: packs.length, bytes: size, manifest: sha256(bytes) };
}

/**
 * The manifest of `id` among the versions of its key, oldest first: the oldest that its own site has signed for this
 * place. Null when nothing was ever written. When no version holds: `signature-invalid`, `snapshot-damaged` or
 * `snapshot-format`.
 */
export function chooseManifest(
  versions: Buffer[],
  id: SnapshotId,
  publicKeys: ReadonlyMap<string, KeyObject>,
  where: string,
): SignedManifest | null {
  let fault: unknown;
  for (const bytes of versions) {
    try {
      const manifest = readManifest(bytes, id, publicKeys, where);
      return { manifest, summary: summarise(manifest, bytes), bytes };
    } catch (error) {
      fault ??= error;
    }
  }
  if (fault instanceof Error) throw fault;
  return null;
}

function readManifest(
  bytes: Buffer,
  id: SnapshotId,
  publicKeys: ReadonlyMap<string, KeyObject>,
  where: string,
): Manifest {
  const { document, site } = unseal<Manifest>('manifest', publicKeys, bytes, where);
  if (site !== id.site) throw failure('signature-invalid', `${where}: signed by ${site}, not by ${id.site}`);
  const { format } = document as { format: unknown };
  if (typeof format === 'number' && format > MANIFEST_FORMAT) {
    throw failure('snapshot-format', `${where}: format ${format}, this Tandem knows ${MANIFEST_FORMAT}`);
  }
  if (format !== MANIFEST_FORMAT) throw damaged(where, `format ${JSON.stringify(format)}`);
  const named = [document.customer, document.site, document.gen, document.seq].join('/');
  if (named !== [id.customer, id.site, id.gen, id.seq].join('/'))
    throw damaged(where, `it is the manifest of ${named}`);
  if (!wellFormed(document)) throw damaged(where, 'it lacks what a manifest must say');
  return document;
}

function wellFormed(manifest: Manifest): boolean {
  const whole = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;
  const { point, epoch, counts, packs, previous, base } = manifest;
  return (
    !Number.isNaN(Date.parse(point)) &&
    !Number.isNaN(Date.parse(base?.point)) &&
    [epoch, base.bytes, previous?.gen ?? 0, previous?.seq ?? 0].every(whole) &&
    [counts?.users, counts?.contacts, counts?.groups, counts?.lists, counts?.aclItems, counts?.defaults].every(whole) &&
    Array.isArray(packs) &&
    packs.every(
      (p) => /^[0-9a-f]{64}$/.test(p.sha256) && whole(p.bytes) && whole(p.footer) && typeof p.keyId === 'string',
    )
  );
}
