import type { Row } from '../vault/record.ts';
import { itemFault } from './acl.ts';
import { bareAddress } from './jid.ts';

/** Somebody's privacy lists, and how he has another user among his contacts. */
export interface Lists {
  /** Items of all lists, as a record has them: any of them may be in force in one of his sessions. */
  items: readonly Row[];
  /** The groups in which he has the other. */
  groups: readonly string[];
  /** His subscription to the other as it may be: as it was, and as it is to be. */
  subscriptions: readonly string[];
}

/** Of the flags `all`, `iq`, `message`, `presence_in` and `presence_out`. */
const EVERYTHING = /^(?:t....|.tttt)$/;
const SUBSCRIPTIONS: Record<string, string> = { none: 'N', both: 'B', from: 'F', to: 'T' };

/**
 * Whether a user's lists deny another one anything at all. In doubt they do: an item that the service could not read denies
 * everybody, one for a single resource denies the whole user, and of a list only an item that allows everything, and comes
 * before, is an exception.
 */
export function denies({ items, groups, subscriptions }: Lists, node: string, domain: string): boolean {
  const matches = ([, type, value]: Row, every: boolean): boolean => {
    if (type === 'n') return true;
    if (type === 'g') return groups.includes(value ?? '');
    if (type === 's') {
      const is = (s: string): boolean => s === SUBSCRIPTIONS[value ?? ''];
      return every ? subscriptions.every(is) : subscriptions.some(is);
    }
    const named = bareAddress(value ?? '');
    if (named?.domain !== domain || (named.node !== '' && named.node !== node)) return false;
    return !every || !value?.includes('/');
  };
  const exceptions = items.filter(
    (item) => itemFault(item) === null && item[3] === 'a' && EVERYTHING.test(item[5] ?? '') && matches(item, true),
  );
  return items.some((item) => {
    if (itemFault(item) !== null) return true;
    if (item[3] !== 'd' || !matches(item, false)) return false;
    const order = BigInt(item[4] ?? 0);
    return !exceptions.some((allowed) => allowed[0] === item[0] && BigInt(allowed[4] ?? 0) < order);
  });
}
