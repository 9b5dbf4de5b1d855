import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import type { LedgerHead } from '../contacts/ledger.ts';
import type { Manifest, SignedManifest } from './manifest.ts';

const DAY_MS = 24 * 3_600_000;
/** What hangs on a base is deleted with it: packs are locked for the time of keeping and this. */
export const GENERATION_MS = 7 * DAY_MS;
/** A snapshot can be restored for this long after its point; then its generation may go. */
export const KEEP_MS = 35 * DAY_MS;
/** 35 days of keeping, and 7 during which a generation grows: what hangs on this object may be that much younger. */
export const LOCK_MS = KEEP_MS + GENERATION_MS;
/** A reader opens the footer of each: more than these cost more than a new base. */
const MAX_PACKS = 500;

export const DAMAGED = 'its generation is damaged';

/** A transaction that says to whom a half belongs, by the time of its beginning, ends within this. */
const LONGEST_MOVE_MS = 500;

/** How the next snapshot stands to the one before it. */
export type Step =
  /** A new generation. `because` is for people. */
  | { base: true; because: string }
  /** Changes upon the last one. */
  | { base: false; upon: Manifest };

/**
 * Whether the next snapshot can be changes upon the last one: only when the ledger stands for exactly that one, else a
 * change that was undone in between would be lost. A generation ends when its deltas outweigh its base, after 7 days or
 * 500 packs, with its key, and when one of its packs is damaged: what is built upon that could not be restored either.
 */
export function nextStep(
  last: SignedManifest | null,
  head: LedgerHead | null,
  keyId: string,
  at: number,
  damaged: boolean,
): Step {
  const because = damaged ? DAMAGED : whyBase(last, head, keyId, at);
  return because === null && last ? { base: false, upon: last.manifest } : { base: true, because: because ?? 'first' };
}

function whyBase(last: SignedManifest | null, head: LedgerHead | null, keyId: string, at: number): string | null {
  if (!last) return 'there is no snapshot before it';
  const { gen, seq, packs, base } = last.manifest;
  if (!head) return 'the ledger knows no snapshot';
  if (head.gen !== gen || head.seq !== seq || head.manifest !== last.summary.manifest) {
    return `the ledger stands for number ${head.seq}, the newest is ${seq}`;
  }
  // Of users who were handed over a copy may have come back since: the ledger no longer tells that the last one had them.
  if (head.rightsMs > Date.parse(last.manifest.point) - LONGEST_MOVE_MS) return 'users have come or gone since';
  if (packs.some((pack) => pack.keyId !== keyId)) return 'the key has changed';
  if (at - Date.parse(base.point) >= GENERATION_MS) return 'its generation is 7 days old';
  if (packs.length >= MAX_PACKS) return `its generation has ${packs.length} packs`;
  const bytes = packs.reduce((sum, pack) => sum + pack.bytes, 0);
  if (bytes > 2 * base.bytes) return 'its deltas outweigh their base';
  return null;
}

/** A manifest's place in the chain of manifests. */
export interface Link {
  gen: number;
  seq: number;
  /** SHA-256 of its bytes, hex. */
  manifest: string;
}

export const linkTo = ({ summary }: SignedManifest): Link => ({
  gen: summary.gen,
  seq: summary.seq,
  manifest: summary.manifest,
});

export const linked = (id: SnapshotId, { gen, seq }: Link): SnapshotId => ({
  customer: id.customer,
  site: id.site,
  gen,
  seq,
});
