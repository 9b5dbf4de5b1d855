import { timeFault, validityAt, type Place } from '../probes/certificate.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import type { Finding } from '../vault/bucket.ts';

/** Certificates of a site's service that end soon: nobody signs in, and no partner believes it, from then on. */

const LIMIT_MS = 4000;
const DAY = 24 * 3_600_000;
/** Fewer days than these are too few for who has to ask others for a new one. */
const SOON_DAYS = 14;

interface Shown {
  what: string;
  place: Place;
  /** For whom it must be. */
  name: string;
  try: string;
}

/** Looks at what clients, browsers, the worker and the trusted partner's users are shown now. One that is not shown is told of. */
export async function inspectCertificates(
  { site, services }: SiteSettings,
  { domain, probes }: CustomerSettings,
  now = Date.now(),
): Promise<Finding[]> {
  const service = services.get(site);
  const renew = 'Renew it; `ejabberdctl reload_config` takes a new one in `certfiles`.';
  const shown: Shown[] = [];
  if (service) shown.push({ what: 'client port', place: clientPort(service.clients), name: domain, try: renew });
  if (service?.management) shown.push({ what: 'API', ...https(service.management.url), try: renew });
  const target = probes?.targets.get(site);
  if (target?.web != null) {
    const { place, name } = https(target.web);
    shown.push({ what: 'web address', place: { ...place, host: target.address ?? place.host }, name, try: renew });
  }
  if (probes?.partner) {
    const { clients, domain: name } = probes.partner;
    shown.push({
      what: 'trusted partner',
      place: clientPort(clients),
      name,
      try: 'Tell the partner: it must renew it.',
    });
  }
  const found = await Promise.all(shown.map((one) => look(one, `${domain} at ${site}`, now)));
  return found.filter((finding) => finding !== null);
}

async function look({ what, place, name, try: next }: Shown, of: string, now: number): Promise<Finding | null> {
  const at = `${place.host}:${place.port}`;
  const subject = `certificate of ${of}, ${what} (${at})`;
  try {
    const validity = await validityAt(place, name, AbortSignal.timeout(LIMIT_MS));
    const fault = timeFault(validity, new Date(now));
    if (fault !== '') return { severity: 'error', subject, observed: `it shows ${fault}`, try: next };
    const days = Math.floor((validity.until.getTime() - now) / DAY);
    if (days >= SOON_DAYS) return null;
    const observed = `it expires on ${validity.until.toISOString()}, in ${days} days; ${SOON_DAYS} are the least`;
    return { severity: 'warning', subject, observed, try: next };
  } catch (error) {
    const observed = `it was not seen: ${error instanceof Error ? error.message : String(error)}`;
    return { severity: 'warning', subject, observed, try: 'Look whether the service runs, and at its address.' };
  }
}

function clientPort(address: string): Place {
  const [host = '', port = ''] = address.split(':');
  return { host, port: Number(port), of: 'client', direct: false };
}

function https(url: string): { place: Extract<Place, { of: 'https' }>; name: string } {
  const { hostname, port } = new URL(url);
  const name = hostname.replaceAll(/[[\]]/g, '');
  return { place: { host: name, port: Number(port || 443), of: 'https' }, name };
}
