import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';

/** Where the DNS leads those who know a domain and nothing else (RFC 6120, 3.2; XEP-0368), asked of one name server. */

const ASK_MS = 1500;
const TRIES = 2;
/** Those whose names are not there, or have no such record. */
const NOTHING = ['ENOTFOUND', 'ENODATA'];

export interface Led {
  /** The record that leads there, such as `_xmpp-client._tcp.contoso.example`. */
  by: string;
  /** As the record has it. */
  host: string;
  address: string;
  port: number;
  /** TLS from the first byte; else it is begun within the stream. */
  direct: boolean;
}

/**
 * Every address to which clients, or other domains' servers, are led, in the order in which they try them; a weight is taken for
 * a rank. Rejects when the name server does not answer, leads nowhere, or leads to a host without an address.
 */
export async function ledTo(domain: string, of: 'client' | 'server', nameServer: string): Promise<Led[]> {
  const resolver = new Resolver({ timeout: ASK_MS, tries: TRIES });
  resolver.setServers([nameServer]);
  const found = await Promise.all([
    recordsOf(resolver, `_xmpp-${of}._tcp.${domain}`, false),
    recordsOf(resolver, `_xmpps-${of}._tcp.${domain}`, true),
  ]);
  const records = found.flat();
  if (records.length === 0) throw new Error(`neither _xmpp-${of}._tcp.${domain} nor _xmpps-${of}._tcp is there`);
  const led = await Promise.all(
    records.map(async (record) => (await addressesOf(resolver, record)).map((address) => ({ ...record, address }))),
  );
  return led.flat();
}

type Record = Omit<Led, 'address'>;

async function recordsOf(resolver: Resolver, by: string, direct: boolean): Promise<Record[]> {
  const records = await resolver.resolveSrv(by).catch(noneOf);
  return records
    .filter(({ name }) => name !== '' && name !== '.') // A service that is said not to be there (RFC 2782).
    .toSorted((a, b) => a.priority - b.priority || b.weight - a.weight || a.name.localeCompare(b.name))
    .map(({ name: host, port }) => ({ by, host, port, direct }));
}

async function addressesOf(resolver: Resolver, { by, host }: Record): Promise<string[]> {
  if (isIP(host)) return [host];
  const found = await Promise.all([resolver.resolve4(host).catch(noneOf), resolver.resolve6(host).catch(noneOf)]);
  if (found.flat().length === 0) throw new Error(`${by} leads to ${host}, which has no address`);
  return found.flat();
}

function noneOf(error: NodeJS.ErrnoException): [] {
  if (NOTHING.includes(error.code ?? '')) return [];
  throw error;
}
