import { filterParity, ownDrift, type FilterParity } from '../activities/filter/parity.ts';
import { openSite, type OwnSite } from '../activities/services/site.ts';
import type { SiteSettings } from '../activities/settings.ts';
import { failureText } from '../workflows/model/failures.ts';
import type { SiteMetrics } from './metrics.ts';
import { pause } from './temporal.ts';

const EVERY_MS = 30_000;

/** The message filter of one customer as this site sees it now; fails when its own database or service does not answer. */
export function parityOf(site: OwnSite, customer: string, signal: AbortSignal): Promise<FilterParity> {
  return filterParity({
    customer: site.customer(customer),
    database: site.database(customer),
    loaded: site.loadedFilter,
    signal,
  });
}

/** What drifts, for people; null when nothing is known to. */
export function driftOf(peer: string, parity: FilterParity): string | null {
  const own = ownDrift(parity);
  const theirs = parity.peer.state === 'differs' ? `at ${peer}: ${parity.peer.because.join('; ')}` : null;
  return [own, theirs].filter((told) => told !== null).join('. ') || null;
}

/**
 * Holds the message filters of this site and its peer against its configuration while the worker lives: a drift is found in
 * quiet times, not in a move. Said once when it comes, and once when it is gone.
 */
export async function watchFilter(
  settings: SiteSettings,
  metrics: SiteMetrics,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const site = openSite(settings);
  const told = new Map<string, string>();
  const tell = (id: string, now: string | null): void => {
    if (now === (told.get(id) ?? null)) return;
    if (now === null) told.delete(id);
    else told.set(id, now);
    say(now === null ? `message filter of ${id}: as configured again` : `message filter of ${id}: ${now}`);
  };
  try {
    while (!signal.aborted) {
      for (const { id, peer } of settings.customers.values()) {
        try {
          const parity = await parityOf(site, id, signal);
          show(metrics, id, parity);
          tell(id, driftOf(peer, parity));
        } catch (error) {
          if (signal.aborted) return;
          show(metrics, id, null);
          tell(id, `cannot be compared: ${failureText(error)}`);
        }
      }
      await pause(EVERY_MS, signal);
    }
  } finally {
    await site.close();
  }
}

const places = ['database', 'service', 'peer'] as const;

/** What is not known is not shown: an alert on 0 is one on a drift. */
function show({ filterParity: gauge }: SiteMetrics, customer: string, parity: FilterParity | null): void {
  for (const where of places) {
    const state = parity?.[where].state ?? 'unknown';
    if (state === 'unknown') gauge.remove({ customer, where });
    else gauge.set({ customer, where }, state === 'same' ? 1 : 0);
  }
}
