import { trySeal, unsealedHere } from '../activities/journal/seal.ts';
import { openSite } from '../activities/services/site.ts';
import type { SiteSettings } from '../activities/settings.ts';
import { failureText } from '../workflows/model/failures.ts';
import type { SiteMetrics } from './metrics.ts';
import { pause } from './temporal.ts';

const EVERY_MS = 30_000;
/** A vault that hangs keeps no more than this of one look; the next customer may have another database, not another vault. */
const LIMIT_MS = 60_000;

/**
 * Seals the evidence of moves that ended while the vault was away, once it is back: no run waits for it any more. Each is
 * said when it is sealed, and a reason when it changes.
 */
export async function sealWhatIsMissing(
  settings: SiteSettings,
  metrics: SiteMetrics,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const site = openSite(settings);
  const said = new Map<string, string>();
  const tell = (key: string, text: string): void => {
    if (said.get(key) !== text) say(text);
    said.set(key, text);
  };
  try {
    while (!signal.aborted) {
      for (const customer of settings.customers.keys()) {
        try {
          let missing = 0;
          for (const move of await unsealedHere(site, customer)) {
            const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
            const because = await trySeal(site, { customer, move }, limit).catch(failureText);
            if (because !== null) missing += 1;
            tell(move, because === null ? `move ${move}: sealed` : `move ${move}: not sealed yet: ${because}`);
          }
          metrics.unsealed.set({ customer }, missing);
        } catch (error) {
          tell(customer, `moves of ${customer} that are to be sealed cannot be read: ${failureText(error)}`);
        }
      }
      await pause(EVERY_MS, signal);
    }
  } finally {
    await site.close();
  }
}
