import { isIP } from 'node:net';
import type { DnsRecords, DnsSettings, ProxyBackend, ProxySettings, TsigKey } from '../../activities/settings.ts';
import { MOST_TTL_SECONDS } from '../../activities/traffic/dns.ts';
import { Fault } from '../fault.ts';
import type { Cursor } from '../../runbooks/yaml.ts';
import { hostPort, loopback } from './addresses.ts';
import type { Configuration, SecretReference, SiteConfiguration } from './configuration.ts';
import { secretOf, sourceOf } from './references.ts';
import { secretText } from './secrets.ts';
import { unique } from './unique.ts';

/** How users are led to a site, as `tandem.yaml` says it: `customers.CUSTOMER.dns` and `.proxy`, `sites.SITE.proxy`. */

const algorithms = ['hmac-sha256', 'hmac-sha384', 'hmac-sha512'] as const satisfies readonly TsigKey['algorithm'][];
const USUAL_TTL_MS = 30_000;
/** RFC 8945, 8: shorter ones can be guessed. */
const LEAST_SECRET_BYTES = 16;
const NAME = /^(?=.{1,200}$)(?!-)[a-z0-9_-]{1,63}(\.(?!-)[a-z0-9_-]{1,63})*$/;
/** Names of HAProxy's backends and servers. */
const PROXY_NAME = /^[A-Za-z0-9_.:-]{1,80}$/;

/** The zone as configured: each site's key is a reference still. */
export type DnsConfiguration = Omit<DnsSettings, 'key'> & {
  keys: ReadonlyMap<string, Omit<TsigKey, 'secret'> & { secret: SecretReference }>;
};

/** Null when Tandem changes no zone for the customer. */
export function dnsOf(at: Cursor, sites: readonly [string, string]): DnsConfiguration | null {
  if (!at.present) return null;
  const f = at.fields(['server', 'zone', 'keys', 'ttl', 'records']);
  const zone = nameOf(f.zone, 'a zone in small letters is expected, such as contoso.example');
  const ttlMs = f.ttl.duration(USUAL_TTL_MS);
  if (ttlMs > MOST_TTL_SECONDS * 1000)
    f.ttl.fault(`${f.ttl.seen()}; at most ${MOST_TTL_SECONDS}s is allowed: for so long users are led to a lost site`);
  const records = f.records.items().map((item) => recordsOf(item, zone, sites));
  if (f.records.present && records.length === 0) f.records.fault('no records; users find nothing by none');
  unique(
    f.records,
    records.map((r, i) => [`${r.name} ${r.kind}`, `entry ${i}`]),
    'the same name',
  );
  return {
    server: f.server.text('host:port of the primary server of the zone is expected', hostPort),
    zone,
    keys: keysOf(f.keys, sites),
    ttlSeconds: ttlMs / 1000,
    records,
    sites,
  };
}

/** Each site has a key of its own, so that what a lost site may do can be taken from it alone. */
function keysOf(at: Cursor, sites: readonly string[]): DnsConfiguration['keys'] {
  const keys = Object.entries(at.fields(sites)).map(([site, place]) => {
    const { name, secret, algorithm } = place.fields(['name', 'secret', 'algorithm']);
    const key = {
      name: nameOf(name, 'the name of a TSIG key is expected, in small letters'),
      algorithm: algorithm.present ? algorithm.oneOf(algorithms) : ('hmac-sha256' as const),
      secret: secretOf(secret),
    };
    return [site, key] as const;
  });
  unique(
    at,
    keys.map(([site, key]) => [key.name, site]),
    'the same key',
  );
  unique(
    at,
    keys.map(([site, key]) => [sourceOf(key.secret), site]),
    'the same secret',
  );
  return new Map(keys);
}

