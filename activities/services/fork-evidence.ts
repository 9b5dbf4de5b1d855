import { createHash } from 'node:crypto';
import { appendJournal } from '../journal/chain.ts';
import { tryMirror } from '../journal/mirror.ts';
import type { OwnSite } from './site.ts';

/**
 * Writes what became of a fork into the journal of the move that holds this site's slot, and brings it to the vault. Where none does,
 * the words and both lines are in `tandem.fork` and `tandem.pick_word` only. A journal that cannot be written holds nothing up: what
 * it tells of is done.
 */
export async function noteInJournal(
  site: OwnSite,
  customer: string,
  text: string,
  signal?: AbortSignal,
): Promise<void> {
  const database = site.database(customer);
  try {
    const [live] = await database.query<{ move: string }>(
      'select move from tandem.move where customer = $1 and ended_at is null',
      [customer],
    );
    if (!live) return;
    const { move } = live;
    const key = `fork-${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
    await database.transaction((client) =>
      appendJournal(client, { customer, move, key, kind: 'note', at: new Date().toISOString(), body: { text } }),
    );
    await tryMirror(site, { customer, move });
  } catch {
    signal?.throwIfAborted();
  }
}
