import type { Timestamp } from './snapshots.ts';

/**
 * What becomes of a generation. `kept`: within the time of keeping. `pinned`: past it, and needed all the same. `locked`:
 * Object Lock still holds something of it. `expired`: it may go. `deleted`: it is gone.
 */
export const fates = ['kept', 'pinned', 'locked', 'expired', 'deleted'] as const;
export type Fate = (typeof fates)[number];

export interface Amount {
  generations: number;
  /** Versions of objects, delete markers among them. */
  objects: number;
  bytes: number;
}

/** One generation of one site's snapshots in a vault. */
export interface GenerationFate extends Omit<Amount, 'generations'> {
  gen: number;
  /** Manifests, whether they hold or not; none is what killed runs have left. */
  snapshots: number;
  packs: number;
  fate: Fate;
  /** For people. */
  because: string;
}

export interface RetentionResult {
  customer: string;
  /** Whose vault. */
  site: string;
  at: Timestamp;
  /** `no-cleaner`: the site has no credentials that may delete; nothing was. */
  mode: 'delete' | 'dry-run' | 'no-cleaner';
  /** The move that pins everything of the customer while it lives. */
  heldBy: string | null;
  /** By the site that took the snapshots; generations newest first. */
  sources: { site: string; generations: GenerationFate[] }[];
  totals: Record<Fate, Amount>;
  /** Objects below this customer whose names say nothing: never touched. */
  unknown: number;
}

/** What became of the messages in a site's archive (SERVICE: 30 days, then deleted). */
export interface ArchiveResult {
  customer: string;
  /** What was written before this is deleted; null when nothing is kept by Tandem's rules. */
  before: Timestamp | null;
  /** Rows of this run. */
  deleted: number;
  /** `missing`: the service of this site has no archive. `no-option`: the customer has not bought content archiving. */
  archive: 'kept' | 'missing' | 'no-option';
}

/** What of a vault has each fate. */
export function totalsOf(generations: readonly GenerationFate[]): Record<Fate, Amount> {
  const totals = Object.fromEntries(fates.map((fate) => [fate, { generations: 0, objects: 0, bytes: 0 }]));
  for (const { fate, objects, bytes } of generations) {
    const total = totals[fate];
    if (!total) continue;
    total.generations += 1;
    total.objects += objects;
    total.bytes += bytes;
  }
  return totals as Record<Fate, Amount>;
}
