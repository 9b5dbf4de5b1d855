import type { ServiceAddresses } from '../../activities/settings.ts';
import type { Cursor } from '../../runbooks/yaml.ts';
import { endpoint, hostPort, SAFE } from './addresses.ts';
import { certificates } from './certificates.ts';
import type {
  Configuration,
  ManagementConfiguration,
  ServiceConfiguration,
  SiteConfiguration,
} from './configuration.ts';
import { fileOf, secretOf } from './references.ts';
import { secretText } from './secrets.ts';
import { together } from './together.ts';

/** `sites.SITE.service`: where the users of a site sign in, and how its service is managed; null when the file does not say. */
export function serviceOf(at: Cursor): ServiceConfiguration | null {
  if (!at.present) return null;
  const fields = at.fields(['clients', 'api', 'outside-check', 'management']);
  const { clients, api, 'outside-check': outside, management } = fields;
  return {
    clients: clients.text('host:port is expected', hostPort),
    api: api.present ? api.text(SAFE, endpoint) : null,
    outsideCheck: outside.present ? outside.text(SAFE, endpoint) : null,
    management: management.present ? managementOf(management) : null,
  };
}

function managementOf(at: Cursor): ManagementConfiguration {
  const { url, token, 'peer-token': peer, ca } = at.fields(['url', 'token', 'peer-token', 'ca']);
  return {
    url: url.text(SAFE, endpoint).replace(/\/$/, ''),
    token: secretOf(token),
    peerToken: peer.present ? secretOf(peer) : null,
    ca: ca.present ? fileOf(ca) : null,
  };
}

/** The services of these sites as `own` reaches them: a peer's API with the peer's token, which can do little. */
export async function serviceAddresses(
  configuration: Configuration,
  own: string,
  sites: readonly SiteConfiguration[],
): Promise<Map<string, ServiceAddresses>> {
  const found = sites.map(async ({ site, service }): Promise<[string, ServiceAddresses][]> => {
    if (!service) return [];
    const { management, ...addresses } = service;
    const token = site === own ? management?.token : management?.peerToken;
    if (!management || !token) return [[site, { ...addresses, management: null }]];
    const [ca, text] = await together([certificates(configuration, management.ca), secretText(configuration, token)]);
    return [[site, { ...addresses, management: { url: management.url, token: text, ca } }]];
  });
  return new Map((await together(found)).flat());
}