function recordsOf(at: Cursor, zone: string, sites: readonly string[]): DnsRecords {
  const f = at.fields(['name', 'port', 'priority', 'weight', 'targets', 'addresses']);
  const own =
    f.name.seen() === '"@"'
      ? ''
      : nameOf(f.name, 'a name within the zone is expected, such as _xmpp-client._tcp, or "@"');
  if (own === '_epoch') f.name.fault('"_epoch" is Tandem’s own record');
  const name = own === '' ? zone : `${own}.${zone}`;
  if (f.targets.present === f.addresses.present)
    at.fault('exactly one of targets (SRV) and addresses (A, AAAA) is expected');
  // Which of the two it was to be is not known: nothing more is missing in it.
  if (!f.targets.present && !f.addresses.present) return { kind: 'address', name, addresses: new Map() };
  if (!f.addresses.present) {
    const targets = Object.entries(f.targets.fields(sites)).map(
      ([site, place]) => [site, nameOf(place, 'the whole name of a host is expected, in small letters')] as const,
    );
    apart(f.targets, targets);
    return {
      kind: 'service',
      name,
      port: f.port.integer(1, 65_535),
      priority: f.priority.integer(0, 65_535, 10),
      weight: f.weight.integer(0, 65_535, 50),
      targets: new Map(targets),
    };
  }
  for (const field of [f.port, f.priority, f.weight])
    if (field.present) field.fault('only a record with targets (SRV) has one');
  const addresses = Object.entries(f.addresses.fields(sites)).map(([site, place]) => {
    const found = place.items().map((item) => item.text('an IPv4 or IPv6 address is expected', plainAddress));
    if (place.present && found.length === 0) place.fault('no address; at least one is expected');
    return [site, found] as const;
  });
  apart(
    f.addresses,
    addresses.flatMap(([site, found]) => found.map((address) => [site, address] as const)),
  );
  return { kind: 'address', name, addresses: new Map(addresses) };
}

/** What leads to both sites leads to a lost one still. */
function apart(at: Cursor, led: readonly (readonly [string, string])[]): void {
  const pairs = new Map(led.map(([site, where]): [string, [string, string]] => [`${site} ${where}`, [where, site]]));
  unique(at, [...pairs.values()], 'the same place');
}

/** Without a zone index: nobody else could use it. */
const plainAddress = (v: string): boolean => isIP(v) !== 0 && !v.includes('%');

const nameOf = (at: Cursor, allowed: string): string => at.text(allowed, (v) => NAME.test(v));

/** `sites.SITE.proxy`: the socket is not encrypted, so that it never leaves the machine. Null when the site has none. */
export function proxyOf(at: Cursor): ProxySettings | null {
  if (!at.present) return null;
  const { socket } = at.fields(['socket']);
  const here = (v: string): boolean => /^\/[^\0]+$/.test(v) || (hostPort(v) && loopback(v.split(':')[0] ?? ''));
  return { socket: socket.text('an absolute path is expected, or host:port on loopback', here) };
}

/** `customers.CUSTOMER.proxy`: its backends, of the same names at both sites. Null when there are none. */
export function backendsOf(
  at: Cursor,
  sites: readonly [string, string],
  known: ReadonlyMap<string, SiteConfiguration>,
): readonly ProxyBackend[] | null {
  if (!at.present) return null;
  for (const site of sites) {
    if (known.has(site) && !known.get(site)?.proxy)
      at.fault(`site ${site} has no proxy: \`sites.${site}.proxy\` names its socket`);
  }
  const name = (place: Cursor): string =>
    place.text('a name as in HAProxy’s configuration is expected', (v) => PROXY_NAME.test(v));
  const backends = at.items().map((item) => {
    const { backend, servers } = item.fields(['backend', 'servers']);
    const of = Object.entries(servers.fields(sites)).map(([site, place]) => [site, name(place)] as const);
    apart(servers, of);
    return { backend: name(backend), servers: new Map(of) };
  });
  if (backends.length === 0) at.fault('no backend; at least one is expected, or leave it out');
  unique(
    at,
    backends.map(({ backend }, i) => [backend, `entry ${i}`]),
    'the same backend',
  );
  return backends;
}

/** With this site's key, whose secret is base64, as name servers have it. */
export async function dnsSettings(
  configuration: Configuration,
  { keys, ...dns }: DnsConfiguration,
  site: string,
): Promise<DnsSettings> {
  const key = keys.get(site);
  if (!key) throw new Fault(`zone ${dns.zone}: site ${site} has no key`, '`tandem config check` names the place.');
  const text = (await secretText(configuration, key.secret)).trim();
  const secret = Buffer.from(text, 'base64');
  if (secret.length < LEAST_SECRET_BYTES || !/^[A-Za-z0-9+/]+={0,2}$/.test(text))
    throw new Fault(
      `${key.secret.at}: ${key.secret.path}: is no secret of a TSIG key`,
      `Base64 of at least ${LEAST_SECRET_BYTES} bytes is expected; \`tsig-keygen\` makes one.`,
    );
  return { ...dns, key: { ...key, secret } };
}
