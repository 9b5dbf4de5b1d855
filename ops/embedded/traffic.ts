import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { WITNESS } from '../config/witness.ts';
import { findBind, startBind, type BindKey } from '../reference-service/bind.ts';
import { findHaproxy, haproxySocket, startHaproxy } from '../reference-service/haproxy.ts';
import { secret } from './secrets.ts';
import { PARTNER, THIRD_PARTY, type Service } from './service.ts';

/** How the stack's users are led to a site: a name server at neither, and a proxy before the service of each. */

/** A name server, as a witness, is at neither site. */
export const NAME_SERVER = WITNESS;
const HOST = '127.0.0.1';
/** Sign-ins a second that a processor of this machine holds, with both sites and all clients on it (ops/bench/FIGURES.md). */
const PACE_OF_A_CORE = 20;
/** What HAProxy has before the service, and the port of each that lies behind it. */
const FRONTS = [
  { backend: 'clients', front: 'front', behind: 'clients', health: 'xmpp-client' },
  { backend: 'servers', front: 'servers-front', behind: 'servers', health: 'xmpp-server' },
] as const;
const CLIENTS = '_xmpp-client._tcp';
const SERVERS = '_xmpp-server._tcp';
/** ejabberd has the targets of SRV records resolved by the machine, which knows no name of ours: the address stands for one. */
export const PARTNER_HOST = '127.0.0.4';
export const THIRD_PARTY_HOST = '127.0.0.5';

export const hasNameServer = (): boolean => findBind() !== null;
export const hasProxy = (): boolean => findHaproxy() !== null;

/** Where clients, and other servers, come to a site. */
export const clientsPort = ({ ports }: Service): number => (hasProxy() ? ports.front : ports.clients);
export const serversPort = ({ ports }: Service): number => (hasProxy() ? ports['servers-front'] : ports.servers);

const hostOf = (site: string, { domain }: Service): string => `im-${site}.${domain}`;
const keyName = (site: string): string => `tandem-${site}`;
const keyOf = (folder: string, site: string): Promise<string> =>
  secret(folder, `${site}-dns-key`, () => randomBytes(32).toString('base64'));

/** Both sites' keys may change what users find the service by, and the epoch, and nothing else. */
export async function startNameServer(folder: string, service: Service): Promise<void> {
  const { addresses, domain, ports } = service;
  const sites = Object.entries(addresses);
  const keys = await Promise.all(
    sites.map(async ([site]): Promise<BindKey> => ({
      name: keyName(site),
      algorithm: 'hmac-sha256',
      secret: Buffer.from(await keyOf(folder, site), 'base64'),
    })),
  );
  const records = sites.flatMap(([site, address]) => [
    `im-${site} IN A ${address}`,
    `${CLIENTS} IN SRV 10 50 ${clientsPort(service)} ${hostOf(site, service)}.`,
    `${SERVERS} IN SRV 10 50 ${serversPort(service)} ${hostOf(site, service)}.`,
  ]);
  const changes = [
    { name: CLIENTS, types: ['SRV'] },
    { name: SERVERS, types: ['SRV'] },
    { name: '_epoch', types: ['TXT'] },
  ];
  const zone = { name: domain, records, keys, changes };
  const others = [
    { name: PARTNER, records: [`${SERVERS} IN SRV 10 50 ${ports['partner-servers']} ${PARTNER_HOST}.`] },
    { name: THIRD_PARTY, records: [`${SERVERS} IN SRV 10 50 ${ports['third-party-servers']} ${THIRD_PARTY_HOST}.`] },
  ];
  await startBind(folder, { site: NAME_SERVER, address: HOST, port: ports.dns, zones: [zone, ...others] });
}

/** The front of a site's service: before both, so that who comes to either is taken to one that is up: its own, if that is. */
export async function startProxy(folder: string, site: string, { addresses, domain, ports }: Service): Promise<void> {
  const pace = PACE_OF_A_CORE * availableParallelism();
  const fronts = FRONTS.map(({ backend, front, behind, health }) => {
    const servers = Object.entries(addresses).map(([name, at]) => [name, `${at}:${ports[behind]}`] as const);
    return {
      name: backend,
      port: ports[front],
      health,
      servers: Object.fromEntries(servers),
      ...(health === 'xmpp-client' && { pace, own: site }),
    };
  });
  await startHaproxy(folder, { site, domain, address: addresses[site] ?? HOST, ports: fronts });
}

/** `customers.CUSTOMER.dns` and `.proxy` of tandem.yaml. */
export async function trafficEntry(folder: string, service: Service): Promise<Record<string, unknown>> {
  const { addresses, domain, ports } = service;
  const sites = Object.keys(addresses);
  const bySite = <T>(of: (site: string) => T): Record<string, T> =>
    Object.fromEntries(sites.map((site) => [site, of(site)]));
  await Promise.all(sites.map((site) => keyOf(folder, site)));
  const dns = {
    server: `${HOST}:${ports.dns}`,
    zone: domain,
    keys: bySite((site) => ({ name: keyName(site), secret: { file: `secrets/${site}-dns-key` } })),
    ttl: '30s',
    records: [
      { name: CLIENTS, port: clientsPort(service), targets: bySite((site) => hostOf(site, service)) },
      { name: SERVERS, port: serversPort(service), targets: bySite((site) => hostOf(site, service)) },
    ],
  };
  return {
    ...(hasNameServer() && { dns }),
    ...(hasProxy() && { proxy: FRONTS.map(({ backend }) => ({ backend, servers: bySite((site) => site) })) }),
  };
}

/** `sites.SITE.proxy`. */
export const proxyEntry = (folder: string, site: string): Record<string, unknown> =>
  hasProxy() ? { proxy: { socket: haproxySocket(folder, site) } } : {};
