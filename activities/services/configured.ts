import { unlisted } from '../../runbooks/names.ts';
import type { Plan, Step } from '../../workflows/model/plan.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import { lackOf, trafficActs } from '../traffic/act.ts';

/** Names the parties that a step asks: one by its name, or all of an option. */
export function withParties(steps: readonly Step[], { parties }: Pick<CustomerSettings, 'parties'>): Step[] {
  return steps.map((step) => {
    if (step.act !== 'request-external-update') return step;
    const meant = [...parties].filter(([name, { option }]) => step.party === name || step.party === option);
    return { ...step, parties: meant.map(([name]) => name).toSorted() };
  });
}

/**
 * What a step would need of this site's configuration, and would not find in the middle of the move: it is said before
 * anybody signs. Steps for options that were not bought are not among these.
 */
export function unconfigured(
  {
    site,
    channels,
    requests,
    commands,
    proxy,
  }: Pick<SiteSettings, 'site' | 'channels' | 'requests' | 'commands' | 'proxy'>,
  customer: Pick<CustomerSettings, 'id' | 'dns' | 'backends'>,
  steps: readonly Step[],
): Plan['blockers'] {
  const names = { request: [...requests.keys()], command: [...commands.keys()], channel: [...channels.keys()] };
  const lacking = unlisted(steps, [{ where: site, names }]);
  const nobody = steps.filter(({ act, parties = [] }) => act === 'request-external-update' && parties.length === 0);
  const switches = { 'shift-dns': customer.dns !== undefined, 'shift-proxy': proxy && customer.backends };
  const unled = trafficActs.flatMap((act) =>
    switches[act]
      ? []
      : steps.filter((s) => s.act === act).map(({ id }) => ({ step: id, text: lackOf(act, site, customer.id) })),
  );
  return [
    ...lacking.map(({ step, text }) => ({ step, text })),
    ...nobody.map(({ id, party }) => ({ step: id, text: `the customer has no party ${party}` })),
    ...unled,
  ].map(({ step, text }) => ({ kind: 'not-configured', text: `step ${step}: ${text}` }));
}
