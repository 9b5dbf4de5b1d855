import { LOCK_MS } from '../../activities/vault/generation.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import type { CustomerConfiguration } from '../config/configuration.ts';
import { checksum, type Ring } from '../config/keyring.ts';
import type { VaultUse } from './survey.ts';

/** What may be done with a key, and why. */
export const states = {
  current: 'new packs are written under it',
  needed: 'snapshots under it are still kept',
  'may-go': 'the keeping time of the last snapshot under it is over',
  unused: 'nothing is stored under it: not current yet, or no longer',
  unknown: 'not every vault or manifest could be read: ask again before it goes',
  missing: 'needed, and not in the ring',
  gone: 'not in the ring, and no longer needed',
} as const;

export type KeyState = keyof typeof states;

export interface KeyLine {
  id: string;
  /** Null for a key that is not in the ring. */
  checksum: string | null;
  state: KeyState;
  /** Snapshots with packs under it, in both vaults together; one that lies in both counts once. */
  snapshots: number;
  /** By site of the vault; null when that could not be read. */
  inVault: Record<string, number | null>;
  newestPoint: Timestamp | null;
  /** When the last snapshot under it has been kept for as long as it was promised. */
  neededUntil: Timestamp | null;
  /** Why the ring lacks a key that it names. */
  because: string | null;
}

/** Every key that the ring names or a vault needs: those of the ring first, in its order. */
export function inventory(customer: CustomerConfiguration, ring: Ring, vaults: VaultUse[], now: number): KeyLine[] {
  const stored = [...new Set(vaults.flatMap((v) => [...v.uses.keys()]))].toSorted();
  const ids = [...customer.keys.keys(), ...stored.filter((id) => !customer.keys.has(id))];
  const complete = vaults.every((v) => v.vault !== null && v.faults.length === 0);
  return ids.map((id) => {
    const uses = vaults.flatMap((v) => v.uses.get(id) ?? []);
    const names = new Set(uses.flatMap((u) => u.snapshots.map((s) => `${s.site}/${s.gen}/${s.seq}`)));
    const newestPoint =
      uses
        .map((u) => u.newest)
        .toSorted()
        .at(-1) ?? null;
    const until = newestPoint === null ? null : Date.parse(newestPoint) + LOCK_MS;
    const key = ring.keys.get(id);
    return {
      id,
      checksum: key ? checksum(key) : null,
      state: stateOf({
        inRing: key !== undefined,
        named: customer.keys.has(id),
        current: customer.currentKey === id,
        until,
        complete,
        now,
      }),
      snapshots: names.size,
      inVault: Object.fromEntries(
        vaults.map((v) => [v.site, v.vault ? (v.uses.get(id)?.snapshots.length ?? 0) : null]),
      ),
      newestPoint,
      neededUntil: until === null ? null : new Date(until).toISOString(),
      because: ring.faults.get(id)?.message ?? null,
    };
  });
}

function stateOf(key: {
  inRing: boolean;
  named: boolean;
  current: boolean;
  until: number | null;
  complete: boolean;
  now: number;
}): KeyState {
  const needed = key.until !== null && key.until > key.now;
  // One that the configuration names stops the worker as long as it cannot be read, whatever the vaults hold.
  if (!key.inRing) return needed || key.named ? 'missing' : 'gone';
  if (key.current) return 'current';
  if (needed) return 'needed';
  if (!key.complete) return 'unknown';
  return key.until === null ? 'unused' : 'may-go';
}
