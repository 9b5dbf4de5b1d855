import type { Row, UserRows } from '../vault/record.ts';
import { nameOf } from './privacy-items.ts';

/**
 * One user as a suspect salvage has him, without what it may only have lost: a contact, group, list, item or default that the
 * base has and the salvage does not, stands as in the base. What it has more, or otherwise, people have put there.
 */
export function withoutRemovals(base: UserRows, salvage: UserRows): UserRows {
  return {
    contacts: filled(base.contacts, salvage.contacts, ([jid]) => String(jid)),
    groups: filled(base.groups, salvage.groups, (row) => JSON.stringify(row)),
    lists: filled(base.lists, salvage.lists, ([name]) => String(name)),
    // Without its number: an item that was moved is there.
    items: filled(base.items, salvage.items, (row) => JSON.stringify([row[0], nameOf(row)])),
    defaults: salvage.defaults.length > 0 ? salvage.defaults : base.defaults,
  };
}

/** Rows may be there more than once. */
function filled(base: readonly Row[], salvage: readonly Row[], keyOf: (row: Row) => string): Row[] {
  const there = Map.groupBy(salvage, keyOf);
  const missing = [...Map.groupBy(base, keyOf)].flatMap(([key, rows]) => rows.slice(there.get(key)?.length ?? 0));
  return [...salvage, ...missing];
}
