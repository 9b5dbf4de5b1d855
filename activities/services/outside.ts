import type { Plan, Step } from '../../workflows/model/plan.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';

/** Names the parties that a step asks: one by its name, or all of an option. */
export function withParties(steps: readonly Step[], { parties }: Pick<CustomerSettings, 'parties'>): Step[] {
  return steps.map((step) => {
    if (step.act !== 'request-external-update') return step;
    const meant = [...parties].filter(([name, { option }]) => step.party === name || step.party === option);
    return { ...step, parties: meant.map(([name]) => name).toSorted() };
  });
}

/** What a step would need of this site's configuration, and would not find in the middle of the move. */
export function unconfigured(
  { site, channels }: Pick<SiteSettings, 'site' | 'channels'>,
  steps: readonly Step[],
): Plan['blockers'] {
  return steps.flatMap(({ id, act, channel = '', party, parties = [] }): Plan['blockers'] => {
    if (act === 'notify' && !channels.has(channel))
      return [{ kind: 'not-configured', text: `step ${id}: site ${site} has no channel ${channel}` }];
    if (act === 'request-external-update' && parties.length === 0)
      return [{ kind: 'not-configured', text: `step ${id}: the customer has no party ${party}` }];
    return [];
  });
}
