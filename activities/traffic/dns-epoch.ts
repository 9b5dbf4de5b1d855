import { compareEpoch, type Epoch } from '../../workflows/model/epoch.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { DnsSettings } from '../settings.ts';
import type { Claims } from '../vault/epochs.ts';
import { txtData, txtText, types, type DnsRecord } from './dns-message.ts';
import { exactly, query, replaced, update, type Bounds } from './dns-server.ts';

/**
 * `_epoch.<zone>`: the number, site and move of the newest epoch that was claimed in the zone, such as `"7 west 0f3c…"`. An
 * update requires that it still is what was read, so that the name server itself refuses whoever comes late.
 */

/** Each time somebody else was faster; of movers the newest is never slower than all others together. */
const READINGS = 20;

export const epochName = ({ zone }: Pick<DnsSettings, 'zone'>): string => `_epoch.${zone}`;

export interface Token {
  /** As it stands, every record of it. */
  held: Buffer[];
  /** The highest that it names; null when it names none. */
  newest: Epoch | null;
  /** Records that name none: somebody wrote them by hand. They stop nobody, and are replaced. */
  unreadable: number;
}

const formOf = ({ number, site, move }: Epoch): string => `${number} ${site} ${move}`;

/** A number alone, as a hand writes it, is that of no move. Greater ones than twelve digits were never claimed. */
function parse(text: string | null): Epoch | null {
  const match = /^(\d{1,12})(?: (\S+) (\S+))?$/.exec(text ?? '');
  return match ? { number: Number(match[1]), site: match[2] ?? '?', move: match[3] ?? '?' } : null;
}

export async function readToken(dns: DnsSettings, bounds: Bounds): Promise<Token> {
  const held = (await query(dns, epochName(dns), types.TXT, bounds)).map(({ data }) => data);
  const epochs = held.flatMap((data) => parse(txtText(data)) ?? []);
  const newest = epochs.toSorted((a, b) => b.number - a.number)[0] ?? null;
  return { held, newest, unreadable: held.length - epochs.length };
}

/** What the zone says of epochs. */
export async function claimsInDns(dns: DnsSettings, bounds: Bounds): Promise<Claims> {
  const { newest } = await readToken(dns, bounds);
  return { newest, taken: new Set(newest ? [newest.number] : []) };
}

export type Written = { against: Epoch } | { against: null; changed: boolean; token: Token };

/**
 * Writes the epoch, and in the same message whatever else `also` asks for, unless a higher epoch stands there or the same
 * number of another move: that is answered, and nothing is changed. What stands already is not written again.
 */
export async function writeEpoch(
  dns: DnsSettings,
  epoch: Epoch,
  also: (bounds: Bounds) => Promise<DnsRecord[]>,
  bounds: Bounds,
): Promise<Written> {
  for (let reading = 0; reading < READINGS; reading += 1) {
    const token = await readToken(dns, bounds);
    const verdict = compareEpoch(token.newest, epoch);
    if (verdict === 'refused' && token.newest) return { against: token.newest };
    const stands = verdict === 'same' && token.held.length === 1;
    const others = await also(bounds);
    if (stands && others.length === 0) return { against: null, changed: false, token };
    if (await offer(dns, epoch, token, others, bounds)) return { against: null, changed: true, token };
  }
  throw failure('traffic-differs', `${epochName(dns)}: it was changed ${READINGS} times while it was being written`);
}

/** The update itself: false when `_epoch` is no longer what `token` says. */
export function offer(
  dns: DnsSettings,
  epoch: Epoch,
  { held }: Pick<Token, 'held'>,
  others: readonly DnsRecord[],
  bounds: Bounds,
): Promise<boolean> {
  const name = epochName(dns);
  const own = replaced(name, types.TXT, dns.ttlSeconds, [txtData(formOf(epoch))]);
  return update(dns, { requires: exactly(name, types.TXT, held), changes: [...own, ...others] }, bounds);
}

/** Claims an epoch in the zone. Null when it stands there as this move's, now or before; else what stands against it. */
export async function claimInDns(dns: DnsSettings, epoch: Epoch, bounds: Bounds): Promise<Epoch | null> {
  return (await writeEpoch(dns, epoch, () => Promise.resolve([]), bounds)).against;
}
