import { probedServices, type ProbedService, type ProbeResult } from '../activities/probes/services/port.ts';
import { probeServices } from '../activities/probes/services/continuous.ts';
import { openSite } from '../activities/services/site.ts';
import type { SiteSettings } from '../activities/settings.ts';
import { failureText } from '../workflows/model/failures.ts';
import type { SiteMetrics } from './metrics.ts';
import { pause } from './temporal.ts';

/** From the start of one round to the start of the next; what takes longer goes on at once. */
const EVERY_MS = 60_000;

/**
 * Looks at the services of each customer with `probes` at this site, as its users do, while the worker lives. Availability is
 * what these looks have seen (SERVICE: 99.9 %). A site that serves nobody is not looked at: it is meant to be silent. What
 * breaks is said once, and once that it works again.
 */
export async function watchServices(
  settings: SiteSettings,
  metrics: SiteMetrics,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const probed = [...settings.customers.values()].filter(({ probes }) => probes?.targets.has(settings.site));
  if (probed.length === 0) return;
  const site = openSite(settings);
  const broken = new Set<string>();
  const note = (customer: string, service: ProbedService, { ok, ms, because }: ProbeResult): void => {
    metrics.probe(customer, service, { ok, ms });
    const name = `${service} of ${customer}`;
    if (ok && broken.delete(name)) say(`${name}: works again`);
    if (ok || broken.has(name)) return;
    broken.add(name);
    say(`${name}: BROKEN at ${settings.site}: ${because}`);
  };
  try {
    for (let next = Date.now() + EVERY_MS; !signal.aborted; next = Math.max(Date.now(), next + EVERY_MS)) {
      await pause(Math.max(0, next - Date.now()), signal);
      for (const customer of probed) {
        if (signal.aborted) return;
        try {
          const serves = await probeServices(site, customer, signal, (...seen) => note(customer.id, ...seen));
          if (!serves) for (const service of probedServices) metrics.unprobed(customer.id, service);
        } catch (error) {
          if (signal.aborted) return;
          say(`services of ${customer.id}: cannot be looked at: ${failureText(error)}`);
        }
      }
    }
  } finally {
    await site.close();
  }
}
