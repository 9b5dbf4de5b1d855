import type { Timestamp } from './snapshots.ts';

/** An object in a vault that cannot be opened there, and what hangs on it. */
export interface Damage {
  object: 'pack' | 'manifest' | 'receipt';
  key: string;
  gen: number;
  /** Snapshots that need it. */
  seqs: number[];
  because: string;
}

/** What a vault holds beside what belongs there. A later version hides nothing; that it is there is an alarm. */
export interface Strays {
  /** Versions after the first of a key: writes over it, and repairs. */
  versions: number;
  /** Delete markers. */
  markers: number;
  /** Keys that nothing of ours writes. */
  unknown: number;
  /** Some of these keys. */
  keys: string[];
}

/**
 * A site's signed statement on all snapshots of one site in its vault: what it could not open, and could not repair, does
 * not count as covered. The newest one is in force.
 */
export interface Check {
  format: 1;
  customer: string;
  /** The site whose vault it is. */
  site: string;
  /** The site that took the snapshots. */
  of: string;
  startedAt: Timestamp;
  endedAt: Timestamp;
  /** With a manifest that holds. */
  snapshots: number;
  /** Snapshots of which the users were put together and all rows counted. */
  counted: number;
  /** Opened whole; packs opened in the 12 hours before are not opened again. */
  packs: number;
  bytes: number;
  damaged: Damage[];
  /** Damage that was found and mended from the other vault. */
  repaired: Damage[];
  strays: Strays;
}

/** The outcome of the newest check of one vault. */
export interface VaultCheck {
  /** The site whose vault it is. */
  vault: string;
  /** Null when there never was one. */
  checkedAt: Timestamp | null;
  damaged: Damage[];
  strays: Strays | null;
}

/** Numbers of the snapshots that a check names. */
export const damagedSeqs = (check: { damaged: readonly Damage[] } | null): ReadonlySet<number> =>
  new Set(check?.damaged.flatMap(({ seqs }) => seqs));

/** A day, and time for a run that is tried again. */
export const CHECK_AGE_MS = 26 * 3_600_000;
