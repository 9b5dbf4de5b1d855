import type { KeyObject } from 'node:crypto';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Keyring } from '../settings.ts';
import { LOCK_MS } from './generation.ts';
import { manifestKey, type SignedManifest } from './manifest.ts';
import { readManifest } from './open.ts';
import { fetchPack, packKey, type PackRef } from './pack-reader.ts';
import { keepPack } from './pack-store.ts';
import type { PackPlace } from './pack.ts';
import type { Vault } from './port.ts';
import { openWholePack } from './whole-pack.ts';

/** Something is wrong with an object itself, or with the keys for it: it cannot be opened here. */
export function isDamage(error: unknown): error is Error {
  const kind = failureKind(error);
  return (
    kind === 'snapshot-damaged' ||
    kind === 'signature-invalid' ||
    kind === 'snapshot-format' ||
    kind === 'key-missing' ||
    kind === 'key-wrong'
  );
}

/** What was found in the other vault: what was wanted, or why not. */
type Found<T> = { good: T } | { because: string };

/**
 * Fetches from the other vault what this one has lost. Only what is whole there and opens is stored here, as a version
 * of its own beside the damaged one. A vault that does not answer is not asked again.
 */
export class Repairer {
  private readonly own: Vault;
  private readonly publicKeys: ReadonlyMap<string, KeyObject>;
  private readonly signal: AbortSignal;
  private peer: Vault | null;
  private silent = 'there is no other vault to mend it from';

  constructor(at: { own: Vault; peer: Vault | null; publicKeys: ReadonlyMap<string, KeyObject>; signal: AbortSignal }) {
    this.own = at.own;
    this.peer = at.peer;
    this.publicKeys = at.publicKeys;
    this.signal = at.signal;
  }

  /** The pack's bytes, as they now lie in this vault too. */
  async pack(place: PackPlace, ref: PackRef, keys: Keyring): Promise<Found<Buffer>> {
    return this.ask(async (peer) => {
      const bytes = await fetchPack(peer, place, ref, this.signal);
      const where = `vault ${peer.site}: ${packKey(place, ref.sha256)}`;
      await openWholePack({ bytes, where }, { place, ref, keys }, () => undefined);
      await keepPack(this.own, place, { sha256: ref.sha256, bytes }, this.signal);
      return fetchPack(this.own, place, ref, this.signal);
    });
  }

  /** The manifest, as it now lies in this vault too; null when the other vault does not know it either. */
  async manifest(id: SnapshotId): Promise<Found<SignedManifest | null>> {
    const { own, publicKeys, signal } = this;
    return this.ask(async (peer) => {
      const found = await readManifest({ vault: peer, id, publicKeys, signal });
      if (!found) return null;
      const options = { lockUntil: new Date(Date.now() + LOCK_MS), signal };
      const key = manifestKey(id);
      if ((await own.put(key, found.bytes, options)) === 'taken') await own.mend(key, found.bytes, options);
      return readManifest({ vault: own, id, publicKeys, signal });
    });
  }

  /** What the other vault answers; null when it does not. */
  async ask<T>(question: (peer: Vault) => Promise<T>): Promise<Found<T>> {
    const { peer } = this;
    if (!peer) return { because: this.silent };
    try {
      return { good: await question(peer) };
    } catch (error) {
      const because = failureText(error);
      if (isDamage(error)) return { because };
      const kind = failureKind(error);
      if ((kind !== 'vault-unreachable' && kind !== 'vault-refused') || !because.startsWith(`vault ${peer.site}:`)) {
        throw error;
      }
      this.peer = null;
      this.silent = because;
      return { because };
    }
  }
}
