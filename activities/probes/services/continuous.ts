import type { OwnSite } from '../../services/site.ts';
import type { CustomerSettings } from '../../settings.ts';
import { probedServices, type ProbedService, type ProbeResult } from './port.ts';
import { probeService } from './probe.ts';
import { provisionerOf } from './provisioner.ts';
import { questionOf } from './step.ts';

/**
 * Looks at every promised service of a customer at this site once, one after the other, as users of a half do whom the site
 * serves now: its own, or those it has taken over. `heard` is told each result. False when the site serves nobody.
 */
export async function probeServices(
  site: OwnSite,
  customer: CustomerSettings,
  signal: AbortSignal,
  heard: (service: ProbedService, result: ProbeResult) => void,
): Promise<boolean> {
  const own = site.settings.site;
  const served = await site
    .database(customer.id)
    .query<{ half: string }>(
      'select half from tandem.served where not exists (select from tandem.closed) group by half order by half = $1 desc',
      [own],
    );
  const [half] = served.map((row) => row.half).filter((name) => customer.probes?.accounts.has(name));
  if (half === undefined) return false;
  await probeHalf(site, customer, half, signal, heard);
  return true;
}

/** Every service that is promised and can be looked at, for users of one half at this site. */
export async function probeHalf(
  site: OwnSite,
  customer: CustomerSettings,
  half: string,
  signal: AbortSignal,
  heard: (service: ProbedService, result: ProbeResult) => void,
): Promise<void> {
  if (!customer.probes) return;
  const own = site.settings.site;
  const provisioner = provisionerOf(site, customer, half);
  for (const service of probedServices) {
    signal.throwIfAborted();
    const asked = questionOf(customer, { site: own, half, provisions: provisioner !== null }, service);
    if (typeof asked === 'string') continue; // Not bought, or not configured: the plan of a move says so.
    const { limitMs } = customer.probes;
    heard(service, await probeService({ ...asked, provisioner, service, limitMs, signal }));
  }
}
