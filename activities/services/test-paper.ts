import { loadRunbook, shippedRunbooks } from '../../runbooks/load.ts';
import type { PaperWalk } from '../../workflows/model/continuity.ts';
import { humanSteps, paperSteps } from '../../workflows/model/test-paper.ts';
import { plannedAt } from './readiness.ts';
import type { OwnSite } from './site.ts';

/**
 * Reads out the failover in which this site would survive, as it would be planned if its peer were lost at that time: who does
 * what, how long it may take and how long it is expected to. Nothing is claimed, signed or moved.
 */
export async function readPaper(
  site: OwnSite,
  id: string,
  at: string,
  signal: AbortSignal,
): Promise<Omit<PaperWalk, 'paged'>> {
  const customer = site.customer(id);
  const [test, { plan, stops, asks, forecastMs }] = await Promise.all([
    loadRunbook(customer.runbooks.get('tabletop-test') ?? shippedRunbooks['tabletop-test'], { kind: 'tabletop-test' }),
    plannedAt(site, customer, at, signal),
  ]);
  const { decisions = null, digest = null, forecast } = plan ?? {};
  return {
    from: customer.peer,
    to: site.settings.site,
    digest,
    epoch: decisions?.epoch ?? null,
    runbook: decisions?.runbook.name ?? null,
    forecastMs,
    steps: decisions ? paperSteps(decisions, forecast) : [],
    blockers: stops,
    asks,
    people: humanSteps(test, decisions),
  };
}
