import { walkRecord, decodeRow, type Row, type UserRecord } from '../vault/record.ts';
import { kinds } from '../vault/record-rows.ts';
import { isAddress } from './jid.ts';

/** Grows when the rules below do: what was judged by others is judged again, though its rows are known to be equal. */
export const ACL_RULES = 2;

const ITEMS = kinds.findIndex(({ rows }) => rows === 'items');
const TYPES = ['n', 'j', 'g', 's'];
const SUBSCRIPTIONS = ['none', 'both', 'from', 'to'];

/**
 * Why ejabberd could not read an ACL as it stands; empty when it can. It drops an item that it cannot parse, or whose order
 * is no whole number, with a line in its log and no word to anybody: what such an item denies would be allowed
 * (mod_privacy_sql: raw_to_item; ejabberd_sql: sql_query_format_res). Texts name places, never contents.
 */
export function aclFaults({ bytes }: Pick<UserRecord, 'bytes'>): string[] {
  const faults: string[] = [];
  let item = 0;
  walkRecord(bytes, 'record', (kind, start) => {
    if (kind !== ITEMS) return;
    item += 1;
    const because = itemFault(decodeRow(bytes, start, kinds[ITEMS]?.columns ?? 0));
    if (because !== null) faults.push(`item ${item}: ${because}`);
  });
  return faults;
}

/** Of an item as a record has it. Null when there is none. */
export function itemFault([, type = null, value = null, action = null, order = null]: Row): string | null {
  if (type === null || !TYPES.includes(type)) return `its type is none of ${TYPES.join(', ')}`;
  if (action !== 'a' && action !== 'd') return 'its action is neither a nor d';
  if (order === null || !/^-?\d+$/.test(order)) return 'its order is no whole number';
  if (value === null) return 'it has no value';
  if (type === 's' && !SUBSCRIPTIONS.includes(value)) return `its subscription is none of ${SUBSCRIPTIONS.join(', ')}`;
  if (type === 'j' && !isAddress(value)) return 'its address cannot be read';
  return null;
}
