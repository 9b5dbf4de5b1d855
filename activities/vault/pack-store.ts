import type { Keyring } from '../settings.ts';
import type { PackRecord } from './frames.ts';
import { LOCK_MS } from './generation.ts';
import { packKey, packPrefix, type PackRef } from './pack-reader.ts';
import { buildPacks } from './pack-writer.ts';
import type { PackPlace } from './pack.ts';
import type { Vault } from './port.ts';

/** Packs on their way at once; each is held in memory. */
const UPLOADS = 3;

export interface StoreRequest {
  vault: Vault;
  keys: Keyring;
  place: PackPlace;
  records: AsyncIterable<PackRecord>;
  /** userKeys of users that are to be forgotten; asked for when all records went by. */
  gone: () => readonly Buffer[];
  epoch: number;
  heartbeat: (progress: { users: number; packs: number; bytes: number }) => void;
  signal: AbortSignal;
}

/**
 * Stores packs while the next are read; a slow vault slows the reading down, and ends it when its time is over. Packs
 * that an attempt before this one has stored are not sent again: the same records give the same packs. Newest first, as
 * deltas stand before their base.
 */
export async function storePacks(request: StoreRequest): Promise<PackRef[]> {
  const { vault, keys, place, records, gone, epoch, signal } = request;
  const there = await storedPacks(vault, place, signal);
  const refs: PackRef[] = [];
  const uploads = new Set<Promise<void>>();
  const progress = { users: 0, packs: 0, bytes: 0 };
  try {
    for await (const pack of buildPacks(records, keys, place, epoch, gone)) {
      refs.push({ sha256: pack.sha256, bytes: pack.bytes.length, footer: pack.footer, keyId: pack.keyId });
      const store = async (): Promise<void> => {
        if (there.get(pack.sha256) !== pack.bytes.length) await keepPack(vault, place, pack, signal);
        progress.users += pack.users;
        progress.packs += 1;
        progress.bytes += pack.bytes.length;
        request.heartbeat(progress);
      };
      const upload = store();
      uploads.add(upload);
      upload.then(
        () => uploads.delete(upload),
        () => undefined, // It stays, is awaited here below, and fails there.
      );
      if (uploads.size >= UPLOADS) await Promise.race(uploads);
    }
  } finally {
    await Promise.all(uploads);
  }
  return refs.toReversed();
}

/** Sizes of packs that lie there already, by their hash. */
export async function storedPacks(vault: Vault, place: PackPlace, signal: AbortSignal): Promise<Map<string, number>> {
  const prefix = packPrefix(place);
  const there = new Map<string, number>();
  for await (const { key, bytes } of vault.list(prefix, { signal })) there.set(key.slice(prefix.length), bytes);
  return there;
}

/** Stores a pack, locked. Where other bytes have taken its key it is one more version: readers go by the hash. */
export async function keepPack(
  vault: Vault,
  place: PackPlace,
  { sha256, bytes }: { sha256: string; bytes: Buffer },
  signal: AbortSignal,
): Promise<void> {
  const key = packKey(place, sha256);
  const lockUntil = new Date(Date.now() + LOCK_MS);
  if ((await vault.put(key, bytes, { lockUntil, signal, sha256 })) !== 'taken') return;
  const versions = await vault.versions(key, { signal });
  if (!versions.some((version) => version.equals(bytes))) await vault.mend(key, bytes, { lockUntil, signal });
}
