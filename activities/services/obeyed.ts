import { failure } from '../../workflows/model/failures.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import { rightsObeyed } from './management.ts';

/** Whether a site's service follows what the site's database says of the right to serve. */

const ASK_LIMIT_MS = 3000;

/**
 * For so long, ms, a service may go on with what it has read: `mod_tandem` believes it for 5 s, and takes a second more to
 * end the sessions.
 */
export const LEASE_MS = 6000;

export type Obeyed =
  | { rights: ReadonlyMap<string, string> }
  /** `asked`: false where nothing is configured to be asked. */
  | { rights: null; asked: boolean; because: string };

/** Makes the service of `site` read the right to serve, and tells which site it now takes each half to be served by. */
export async function askRights(
  { services }: SiteSettings,
  { domain }: CustomerSettings,
  site: string,
  signal?: AbortSignal,
): Promise<Obeyed> {
  const management = services.get(site)?.management;
  if (!management) return { rights: null, asked: false, because: 'its API is not configured' };
  try {
    return { rights: await rightsObeyed(management, domain, { limitMs: ASK_LIMIT_MS, signal }) };
  } catch (error) {
    signal?.throwIfAborted();
    return { rights: null, asked: true, because: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * After a site was given the right to serve halves, this one when it is not named. A service that does not answer is told of, and reads it by itself; one
 * that has read it and does not serve is `service-disobeys`.
 */
export async function requireServed(
  settings: SiteSettings,
  customer: CustomerSettings,
  halves: readonly string[],
  signal?: AbortSignal,
  site = settings.site,
): Promise<string> {
  const obeyed = await askRights(settings, customer, site, signal);
  if (!obeyed.rights) return obeyed.asked ? `its service was not seen to obey yet: ${obeyed.because}` : '';
  const { rights } = obeyed;
  const half = halves.find((one) => rights.get(one) !== site);
  if (half === undefined) return 'its service obeys';
  const taken = rights.get(half);
  throw failure(
    'service-disobeys',
    `${customer.id}: the service of ${site} takes ${half} to be served by ${taken ?? 'nobody'}, its database by ${site}`,
  );
}
