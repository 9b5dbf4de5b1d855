import { isIPv4 } from 'node:net';
import { compareEpoch } from '../../workflows/model/epoch.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { DnsSettings } from '../settings.ts';
import { addressData, srvData, types, type DnsRecord } from './dns-message.ts';
import { epochName, readToken, writeEpoch } from './dns-epoch.ts';
import { query, replaced, type Bounds } from './dns-server.ts';
import type { TrafficSwitch } from './port.ts';

/** Whoever resolved a name before it was changed goes on using what he got for so long. Nobody waits longer. */
export const MOST_TTL_SECONDS = 60;

/** All records of one name and type. */
interface RecordSet {
  name: string;
  type: number;
  wanted: Buffer[];
}

interface Found extends RecordSet {
  held: DnsRecord[];
}

/**
 * Adapter: the records by which users find the service, at the zone's primary server, by RFC 2136 updates that are signed
 * with TSIG. Records and `_epoch` change in one message, and only while `_epoch` is what was read.
 */
export function dnsSwitch(dns: DnsSettings): TrafficSwitch {
  return {
    async shift({ epoch, to }, signal) {
      const bounds = { signal };
      const sets = recordSets(dns, to);
      let slow: string[] = [];
      const written = await writeEpoch(
        dns,
        epoch,
        async () => {
          const found = await find(dns, sets, bounds);
          slow = tooLong(found);
          return found.filter((set) => !stands(dns, set)).flatMap((set) => changesOf(dns, set));
        },
        bounds,
      );
      if (written.against) {
        const { number, move, site } = written.against;
        const text = `${epochName(dns)} holds epoch ${number} of move ${move} of ${site}`;
        throw failure('epoch-superseded', `${text}, this move offers ${epoch.number}`);
      }
      await provenThere(dns, sets, bounds);
      const { changed, token } = written;
      const alarms = [
        ...slow.map((text) => `${text}: for so long users may still be led as before`),
        ...(token.unreadable > 0 ? [`${epochName(dns)} held something that is no epoch; it was replaced`] : []),
      ];
      return {
        summary: `zone ${dns.zone} leads users to ${to.join(' and ')} under epoch ${epoch.number}`,
        facts: { sets: sets.length, changed, epoch: epoch.number },
        ...(alarms.length > 0 && { alarms }),
      };
    },

    async look({ epoch, to }, signal) {
      const { newest } = await readToken(dns, { signal });
      const wrong = (await find(dns, recordSets(dns, to), { signal })).filter((set) => !stands(dns, set));
      const same = newest !== null && compareEpoch(newest, epoch) === 'same';
      const held = `${epochName(dns)} holds ${newest ? `epoch ${newest.number}` : 'no epoch'}`;
      const records = wrong.length === 0 ? 'all records are as they should be' : `${named(wrong)} differ`;
      return { seen: same && wrong.length === 0, summary: `${held}; ${records}` };
    },

    async prove(signal) {
      const bounds = { signal };
      await readToken(dns, bounds);
      const slow = tooLong(await find(dns, recordSets(dns, dns.sites), bounds));
      if (slow.length > 0) throw failure('dns-slow', slow.join('; '));
      return `${dns.server} answers for ${dns.zone}`;
    },
  };
}

/** What users find when these sites serve. A set with an address of neither kind is one that must be empty. */
function recordSets(dns: DnsSettings, sites: readonly string[]): RecordSet[] {
  const of = <T>(by: ReadonlyMap<string, T>): T[] => [...new Set(sites)].flatMap((site) => by.get(site) ?? []);
  return dns.records.flatMap((record): RecordSet[] => {
    const { name } = record;
    if (record.kind === 'service') {
      const { priority, weight, port } = record;
      const wanted = of(record.targets).map((target) => srvData(priority, weight, port, target));
      return [{ name, type: types.SRV, wanted }];
    }
    const addresses = of(record.addresses).flat();
    const [four, six] = [addresses.filter((a) => isIPv4(a)), addresses.filter((a) => !isIPv4(a))];
    return [
      { name, type: types.A, wanted: four.map(addressData) },
      { name, type: types.AAAA, wanted: six.map(addressData) },
    ];
  });
}

const find = (dns: DnsSettings, sets: readonly RecordSet[], bounds: Bounds): Promise<Found[]> =>
  Promise.all(sets.map(async (set) => ({ ...set, held: await query(dns, set.name, set.type, bounds) })));

const sorted = (data: readonly Buffer[]): string =>
  data
    .map((bytes) => bytes.toString('hex'))
    .toSorted()
    .join();

const stands = ({ ttlSeconds }: DnsSettings, { wanted, held }: Found): boolean =>
  held.every(({ ttl }) => ttl === ttlSeconds) && sorted(held.map(({ data }) => data)) === sorted(wanted);

const changesOf = ({ ttlSeconds }: DnsSettings, { name, type, wanted }: Found): DnsRecord[] =>
  replaced(name, type, ttlSeconds, wanted);

/** A server passes over in silence what a zone cannot hold, as an address beside a CNAME (RFC 2136, 3.4.2.2). */
async function provenThere(dns: DnsSettings, sets: readonly RecordSet[], bounds: Bounds): Promise<void> {
  const wrong = (await find(dns, sets, bounds)).filter((set) => !stands(dns, set));
  if (wrong.length > 0) throw failure('traffic-differs', `zone ${dns.zone}: ${named(wrong)} differ after the update`);
}

function tooLong(found: readonly Found[]): string[] {
  return found.flatMap(({ name, type, held }) => {
    const ttl = Math.max(0, ...held.map((r) => r.ttl));
    return ttl > MOST_TTL_SECONDS
      ? [`${name} ${typeName(type)} has a ttl of ${ttl} s, limit ${MOST_TTL_SECONDS} s`]
      : [];
  });
}

const typeName = (type: number): string => Object.entries(types).find(([, t]) => t === type)?.[0] ?? String(type);
const named = (sets: readonly RecordSet[]): string =>
  sets.map(({ name, type }) => `${name} ${typeName(type)}`).join(', ');
