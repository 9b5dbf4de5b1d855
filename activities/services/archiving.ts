import type { SiteSettings } from '../settings.ts';
import { askService } from './management.ts';

const ASK_LIMIT_MS = 3000;

/** Whether a service keeps every message, as it says itself. */
export type Archiving =
  | { on: true }
  | { on: false; because: string }
  /** Not known. `asked`: false where nothing is configured to be asked. */
  | { on: null; asked: boolean; because: string };

export type ArchivingOf = (customer: string, signal: AbortSignal) => Promise<Archiving>;

/** Asks this site's own service. Its silence is an answer; only the signal rejects. */
export function archivingAt({ site, services, customers }: SiteSettings): ArchivingOf {
  return async (customer, signal) => {
    const management = services.get(site)?.management;
    const host = customers.get(customer)?.domain;
    if (!management || host === undefined) return { on: null, asked: false, because: 'its API is not configured' };
    try {
      const answer = await askService(management, 'tandem_archiving', { host }, { limitMs: ASK_LIMIT_MS, signal });
      const { archiving } = Object(answer) as { archiving?: unknown };
      if (archiving === 'on') return { on: true };
      return { on: false, because: typeof archiving === 'string' ? archiving : 'it does not say that it is on' };
    } catch (error) {
      signal.throwIfAborted();
      const because = error instanceof Error ? error.message : String(error);
      if (/answered with 40[04]/.test(because)) return { on: false, because: 'it has no mod_tandem_archive' };
      return { on: null, asked: true, because };
    }
  };
}
