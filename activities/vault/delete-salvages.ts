import type { Database } from '../contacts/database.ts';
import { releasedSalvages } from '../contacts/salvaged.ts';
import { deleteWhole, noFates, type WholeFates, type WholeRequest } from './delete-whole.ts';
import { KEEP_MS } from './generation.ts';
import { salvageKey, salvagePrefix } from './open-salvage.ts';

interface Request extends WholeRequest {
  database: Database;
  customer: string;
  site: string;
  /** A live move of the customer. */
  heldBy: string | null;
}

/**
 * Deletes salvages that the way home has released and that are past their keeping. What this site's database does not know
 * to be released stays, however old it is: it may be the only copy of what people changed. `salvages`: when the youngest
 * version of each was written, by its epoch.
 */
export async function deleteSalvages(request: Request, salvages: ReadonlyMap<number, number>): Promise<WholeFates> {
  const { database, customer, site, heldBy } = request;
  const fates = noFates();
  if (salvages.size === 0) return fates;
  const released = await releasedSalvages(database, customer);
  for (const [epoch, youngest] of salvages) {
    const prefix = salvagePrefix(customer, site, epoch);
    const document = salvageKey(customer, site, epoch);
    const pinned = heldBy !== null || !released.has(epoch);
    // Without its document packs are garbage; with it, one that lacks a pack would be a damaged salvage.
    const first = (key: string): boolean => key === document;
    fates[await deleteWhole(request, { prefix, youngest, keepMs: KEEP_MS, pinned, first })] += 1;
  }
  return fates;
}
