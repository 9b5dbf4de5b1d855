import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '../fault.ts';
import { certificateFor } from '../reference-service/authority.ts';
import { hasProsody, startPartner } from '../reference-service/prosody/partner.ts';
import { DOMAIN } from './configuration.ts';
import { findProcesses, stopProcess } from './processes.ts';
import { knownService, peoplePassword, prepareService, THIRD_PARTY, type Service } from './service.ts';
import { hasNameServer, serversPort, THIRD_PARTY_HOST } from './traffic.ts';

/**
 * A third party of the stack's customer: a server of strangers, with an authority of their own. It reaches the customer's domain
 * by one address of one site, which stands in its own configuration: whatever the DNS says, it comes to that site until its
 * operators have changed it, as an external update asks them to.
 */

/** Under which it stands among the processes. */
export const THIRD_PARTY_SITE = 'third-party';
const USER = 'friend';

/** Messages to it find it by the stack's own name server. */
export const hasThirdParty = (): boolean => hasProsody() && hasNameServer();

const configured = (folder: string): string => join(folder, 'third-party.json');

/** The site at which its configuration has the customer's domain. */
async function pointsTo(folder: string, { addresses }: Pick<Service, 'addresses'>): Promise<string> {
  const text = await readFile(configured(folder), 'utf8').catch(() => '{}');
  const { site } = JSON.parse(text) as { site?: string };
  return site ?? Object.keys(addresses)[0] ?? '';
}

export async function startThirdParty(folder: string, service: Service): Promise<void> {
  const { addresses, authority, strangers, domain, ports } = service;
  await startPartner(folder, {
    name: THIRD_PARTY_SITE,
    domain: THIRD_PARTY,
    address: THIRD_PARTY_HOST,
    ports: { clients: ports['third-party-clients'], servers: ports['third-party-servers'] },
    certificate: await certificateFor(strangers, join(folder, 'tls', THIRD_PARTY, 'server.pem'), [THIRD_PARTY]),
    authority: authority.certificate,
    resolver: {
      domain,
      address: addresses[await pointsTo(folder, service)] ?? '',
      port: serversPort(service),
    },
    accounts: [{ user: USER, password: await peoplePassword(folder) }],
  });
}

/** What its operators do when they get to it: they write the address of another site into their configuration. */
export async function pointThirdParty(folder: string, site: string): Promise<void> {
  const known = await knownService(folder);
  const service = known && hasThirdParty() ? await prepareService(folder, Object.keys(known.addresses), DOMAIN) : null;
  if (!service)
    throw new Fault(
      `${folder}: there is no stack with a third party`,
      '`tandem dev up` starts one where ejabberd, bind9 and Prosody are on the machine.',
    );
  if (!(site in service.addresses))
    throw new Fault(
      `site ${JSON.stringify(site)}: the stack has none of this name`,
      `One of ${Object.keys(service.addresses).join(', ')}.`,
    );
  await writeFile(`${configured(folder)}.new`, JSON.stringify({ site }));
  await rename(`${configured(folder)}.new`, configured(folder));
  const running = (await findProcesses(folder)).find((r) => r.site === THIRD_PARTY_SITE);
  if (running) await stopProcess(folder, running, 'SIGTERM', 5000);
  await startThirdParty(folder, service);
}
