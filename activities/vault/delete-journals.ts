import { EVIDENCE_MS } from '../journal/objects.ts';
import { deleteWhole, noFates, type WholeFates, type WholeRequest } from './delete-whole.ts';

interface Request extends WholeRequest {
  /** A live move of the customer. */
  heldBy: string | null;
}

/**
 * Deletes the copies of journals that are past the time of evidence: whole moves, of which nothing is younger and nothing
 * is locked. `journals`: when the youngest version of each move was written, by the prefix of the move. This site's own
 * journals are never deleted.
 */
export async function deleteJournals(request: Request, journals: ReadonlyMap<string, number>): Promise<WholeFates> {
  const fates = noFates();
  const pinned = request.heldBy !== null;
  for (const [prefix, youngest] of journals)
    fates[await deleteWhole(request, { prefix, youngest, keepMs: EVIDENCE_MS, pinned })] += 1;
  return fates;
}
