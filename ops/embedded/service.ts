import { createHash } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { Fault } from '../fault.ts';
import { certificateFor, openAuthority, type Authority } from '../reference-service/authority.ts';
import { findEjabberd, type Ejabberd } from '../reference-service/ejabberd/installed.ts';
import { makeServiceTables, startEjabberd } from '../reference-service/ejabberd/site.ts';
import { admitToManagement } from '../reference-service/ejabberd/tokens.ts';
import { isFree } from './ports.ts';
import { contactsDatabase, SERVICE_ROLE } from './postgres.ts';
import { databaseUrl, secret } from './secrets.ts';
import { hasNameServer } from './traffic.ts';

/** The reference service as a part of the stack: an ejabberd a site, on the site's PostgreSQL. */

/** Where its servers listen, the same at both sites: each has an address of its own. New ones go to the end. */
const portNames = [
  'clients',
  'distribution',
  'management',
  'front',
  'dns',
  'web',
  'stun',
  'servers',
  'partner-clients',
  'partner-servers',
  'directory',
  'servers-front',
  'third-party-clients',
  'third-party-servers',
] as const;
export type ServicePorts = Record<(typeof portNames)[number], number>;

/** The domain of the trusted partner. */
export const PARTNER = 'partner.example';
/** And that of a third party, with which text goes. */
export const THIRD_PARTY = 'fabrikam.example';

/** A block that is large enough for what may come, below those of the sites. */
const BLOCK = 24;
const FIRST = 10_000;
const LAST = 16_990;

export interface Service {
  ejabberd: Ejabberd;
  domain: string;
  ports: ServicePorts;
  authority: Authority;
  /** Of the third party's own making. */
  strangers: Authority;
  /** Path of both their certificates: what other servers are believed by. */
  trusted: string;
  /** Loopback addresses by site. */
  addresses: Record<string, string>;
}

const addressOf = (index: number): string => `127.0.0.${2 + index}`;
const remembered = (folder: string): string => join(folder, 'service.json');

/** The ports of a stack's service and its addresses by site; null when the stack has none. */
export async function knownService(
  folder: string,
): Promise<{ ports: ServicePorts; addresses: Record<string, string> } | null> {
  const known = await readFile(remembered(folder), 'utf8').then(
    (text) => JSON.parse(text) as { first: number; sites: string[] },
    () => null,
  );
  return known && { ports: portsFrom(known.first), addresses: addressesOf(known.sites) };
}

const portsFrom = (first: number): ServicePorts =>
  Object.fromEntries(portNames.map((name, index) => [name, first + index])) as ServicePorts;
const addressesOf = (sites: readonly string[]): Record<string, string> =>
  Object.fromEntries(sites.map((site, index) => [site, addressOf(index)]));

/** What all of its servers share, made at the first time; null where there is no ejabberd on the machine. */
export async function prepareService(
  folder: string,
  sites: readonly string[],
  domain: string,
): Promise<Service | null> {
  const ejabberd = findEjabberd();
  if (!ejabberd) return null;
  const { ports, addresses } = (await knownService(folder)) ?? (await choose(folder, sites));
  const authority = await openAuthority(join(folder, 'tls'));
  const strangers = await openAuthority(join(folder, 'tls', THIRD_PARTY));
  const trusted = join(folder, 'tls', 'servers.pem');
  const both = await Promise.all([authority, strangers].map(({ certificate }) => readFile(certificate, 'utf8')));
  await writeFile(trusted, both.join(''));
  return { ejabberd, domain, ports, authority, strangers, trusted, addresses };
}

/** Chosen once and remembered, as the ports of the sites are. */
async function choose(
  folder: string,
  sites: readonly string[],
): Promise<{ ports: ServicePorts; addresses: Record<string, string> }> {
  const addresses = addressesOf(sites);
  const seed = createHash('sha256').update(folder).digest().readUInt32BE(0);
  const blocks = Math.floor((LAST - FIRST) / BLOCK);
  for (let i = 0; i < blocks; i += 1) {
    const first = FIRST + ((seed + i) % blocks) * BLOCK;
    const hosts = ['127.0.0.1', ...Object.values(addresses)];
    const wanted = hosts.flatMap((host) => portNames.map((_, n) => isFree(first + n, host)));
    if ((await Promise.all(wanted)).includes(false)) continue;
    await writeFile(`${remembered(folder)}.new`, JSON.stringify({ first, sites }));
    await rename(`${remembered(folder)}.new`, remembered(folder));
    return { ports: portsFrom(first), addresses };
  }
  throw new Fault(
    `ports: no ${portNames.length} free ones in a row from ${FIRST} to ${LAST} at ${Object.values(addresses).join(', ')}`,
    'Stop other servers on this machine, then try again.',
  );
}

/** Secrets by which a site's own worker, and its peer's, may use the API of its ejabberd. */
export const managementToken = (folder: string, site: string, whose: 'own' | 'peer'): Promise<string> =>
  secret(folder, `${site}-ejabberd-${whose}-token`);

/** With which the stack's made-up users sign in. */
export const peoplePassword = (folder: string): Promise<string> => secret(folder, 'people-password');

/** Its part of the site's database, and then the server. The site's PostgreSQL must be up. */
export async function startService(folder: string, site: string, service: Service, postgres: number): Promise<void> {
  const { ejabberd, domain, ports, authority, trusted, addresses } = service;
  const owner = await databaseUrl(folder, site, 'tandem', postgres, contactsDatabase);
  await makeServiceTables(ejabberd, owner);
  await grantTables(owner);
  const [own, peer] = await Promise.all([managementToken(folder, site, 'own'), managementToken(folder, site, 'peer')]);
  await admitToManagement(owner, domain, { own, peer });
  const [other = '', at = ''] = Object.entries(addresses).find(([name]) => name !== site) ?? [];
  const names = [domain, addresses[site] ?? ''];
  await startEjabberd(folder, ejabberd, {
    site,
    domain,
    address: addresses[site] ?? '',
    ports,
    databaseUrl: await databaseUrl(folder, site, SERVICE_ROLE, postgres, contactsDatabase),
    certificate: await certificateFor(authority, join(folder, 'tls', `${site}.pem`), names),
    authority: trusted,
    peer: { site: other, address: at },
    bought: { archiving: true, externalAv: false, partners: [PARTNER], thirdParties: [THIRD_PARTY] },
    resolver: hasNameServer() ? { address: '127.0.0.1', port: ports.dns } : null,
  });
}

/** The service's own tables are its own to write; what it obeys, Tandem grants to the role it is a member of. */
export async function grantTables(owner: string): Promise<void> {
  const client = new Client({ connectionString: owner });
  await client.connect();
  try {
    await client.query(`grant select, insert, update, delete on all tables in schema public to ${SERVICE_ROLE}`);
    await client.query(`grant usage on all sequences in schema public to ${SERVICE_ROLE}`);
  } finally {
    await client.end();
  }
}
