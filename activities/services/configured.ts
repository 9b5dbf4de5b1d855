import { unlisted } from '../../runbooks/names.ts';
import type { Condition } from '../../workflows/model/conditions.ts';
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
 * What of the parts that a step's `when` may name the configuration of this site has for a customer; of users of `half`, where
 * that matters: nobody looks at a service for a cohort without accounts that are in it.
 */
export function partsOf(
  { site, proxy, services }: Pick<SiteSettings, 'site' | 'proxy' | 'services'>,
  { dns, backends, directory, probes: all }: Pick<CustomerSettings, 'dns' | 'backends' | 'directory' | 'probes'>,
  half?: string,
): Condition[] {
  const probes = half === undefined || all?.accounts.has(half) ? all : undefined;
  const has: [Condition, boolean][] = [
    ['dns', Boolean(dns)],
    ['proxy', Boolean(proxy && backends)],
    ['directory', Boolean(directory)],
    ['service-probes', Boolean(probes)],
    ['web-probes', typeof probes?.targets.get(site)?.web === 'string'],
    ['federation-probes', Boolean(probes?.partner)],
    ['provisioning-probes', Boolean(probes && services.get(site)?.management)],
  ];
  return has.flatMap(([part, there]) => (there ? [part] : []));
}

/** Of a cohort without accounts in it: its users move all the same, and whoever signs knows. */
export const unseen = ({ probes }: CustomerSettings, half: string): string[] =>
  probes && !probes.accounts.has(half)
    ? [`no service is looked at as users of ${half} find it: no accounts of it are configured (\`probes.accounts\`)`]
    : [];

/**
 * What a step would need of this site's configuration, and would not find in the middle of the move: it is said before
 * anybody signs. Steps for what was not bought, or is not configured, by their `when`, are not among these.
 */
export function unconfigured(
  own: Pick<SiteSettings, 'site' | 'channels' | 'requests' | 'commands' | 'proxy' | 'services'>,
  customer: Pick<CustomerSettings, 'id' | 'dns' | 'backends'>,
  steps: readonly Step[],
): Plan['blockers'] {
  const { site, channels, requests, commands } = own;
  const names = { request: [...requests.keys()], command: [...commands.keys()], channel: [...channels.keys()] };
  const lacking = unlisted(steps, [{ where: site, names }]);
  const nobody = steps.filter(({ act, parties = [] }) => act === 'request-external-update' && parties.length === 0);
  const parts = partsOf(own, customer);
  const needed = { 'shift-dns': 'dns', 'shift-proxy': 'proxy' } as const;
  const unled = trafficActs
    .filter((act) => !parts.includes(needed[act]))
    .flatMap((act) =>
      steps.filter((s) => s.act === act).map(({ id }) => ({ step: id, text: lackOf(act, site, customer.id) })),
    );
  return [
    ...lacking.map(({ step, text }) => ({ step, text })),
    ...nobody.map(({ id, party }) => ({ step: id, text: `the customer has no party ${party}` })),
    ...unled,
  ].map(({ step, text }) => ({ kind: 'not-configured', text: `step ${step}: ${text}` }));
}
