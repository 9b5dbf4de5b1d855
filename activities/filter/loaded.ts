import { askService } from '../services/management.ts';
import type { SiteSettings } from '../settings.ts';

const ASK_LIMIT_MS = 3000;

/** What a service says of the policy that it judges messages by now. */
export type Loaded =
  | { digest: string }
  /** It filters by none: it delivers nothing, or has not the module and delivers everything. */
  | { digest: 'none'; because: string }
  /** Not known. `asked`: false where nothing is configured to be asked. */
  | { digest: null; asked: boolean; because: string };

export type LoadedFilter = (customer: string, signal: AbortSignal) => Promise<Loaded>;

/** Asks this site's own service. Its silence is an answer; only the signal rejects. */
export function loadedAt({ site, services, customers }: SiteSettings): LoadedFilter {
  return async (customer, signal) => {
    const management = services.get(site)?.management;
    const host = customers.get(customer)?.domain;
    if (!management || host === undefined) return { digest: null, asked: false, because: 'its API is not configured' };
    try {
      const limit = { limitMs: ASK_LIMIT_MS, signal };
      const answer = await askService(management, 'tandem_filter_digest', { host }, limit);
      const { digest } = Object(answer) as { digest?: unknown };
      if (digest === 'none') return { digest, because: 'it has none in force, and delivers nothing' };
      if (typeof digest === 'string') return { digest };
      return { digest: null, asked: true, because: 'tandem_filter_digest: no digest was answered' };
    } catch (error) {
      signal.throwIfAborted();
      const because = error instanceof Error ? error.message : String(error);
      if (/answered with 40[04]/.test(because))
        return { digest: 'none', because: 'it has no mod_tandem_filter, and delivers everything' };
      return { digest: null, asked: true, because };
    }
  };
}
