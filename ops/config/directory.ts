import { FilterParser } from 'ldapts';
import type { DirectorySettings, LdapSettings } from '../../activities/settings.ts';
import { Fault } from '../fault.ts';
import type { Cursor } from '../../runbooks/yaml.ts';
import { loopback } from './addresses.ts';
import { certificates } from './certificates.ts';
import type { Configuration, PlacedFile, SecretReference } from './configuration.ts';
import { fileOf, secretOf } from './references.ts';
import { secretText } from './secrets.ts';

/** `customers.CUSTOMER.directory`, as `tandem.yaml` says it. */

const MINUTE = 60_000;
const USUAL_EVERY_MS = 5 * MINUTE;
const LONGEST_EVERY_MS = 24 * 60 * MINUTE;
const USUAL_SHARE = 0.02;
const USUAL_FILTER = '(objectClass=person)';

type LdapConfiguration = Omit<LdapSettings, 'url' | 'ca' | 'bind'> & {
  /** By site: each may ask a server near it. */
  urls: ReadonlyMap<string, string>;
  ca: PlacedFile | null;
  bind: { dn: string; password: SecretReference };
};

export interface DirectoryConfiguration extends Omit<DirectorySettings, 'source'> {
  /** Null: the table `tandem.directory`. */
  ldap: LdapConfiguration | null;
}

/** Null when the customer has none. */
export function directoryOf(at: Cursor, sites: readonly [string, string]): DirectoryConfiguration | null {
  if (!at.present) return null;
  const f = at.fields(['ldap', 'table', 'every', 'removals-limit']);
  if (f.ldap.present === f.table.present) at.fault('exactly one of ldap and table is expected');
  if (f.table.present) f.table.fields([]);
  const everyMs = f.every.duration(USUAL_EVERY_MS);
  if (everyMs < MINUTE || everyMs > LONGEST_EVERY_MS) f.every.fault(`${f.every.seen()}; from 1m to 24h is allowed`);
  return {
    ldap: f.ldap.present ? ldapOf(f.ldap, sites) : null,
    everyMs,
    removalsShare: shareOf(f['removals-limit']),
  };
}

/** What everybody would call a disaster is no limit: half of the users. */
function shareOf(at: Cursor): number {
  if (!at.present) return USUAL_SHARE;
  const text = at.text("a share from 0% to 50% is expected, such as '2%'", (v) => {
    return /^\d{1,2}(\.\d{1,2})?%$/.test(v) && Number.parseFloat(v) <= 50;
  });
  return text === '' ? USUAL_SHARE : Number.parseFloat(text) / 100;
}

function ldapOf(at: Cursor, sites: readonly [string, string]): LdapConfiguration {
  const f = at.fields(['url', 'tls', 'ca', 'bind', 'base', 'filter', 'attributes']);
  const urls = urlsOf(f.url, sites);
  const b = f.bind.fields(['dn', 'password']);
  const a = f.attributes.fields(['username', 'entitlement', 'home', 'credentials']);
  const optional = (place: Cursor): string | null => (place.present ? place.text(ATTRIBUTE, isAttribute) : null);
  return {
    urls,
    tls: tlsOf(f.tls, [...urls.values()]),
    ca: f.ca.present ? fileOf(f.ca) : null,
    bind: {
      dn: b.dn.text('the name of an entry is expected, such as cn=tandem,dc=example', isName),
      password: secretOf(b.password),
    },
    base: f.base.text('the name of an entry is expected, such as ou=people,dc=example', isName),
    filter: f.filter.present
      ? f.filter.text('a filter in brackets is expected, such as (objectClass=person)', isFilter)
      : USUAL_FILTER,
    attributes: {
      username: a.username.text(ATTRIBUTE, isAttribute),
      entitlement: entitlementOf(a.entitlement),
      home: optional(a.home),
      credentials: optional(a.credentials),
    },
  };
}

const ATTRIBUTE = 'the name of an attribute is expected';
const isAttribute = (value: string): boolean => /^[A-Za-z][A-Za-z0-9-]{0,126}$/.test(value);
const isName = (value: string): boolean => /^[A-Za-z0-9.-]+=.+$/.test(value);

/** One filter in its brackets: it is put beside another one, and must not reach out of its place. */
function isFilter(value: string): boolean {
  let depth = 0;
  for (let i = 0; i < value.length; i += 1) {
    if (value[i] === '(') depth += 1;
    if (value[i] === ')') depth -= 1;
    if (depth <= 0 && i < value.length - 1) return false;
  }
  if (depth !== 0 || !value.startsWith('(')) return false;
  try {
    FilterParser.parseString(value);
    return true;
  } catch {
    return false;
  }
}

/** `tandemEntitled`, or with the one value that counts: `msRTCSIP-UserEnabled=TRUE`. */
function entitlementOf(at: Cursor): LdapSettings['attributes']['entitlement'] {
  const text = at.text(`${ATTRIBUTE}, or attribute=value`, (v) => {
    const [name = '', ...value] = v.split('=');
    return isAttribute(name) && (!v.includes('=') || value.join('=') !== '');
  });
  const [name = '', ...value] = text.split('=');
  return { name, value: text.includes('=') ? value.join('=') : null };
}

function urlsOf(at: Cursor, sites: readonly [string, string]): ReadonlyMap<string, string> {
  const one = (place: Cursor): string =>
    place.text('ldaps://host:port or ldap://host:port is expected, and nothing else in it', isUrl);
  if (at.seen() !== 'a map') {
    const url = one(at);
    return new Map(sites.map((site) => [site, url]));
  }
  return new Map(Object.entries(at.fields(sites)).map(([site, place]) => [site, one(place)]));
}

function isUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, hostname, username, password, pathname, search, hash } = new URL(value);
  const rest = username + password + search + hash + (pathname === '/' ? '' : pathname);
  return /^ldaps?:$/.test(protocol) && hostname !== '' && rest === '';
}

/** What is read there says who may come in, and holds keys: it goes encrypted, unless it never leaves the machine. */
function tlsOf(at: Cursor, urls: readonly string[]): LdapSettings['tls'] {
  const implicit = urls.filter((url) => url.startsWith('ldaps:'));
  if (implicit.length > 0 && implicit.length < urls.length)
    at.fault('ldaps at one site and ldap at the other; both have the same');
  if (implicit.length > 0) {
    if (at.present) at.fault('ldaps is encrypted from the first byte; tls stands with ldap:// only');
    return 'implicit';
  }
  const tls = at.present ? at.oneOf(['starttls', 'none'] as const) : 'starttls';
  const outside = urls.find((url) => URL.canParse(url) && !loopback(new URL(url).hostname));
  if (tls === 'none' && outside !== undefined)
    at.fault(`"none" to ${outside}; what leaves this machine is encrypted: starttls is allowed`);
  return tls;
}

/** What asks at one site needs: with the password and the certificates that are named. */
export async function directorySettings(
  configuration: Configuration,
  { ldap, ...rest }: DirectoryConfiguration,
  site: string,
): Promise<DirectorySettings> {
  if (!ldap) return { ...rest, source: { kind: 'table' } };
  const { urls, ca, bind, ...same } = ldap;
  const password = (await secretText(configuration, bind.password)).replace(/\r$/, '');
  const { at, path } = bind.password;
  if (password === '')
    throw new Fault(`${at}: ${path}: is empty`, 'A server takes an empty password for nobody, and says yes: set one.');
  const url = urls.get(site) ?? '';
  return {
    ...rest,
    source: {
      kind: 'ldap',
      ldap: { ...same, url, ca: await certificates(configuration, ca), bind: { dn: bind.dn, password } },
    },
  };
}
