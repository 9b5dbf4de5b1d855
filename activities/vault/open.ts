import type { KeyObject } from 'node:crypto';
import { failure } from '../../workflows/model/failures.ts';
import type { SnapshotId, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import type { Keyring } from '../settings.ts';
import { damaged } from './bytes.ts';
import { keyOf, recordKeys } from './keys.ts';
import { chooseManifest, manifestKey, type Manifest, type SignedManifest } from './manifest.ts';
import { fetchPack, openPack, rangesIn, rangesOf, type OpenPack, type PackRef } from './pack-reader.ts';
import type { Entry } from './pack.ts';
import type { Vault } from './port.ts';
import type { UserRecord } from './record.ts';

export interface OpenRequest {
  vault: Vault;
  keys: Keyring;
  publicKeys: ReadonlyMap<string, KeyObject>;
  id: SnapshotId;
  /** SHA-256 of the manifest's bytes, as a plan or a receipt names it. */
  expectManifest?: string;
  signal?: AbortSignal;
}

/** A snapshot that can be read: its manifest is signed by its site. Every byte is checked as it is read. */
export interface OpenSnapshot {
  manifest: Manifest;
  summary: SnapshotSummary;
  /** All users, once each, opened and checked pack by pack. A base gives them in the byte order of their names. */
  records(): AsyncGenerator<UserRecord>;
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
  const footers = new Map<PackRef, Promise<OpenPack>>();
  const lookup = (ref: PackRef): Promise<OpenPack> => {
    const open = footers.get(ref) ?? openPack(rangesIn(vault, manifest, ref), request.keys, manifest, ref.keyId);
    footers.set(ref, open);
    return open;
  };
  return {
    manifest,
    summary,
    records: () => readRecords(manifest, request),
    record: (username) => findRecord(username, manifest, request.keys, lookup),
  };
}

async function findRecord(
  username: string,
  manifest: Manifest,
  keys: Keyring,
  open: (ref: PackRef) => Promise<OpenPack>,
): Promise<UserRecord | null> {
  for (const ref of manifest.packs) {
    const userKey = recordKeys(keyOf(keys, ref.keyId, 'snapshot')).userKey(username);
    const pack = await open(ref);
    const entry = pack.footer.entries.find((e) => e.userKey.equals(userKey));
    if (entry) return pack.record(entry);
    if (pack.footer.tombstones.some((gone) => gone.equals(userKey))) return null;
  }
  return null;
}

/** Packs fetched ahead of the one that is read: hides the vault's answer time at 12 MiB of memory. */
const AHEAD = 2;

async function* readRecords(manifest: Manifest, request: OpenRequest): AsyncGenerator<UserRecord> {
  const settled = await supersededKeys(manifest, request);
  const waiting = manifest.packs.toReversed();
  const fetching: { ref: PackRef; bytes: Promise<Buffer> }[] = [];
  for (;;) {
    while (fetching.length <= AHEAD) {
      const ref = waiting.shift();
      if (!ref) break;
      const bytes = fetchPack(request.vault, manifest, ref, request.signal);
      bytes.catch(() => undefined); // It is awaited below, unless an earlier pack ends the reading.
      fetching.push({ ref, bytes });
    }
    const next = fetching.shift();
    if (!next) return;
    const { ref } = next;
    const where = `vault ${request.vault.site}: pack ${ref.sha256.slice(0, 16)} of ${manifestKey(manifest)}`;
    const source = rangesOf(await next.bytes, ref.footer, where);
    const pack = await openPack(source, request.keys, manifest, ref.keyId);
    yield* packRecords(pack, (userKey) => settled.get(userKey) ?? ref, ref);
  }
}

/** The records of a pack in the order they lie, without those that a newer pack has. */
async function* packRecords(
  pack: OpenPack,
  holder: (userKey: string) => PackRef,
  ref: PackRef,
): AsyncGenerator<UserRecord> {
  const place = (e: Entry): number => e.frame * 2 ** 32 + e.offset;
  const entries = pack.footer.entries.toSorted((a, b) => place(a) - place(b));
  let open: { number: number; bytes: Buffer } | undefined;
  for (const entry of entries) {
    if (holder(entry.userKey.toString('latin1')) !== ref) continue;
    if (open?.number !== entry.frame) open = { number: entry.frame, bytes: await pack.frame(entry.frame) };
    yield await pack.record(entry, open.bytes);
  }
}

/**
 * Which pack holds a user, for those users that more than one pack knows. The packs of a base know each user once, and
 * are told from deltas by there being nothing older that they could replace.
 */
async function supersededKeys(manifest: Manifest, request: OpenRequest): Promise<Map<string, PackRef>> {
  const holders = new Map<string, PackRef>();
  if (manifest.gen === manifest.seq) return holders; // The base of its generation.
  for (const ref of manifest.packs) {
    const { footer } = await openPack(rangesIn(request.vault, manifest, ref), request.keys, manifest, ref.keyId);
    for (const gone of footer.tombstones) remember(holders, gone, ref);
    for (const { userKey } of footer.entries) remember(holders, userKey, ref);
  }
  return holders;
}

function remember(holders: Map<string, PackRef>, userKey: Buffer, ref: PackRef): void {
  const name = userKey.toString('latin1');
  if (!holders.has(name)) holders.set(name, ref);
}
