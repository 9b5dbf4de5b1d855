import type { Fate } from '../../workflows/model/retention.ts';
import type { Cleaner } from './cleaner.ts';
import type { Version } from './retention.ts';

/** What lies below one prefix and goes as a whole: a move's journal, a salvage. How many of them have each fate. */
export type WholeFates = Record<Fate, number>;

export const noFates = (): WholeFates => ({ kept: 0, pinned: 0, locked: 0, expired: 0, deleted: 0 });

export interface WholeRequest {
  mode: 'delete' | 'dry-run' | 'no-cleaner';
  cleaner: Cleaner;
  now: number;
  progress: { objects: number; deleted: number };
  heartbeat: (progress: { objects: number; deleted: number }) => void;
  signal: AbortSignal;
}

/** `youngest`: when the youngest version below the prefix was written. `first`: what goes before the rest. */
export async function deleteWhole(
  { mode, cleaner, now, progress, heartbeat, signal }: WholeRequest,
  what: { prefix: string; youngest: number; keepMs: number; pinned: boolean; first?: (key: string) => boolean },
): Promise<Fate> {
  const { prefix, youngest, keepMs, pinned, first } = what;
  if (now - youngest <= keepMs) return 'kept';
  if (pinned) return 'pinned';
  const versions: Version[] = [];
  for await (const page of cleaner.versions(prefix, signal)) versions.push(...page);
  if (versions.some(({ at }) => at > youngest)) return 'kept';
  for (const version of versions) {
    if (await cleaner.lock(version, signal)) return 'locked';
    heartbeat(progress);
  }
  if (mode !== 'delete') return 'expired';
  const order = versions.toSorted((a, b) => Number(first?.(b.key) ?? 0) - Number(first?.(a.key) ?? 0));
  for (const version of order) {
    if (await cleaner.remove(version, signal)) return 'locked';
    progress.deleted += 1;
    heartbeat(progress);
  }
  return 'deleted';
}
