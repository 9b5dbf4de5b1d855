import type { Fate } from '../../workflows/model/retention.ts';
import { EVIDENCE_MS } from '../journal/objects.ts';
import type { Cleaner } from './cleaner.ts';
import type { Version } from './retention.ts';

/** Moves of the other site by what becomes of the copies of their journals here. */
export type JournalFates = Record<Fate, number>;

interface Request {
  mode: 'delete' | 'dry-run' | 'no-cleaner';
  cleaner: Cleaner;
  now: number;
  /** A live move of the customer. */
  heldBy: string | null;
  progress: { objects: number; deleted: number };
  heartbeat: (progress: { objects: number; deleted: number }) => void;
  signal: AbortSignal;
}

/**
 * Deletes the copies of journals that are past the time of evidence: whole moves, of which nothing is younger and nothing
 * is locked. `journals`: when the youngest version of each move was written, by the prefix of the move. This site's own
 * journals are never deleted.
 */
export async function deleteJournals(request: Request, journals: ReadonlyMap<string, number>): Promise<JournalFates> {
  const fates: JournalFates = { kept: 0, pinned: 0, locked: 0, expired: 0, deleted: 0 };
  for (const [prefix, youngest] of journals) fates[await treat(request, prefix, youngest)] += 1;
  return fates;
}

async function treat(
  { mode, cleaner, now, heldBy, progress, heartbeat, signal }: Request,
  prefix: string,
  youngest: number,
): Promise<Fate> {
  if (now - youngest <= EVIDENCE_MS) return 'kept';
  if (heldBy !== null) return 'pinned';
  const versions: Version[] = [];
  for await (const page of cleaner.versions(prefix, signal)) versions.push(...page);
  if (versions.some(({ at }) => at > youngest)) return 'kept';
  for (const version of versions) {
    if (await cleaner.lock(version, signal)) return 'locked';
    heartbeat(progress);
  }
  if (mode !== 'delete') return 'expired';
  for (const version of versions) {
    if (await cleaner.remove(version, signal)) return 'locked';
    progress.deleted += 1;
    heartbeat(progress);
  }
  return 'deleted';
}
