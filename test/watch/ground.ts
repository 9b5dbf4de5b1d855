import { setTimeout } from 'node:timers/promises';
import { Watchers } from '../../activities/probes/watch/watchers.ts';
import type { Seen } from '../../activities/probes/watch/seen.ts';
import type { SiteSettings } from '../../activities/settings.ts';
import { SiteGuards } from '../../ops/closing-loop.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import { watchSites } from '../../ops/watch-loop.ts';

/** The loop of one site's worker, on real servers; quicker than in production, for what is tested is not the clock. */
export interface Loop {
  watchers: Watchers;
  metrics: SiteMetrics;
  said: string[];
  /** What each round of each customer has seen, oldest first. */
  rounds: { customer: string; seen: Seen }[];
  /** Once so many rounds of a customer have gone by since. */
  after: (rounds: number, customer?: string) => Promise<void>;
  stop: () => Promise<void>;
}

/** Guarded by what its watch sees, as a worker has it. */
export async function guarded(
  settings: SiteSettings,
  metrics: SiteMetrics,
  signal: AbortSignal,
  say: (line: string) => void,
  watchers = new Watchers(),
): Promise<void> {
  const guards = new SiteGuards(settings, metrics, say);
  const onRound = (customer: string, seen: Seen): Promise<void> => guards.decide(customer, seen, signal);
  await watchSites({ settings, metrics, watchers, everyMs: 300, signal, say, onRound });
  await guards.close();
}

/** `gated`: it goes no further than `after` asks for. */
export function loop(settings: SiteSettings, everyMs = 300, { gated = false } = {}): Loop {
  const ending = new AbortController();
  let wanted = gated ? 0 : Infinity;
  const rounds: Loop['rounds'] = [];
  const said: string[] = [];
  const [watchers, metrics] = [new Watchers(), new SiteMetrics()];
  const going = watchSites({
    settings,
    metrics,
    watchers,
    everyMs,
    signal: ending.signal,
    say: (line) => said.push(line),
    onRound: async (customer, seen) => {
      rounds.push({ customer, seen });
      while (rounds.length >= wanted && !ending.signal.aborted) await setTimeout(5);
    },
  });
  return {
    watchers,
    metrics,
    said,
    rounds,
    async after(more, customer) {
      const of = (): number => rounds.filter((r) => customer === undefined || r.customer === customer).length;
      const until = gated ? (wanted += more) : of() + more;
      while (of() < until) await setTimeout(20);
    },
    async stop() {
      ending.abort();
      await going;
    },
  };
}
