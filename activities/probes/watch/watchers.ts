import { failure } from '../../../workflows/model/failures.ts';
import { isNews, type Known, type News } from '../../../workflows/model/watch-news.ts';
import type { WatchActivities } from '../../types.ts';

/**
 * What the looking in this process has come to, for the workflow to hear of. In memory: the workflow hears it also while
 * this site's database is away, and each process that works for a site looks for itself.
 */
export class Watchers {
  private readonly news = new Map<string, News[]>();
  private readonly listeners = new Set<() => void>();
  private ended = false;

  tell(customer: string, news: News[]): void {
    this.news.set(customer, news);
    this.wake();
  }

  /** The process ends: whoever waits is let go, or it would be waited for. */
  end(): void {
    this.ended = true;
    this.wake();
  }

  /** The news, once some of them are other than `known`; after `forMs`, as they are. Empty: nobody looks here. */
  async differing(customer: string, known: Known, forMs: number, signal: AbortSignal): Promise<News[]> {
    const limit = AbortSignal.timeout(forMs);
    const over = AbortSignal.any([signal, limit]);
    for (;;) {
      const news = this.news.get(customer) ?? [];
      signal.throwIfAborted();
      if (this.ended) throw failure('worker-ends', `watch of ${customer}: the process that looks is about to end`);
      if (limit.aborted || isNews(known, news)) return news;
      await new Promise<void>((resolve) => {
        const done = (): void => {
          this.listeners.delete(done);
          over.removeEventListener('abort', done);
          resolve();
        };
        this.listeners.add(done);
        over.addEventListener('abort', done, { once: true });
      });
    }
  }

  private wake(): void {
    for (const listener of this.listeners) listener();
  }
}

export function createWatchActivities(watchers: Watchers, signal: () => AbortSignal): WatchActivities {
  return {
    'watch-peer': async ({ customer, known, forMs }) => ({
      news: await watchers.differing(customer, known, forMs, signal()),
    }),
  };
}
