import type { KeyObject } from 'node:crypto';
import { failure } from '../../workflows/model/failures.ts';
import type { SnapshotId, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import type { Keyring } from '../settings.ts';
import { damaged } from './bytes.ts';
import { chooseManifest, manifestKey, type Manifest, type SignedManifest } from './manifest.ts';
import type { Vault } from './port.ts';
import type { PackSet } from './pack-reader.ts';
import { readRecords, type OnDamage, type ReadRecordsRequest } from './read-records.ts';
import type { UserRecord } from './record.ts';
import { SnapshotIndex } from './snapshot-index.ts';

export interface OpenRequest {
  vault: Vault;
  keys: Keyring;
  publicKeys: ReadonlyMap<string, KeyObject>;
  id: SnapshotId;
  /** SHA-256 of the manifest's bytes, as a plan or a receipt names it. */
  expectManifest?: string;
  /** Who is in it, where that was just read. */
  index?: SnapshotIndex;
  signal?: AbortSignal;
}

/** A snapshot that can be read: its manifest is signed by its site. Every byte is checked as it is read. */
export interface OpenSnapshot extends OpenRecords {
  manifest: Manifest;
  summary: SnapshotSummary;
}

/** What packs hold. Every byte is checked as it is read. */
export interface OpenRecords {
  /** Who is in it, and where his record lies. Read when first asked for. */
  index(): Promise<SnapshotIndex>;
  /** All users, or those that are chosen by their number in the index, once each, pack by pack, oldest pack first. */
  records(chosen?: (user: number) => boolean, onDamage?: OnDamage): AsyncGenerator<UserRecord>;
  /** One user; null when the snapshot does not have him. Reads footers and one frame. */
  record(username: string): Promise<UserRecord | null>;
}

/** The manifest of a snapshot in a vault; null when the vault does not hold it. */
export async function readManifest(request: Omit<OpenRequest, 'keys'>): Promise<SignedManifest | null> {
  const { vault, id, publicKeys, signal } = request;
  const key = manifestKey(id);
  const versions = await vault.versions(key, signal && { signal });
  return chooseManifest(versions, id, publicKeys, `vault ${vault.site}: ${key}`);
}

/**
 * Opens a snapshot. Fails with `no-recovery-point` when the vault does not hold it, `signature-invalid`,
 * `snapshot-format`, and `snapshot-damaged` when it is not the one expected; while reading also with `key-missing`,
 * `key-wrong` and `snapshot-damaged`.
 */
export async function openSnapshot(request: OpenRequest): Promise<OpenSnapshot> {
  const { vault, id, expectManifest } = request;
  const found = await readManifest(request);
  if (!found) throw failure('no-recovery-point', `vault ${vault.site}: ${manifestKey(id)} is not there`);
  const { manifest, summary } = found;
  if (expectManifest !== undefined && summary.manifest !== expectManifest) {
    throw damaged(
      `vault ${vault.site}: ${manifestKey(id)}`,
      `manifest ${summary.manifest.slice(0, 16)}, expected was ${expectManifest.slice(0, 16)}`,
    );
  }
  return { manifest, summary, ...openRecords(request, manifest, request.index) };
}

/** Fails while reading, with `key-missing`, `key-wrong` and `snapshot-damaged`. */
export function openRecords(request: ReadRecordsRequest, packs: PackSet, known?: SnapshotIndex): OpenRecords {
  const { vault, keys, signal } = request;
  let loading = known && Promise.resolve(known);
  const index = (): Promise<SnapshotIndex> => (loading ??= SnapshotIndex.load(vault, packs, keys, signal));
  return {
    index,
    records: (chosen, onDamage) => readRecords(request, packs, index, chosen, onDamage),
    async record(username) {
      const all = await index();
      const user = all.findName(username);
      if (user < 0) return null;
      const { pack, entry } = all.entry(user);
      return (await all.frames[pack]?.record(entry)) ?? null;
    },
  };
}
