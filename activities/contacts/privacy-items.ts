import type { Row } from '../vault/record.ts';
import { itemFault } from './acl.ts';
import { bareAddress } from './jid.ts';

/**
 * How the items of one privacy list stand to each other. The first item that matches decides, by ascending order; what no
 * item matches is allowed. So only the order between what allows and what denies means anything.
 */

/** An item that the service can read. `name` is the same for items that do the same, wherever they stand. */
export interface Item {
  row: Row;
  name: string;
  deny: boolean;
  order: bigint;
  /** Of queries, messages and presences: those that it is about, a bit each. */
  kinds: number;
}

/** iq, message, presence_in, presence_out, as they stand in the flags behind `all`. */
export const STANZA_KINDS = [1, 2, 3, 4] as const;

/** Null when the service could not read it: then nobody knows what it means, and it stays as it is. */
export function readItem(row: Row): Item | null {
  if (itemFault(row) !== null) return null;
  const [, , , action, order, flags] = row;
  const all = flags?.[0] === 't';
  return {
    row,
    name: nameOf(row),
    deny: action === 'd',
    order: BigInt(order ?? 0),
    kinds: STANZA_KINDS.reduce((bits, kind) => (all || flags?.[kind] === 't' ? bits | (1 << kind) : bits), 0),
  };
}

/** One that cannot be read is told from others by its order too. */
export const nameOf = (row: Row): string =>
  JSON.stringify([row[1], row[2], row[3], row[5], ...(itemFault(row) === null ? [] : [row[4]])]);

/** Items of a list that can be read, as the service goes through them: at the same place what denies comes first. */
export function readList(rows: readonly Row[]): Item[] {
  return rows
    .flatMap((row) => readItem(row) ?? [])
    .toSorted((a, b) => Number(a.order - b.order) || Number(b.deny) - Number(a.deny));
}

/** Whether an item ever decides: none that allows at least as much stands before it. */
export function isEffective(item: Item, list: readonly Item[]): boolean {
  if (item.kinds === 0) return false;
  return !list.some((other) => !other.deny && other.order < item.order && covers(other, item));
}

function covers(wide: Item, narrow: Item): boolean {
  const everybody = wide.row[1] === 'n';
  const same = wide.row[1] === narrow.row[1] && wide.row[2] === narrow.row[2];
  return (everybody || same) && (narrow.kinds & ~wide.kinds) === 0;
}

/** Whether no stanza can match both. In doubt one can. */
export function areApart(a: Item, b: Item): boolean {
  if ((a.kinds & b.kinds) === 0) return true;
  if (a.row[1] !== 'j' || b.row[1] !== 'j') return false;
  const [left, right] = [bareAddress(a.row[2] ?? ''), bareAddress(b.row[2] ?? '')];
  if (!left || !right) return false;
  return left.domain !== right.domain || (left.node !== '' && right.node !== '' && left.node !== right.node);
}

/** A contact as privacy lists see him: null where he is none. */
export interface Seen {
  jid: string;
  subscription: string;
  groups: ReadonlySet<string>;
}

const SUBSCRIPTIONS: Record<string, string> = { none: 'N', both: 'B', from: 'F', to: 'T' };

/** What a list says of a contact, whatever resource he uses; `allow` as well when no item matches. */
export function decide(list: readonly Item[], contact: Seen, kind: number): 'allow' | 'deny' {
  const who = bareAddress(contact.jid);
  const found = list.find(({ row: [, type, value], kinds }) => {
    if ((kinds & (1 << kind)) === 0) return false;
    if (type === 'n') return true;
    if (type === 'g') return contact.groups.has(value ?? '');
    if (type === 's') return contact.subscription === SUBSCRIPTIONS[value ?? ''];
    const named = value?.includes('/') ? null : bareAddress(value ?? '');
    return named !== null && named.domain === who?.domain && (named.node === '' || named.node === who.node);
  });
  return found?.deny === true ? 'deny' : 'allow';
}
