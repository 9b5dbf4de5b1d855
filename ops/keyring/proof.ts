import type { Manifest } from '../../activities/vault/manifest.ts';
import { openStored, type PackRef } from '../../activities/vault/pack-reader.ts';
import type { Vault } from '../../activities/vault/port.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import type { Keyring } from '../../activities/settings.ts';
import type { KeyLine } from './inventory.ts';
import type { VaultUse } from './survey.ts';

/** What a key did to the newest pack under its id in one vault. */
export const verdicts = {
  opens: true,
  wrong: false,
  missing: false,
  damaged: false,
  'nothing stored under it': true,
  'no longer needed': true,
} as const;

export type Verdict = keyof typeof verdicts;

export interface Proof {
  id: string;
  /** The site of the vault. */
  vault: string;
  /** The site that wrote the pack; null when there is none to open. */
  of: string | null;
  says: Verdict;
  /** Hash of the pack that was opened, or tried. */
  pack: string | null;
  because: string | null;
}

type Sample = { manifest: Manifest; ref: PackRef };

/**
 * Opens a footer under each key in each vault that answers, of either site's packs: the one proof that a key is the
 * right one. No record is read.
 */
export async function proveKeys(lines: KeyLine[], keys: Keyring, vaults: VaultUse[]): Promise<Proof[]> {
  const proofs = await Promise.all(lines.flatMap((line) => vaults.map((v) => proveIn(line, keys, v))));
  return proofs.flat();
}

async function proveIn(line: KeyLine, keys: Keyring, { site, vault, uses }: VaultUse): Promise<Proof[]> {
  if (!vault) return [];
  const proof = { id: line.id, vault: site, of: null, pack: null, because: null };
  if (!keys.ring.has(line.id)) return [{ ...proof, says: line.state === 'gone' ? 'no longer needed' : 'missing' }];
  const samples = [...(uses.get(line.id)?.samples ?? [])];
  if (samples.length === 0) return [{ ...proof, says: 'nothing stored under it' }];
  return Promise.all(
    samples.map(async ([of, packs]) => ({ ...proof, of, ...(await firstThatTells(vault, packs, keys)) })),
  );
}

/** A damaged pack says nothing about the key: the next one may. */
async function firstThatTells(
  vault: Vault,
  packs: Sample[],
  keys: Keyring,
): Promise<Pick<Proof, 'says' | 'pack' | 'because'>> {
  const damage: string[] = [];
  for (const { manifest, ref } of packs) {
    const pack = ref.sha256;
    try {
      await openStored(vault, manifest, ref, keys);
      return { says: 'opens', pack, because: damage[0] ?? null };
    } catch (error) {
      const kind = failureKind(error);
      if (kind === 'key-wrong') return { says: 'wrong', pack, because: failureText(error) };
      if (kind !== 'snapshot-damaged' && kind !== 'snapshot-format') throw error;
      damage.push(failureText(error));
    }
  }
  return { says: 'damaged', pack: packs[0]?.ref.sha256 ?? null, because: damage[0] ?? null };
}
