import { isProbed, type ProbedService } from '../probes/services/port.ts';
import { questionOf } from '../probes/services/step.ts';
import type { CustomerSettings, ManagementAccess, SiteSettings } from '../settings.ts';
import type { Finding } from '../vault/bucket.ts';
import { services, type Service } from '../../workflows/model/acts.ts';
import { askService } from './management.ts';

/** What ejabberd must have for what users are promised. */

const LIMIT_MS = 4000;

const needed: Partial<Record<Service, readonly string[]>> = {
  'audio-video': ['mod_stun_disco'],
  'file-transfer': ['mod_http_upload'],
  mobile: ['mod_offline', 'mod_push', 'mod_stream_mgmt'],
  'web-access': ['mod_bosh'],
  'trusted-federation': ['mod_tandem_federation'],
  'third-party-federation': ['mod_tandem_federation'],
  archiving: ['mod_mam', 'mod_tandem_archive'],
};

/** Services that were promised and cannot work, because a module of theirs is not loaded. */
export async function inspectModules(settings: SiteSettings, customer: CustomerSettings): Promise<Finding[]> {
  const { site, services: known } = settings;
  const { domain } = customer;
  const management = known.get(site)?.management;
  if (!management) return [];
  const subject = `service of ${domain} at ${site}`;
  try {
    const told = await askService(management, 'tandem_modules', { host: domain }, { limitMs: LIMIT_MS });
    const loaded = Array.isArray(told) ? told.map(String) : [];
    return services
      .filter((service) => isPromised(service, settings, customer))
      .flatMap((service) => {
        const missing = (needed[service] ?? []).filter((module) => !loaded.includes(module));
        if (missing.length === 0) return [];
        return {
          severity: 'error' as const,
          subject,
          observed: `${service} cannot work: ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} not among its modules`,
          try: 'Add it to `modules` of ejabberd.yml, as ops/reference-service/ejabberd/services.ts has it, and start ejabberd again.',
        };
      });
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    // Whatever else is wrong with the service is told of it already, a token that it knows for nothing as well.
    if (!/answered with 40[13]/.test(because) || !(await isKnown(management, domain))) return [];
    return [
      {
        severity: 'warning',
        subject,
        observed: `which modules it has was not seen (${because})`,
        try: 'Add tandem_modules to `api_permissions`, as ops/reference-service/ejabberd/MODULE.md has it.',
      },
    ];
  }
}

/** Whether its token is good for what every site may ask. */
const isKnown = (management: ManagementAccess, domain: string): Promise<boolean> =>
  askService(management, 'tandem_rights', { host: domain }, { limitMs: LIMIT_MS }).then(
    () => true,
    () => false,
  );

/** What was bought, or what real clients look at. */
function isPromised(service: Service, { site }: SiteSettings, customer: CustomerSettings): boolean {
  const { options, probes } = customer;
  if (service === 'archiving') return options.includes('content-archiving');
  if (service === 'third-party-federation') return options.includes('third-party-federation');
  const [half] = probes?.accounts.keys() ?? [];
  if (!isProbed(service) || half === undefined) return false;
  return typeof questionOf(customer, { site, half, provisions: true }, service satisfies ProbedService) !== 'string';
}
