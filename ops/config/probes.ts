import { isIP } from 'node:net';
import type { ProbeSettings } from '../../activities/probes/services/settings.ts';
import { probeAccounts, type ProbeAccount, type ProbePartner } from '../../activities/probes/services/port.ts';
import type { Cursor } from '../../runbooks/yaml.ts';
import { isCohort, isHalf } from '../../workflows/model/half.ts';
import { hostPort } from './addresses.ts';
import { certificates } from './certificates.ts';
import type { Configuration, PlacedFile, SecretReference, SiteConfiguration } from './configuration.ts';
import { fileOf, secretOf } from './references.ts';
import { secretText } from './secrets.ts';
import { together } from './together.ts';

/** `customers.CUSTOMER.probes`: where its services are looked at, and by which synthetic accounts. */

const S = 1000;
const SHORTEST_MS = 5 * S;
const LONGEST_MS = 120 * S;
const USUAL_MS = 20 * S;

type Referenced = Omit<ProbeAccount, 'password'> & { password: SecretReference };

/** As configured: passwords and certificates are references still. */
export interface ProbeConfiguration {
  /** By site. */
  addresses: ReadonlyMap<string, { clients: string; web: string | null; address: string | null }>;
  /** By the half whose users they stand for: a site, or a cohort of its users. */
  accounts: ReadonlyMap<string, Record<(typeof probeAccounts)[number], Referenced>>;
  partner: (Omit<ProbePartner, 'password'> & Referenced) | null;
  /** `address:port`, as Node's resolver takes it. */
  resolver: string | null;
  ca: PlacedFile | null;
  limitMs: number;
}

/** Null when the file has none: then no service is probed. */
export function probesOf(
  at: Cursor,
  sites: readonly string[],
  known: ReadonlyMap<string, SiteConfiguration>,
): ProbeConfiguration | null {
  if (!at.present) return null;
  const f = at.fields(['addresses', 'accounts', 'partner', 'resolver', 'ca', 'limit']);
  const limitMs = f.limit.duration(USUAL_MS);
  if (limitMs < SHORTEST_MS || limitMs > LONGEST_MS) f.limit.fault(`${f.limit.seen()}; from 5s to 2m is allowed`);
  // A site that is not named has the address of its service, and no web.
  const places = f.addresses.present
    ? Object.entries(f.addresses.fields(sites))
    : sites.map((site) => [site, f.addresses] as const);
  return {
    addresses: new Map(places.map(([site, place]) => [site, addressesOf(place, known.get(site)?.service?.clients)])),
    accounts: new Map(
      Object.entries(
        f.accounts.fields([...sites, ...f.accounts.names().filter((name) => isCohort(name) && isHalf(name, sites))]),
      ).map(([site, place]) => [site, accountsOf(place)]),
    ),
    partner: f.partner.present ? partnerOf(f.partner) : null,
    resolver: f.resolver.present
      ? f.resolver.text('the IP address and port of a name server are expected, such as 192.0.2.53:53', nameServer)
      : null,
    ca: f.ca.present ? fileOf(f.ca) : null,
    limitMs,
  };
}

function addressesOf(
  at: Cursor,
  usual: string | undefined,
): { clients: string; web: string | null; address: string | null } {
  const f = at.present ? at.fields(['clients', 'web', 'address']) : null;
  const expected = 'host:port is expected, at which clients sign in; without it the service of the site must have one';
  return {
    clients: usual !== undefined && !f?.clients.present ? usual : (f?.clients ?? at).text(expected, hostPort),
    web: f?.web.present ? f.web.text('https://host:port is expected, without user and password', encrypted) : null,
    address: f?.address.present ? f.address.text('an IP address is expected', (v) => isIP(v) !== 0) : null,
  };
}

const nameServer = (value: string): boolean => {
  const [, address = '', port = ''] = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(value) ?? [];
  return isIP(address) === (value.startsWith('[') ? 6 : 4) && Number(port) > 0 && Number(port) < 65_536;
};

function encrypted(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, username, password, search, hash } = new URL(value);
  return protocol === 'https:' && `${username}${password}${search}${hash}` === '';
}

function accountsOf(at: Cursor): Record<(typeof probeAccounts)[number], Referenced> {
  const f = at.fields(probeAccounts);
  const accounts = { first: accountOf(f.first), second: accountOf(f.second), third: accountOf(f.third) };
  const users = Object.values(accounts).map(({ user }) => user);
  if (new Set(users).size < users.length && !users.includes('')) at.fault('three different users are expected');
  return accounts;
}

const userOf = (at: Cursor): string =>
  at.text('the part of an address before the @ is expected', (v) => /^[^\s@/"&'<>:\p{Lu}]+$/u.test(v));

function accountOf(at: Cursor): Referenced {
  const { user, password } = at.fields(['user', 'password']);
  return { user: userOf(user), password: secretOf(password) };
}

function partnerOf(at: Cursor): Omit<ProbePartner, 'password'> & Referenced {
  const { domain, clients, user, password } = at.fields(['domain', 'clients', 'user', 'password']);
  return {
    domain: domain.text('a domain is expected, such as partner.example', (d) => /^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(d)),
    clients: clients.text('host:port is expected, at which users of the partner sign in', hostPort),
    user: userOf(user),
    password: secretOf(password),
  };
}

/** What the worker of one site needs to probe it, with the passwords. */
export async function probeSettings(
  configuration: Configuration,
  { addresses, accounts, partner, resolver, ca, limitMs }: ProbeConfiguration,
): Promise<ProbeSettings> {
  const trusted = await certificates(configuration, ca);
  const read = async ({ user, password }: Referenced): Promise<ProbeAccount> => ({
    user,
    password: await secretText(configuration, password),
  });
  const all = [...accounts].map(async ([half, of]) => {
    const [first, second, third] = await together([read(of.first), read(of.second), read(of.third)]);
    return [half, { first, second, third }] as const;
  });
  return {
    targets: new Map([...addresses].map(([site, at]) => [site, { ...at, resolver, ca: trusted }])),
    accounts: new Map(await together(all)),
    partner: partner && { domain: partner.domain, clients: partner.clients, ...(await read(partner)) },
    limitMs,
  };
}
