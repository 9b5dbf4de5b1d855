import type { ConflictRule } from '../../workflows/model/planned-move.ts';
import { noRows, type Row, type UserRows } from '../vault/record.ts';
import { mergeLists } from './merge-lists.ts';
import {
  compareTexts,
  pick,
  rowsBy,
  sortRows,
  textsOf,
  threeBy,
  type MergeDifference,
  type Side,
  type Three,
} from './merge-rows.ts';
import { decide, readList, STANZA_KINDS, type Item, type Seen } from './privacy-items.ts';

/** One user as three places know him; null where one does not know him at all, which is not the same as having no rows. */
export interface Versions {
  /** As of the snapshot that the move restored: where both sides began. */
  base: UserRows | null;
  /** As he stands where he is served now. */
  survivor: UserRows | null;
  /** As he stood on the disk of the site that came home. */
  salvage: UserRows | null;
}

export interface Merged {
  /** Null when he is to have no record: he is gone. */
  rows: UserRows | null;
  differences: MergeDifference[];
}

/**
 * Brings the two sides of one user together, row by row: what one side has changed is taken from it, what both have changed
 * differently goes by the rule, and a denial that is in force on either side stays in force whatever the rule (see
 * `mergeLists`). Who exists is the directory's word, and the survivor follows the directory: whom it has no longer stays
 * gone. Whatever is not the same in all three versions is named among the differences; nothing is dropped in silence.
 */
export function mergeUser({ base, survivor, salvage }: Versions, rule: ConflictRule): Merged {
  const whole = (rows: UserRows | null, won: Side, why: MergeDifference['why']): Merged => ({
    rows,
    differences: [{ kind: 'user', key: [], won, why }],
  });
  if (!survivor && !salvage) return base ? whole(null, 'survivor', 'gone') : { rows: null, differences: [] };
  if (!survivor) return base ? whole(null, 'survivor', 'gone') : whole(salvage, 'salvage', 'one-sided');
  // A disk that does not know him has lost nothing of his: that he has no rows there would be another thing.
  if (!salvage) {
    const same = base !== null && JSON.stringify(sorted(base)) === JSON.stringify(sorted(survivor));
    return same ? { rows: survivor, differences: [] } : whole(survivor, 'survivor', 'not-salvaged');
  }
  return mergeRows({ base: sorted(base ?? noRows()), survivor: sorted(survivor), salvage: sorted(salvage) }, rule);
}

/** Rows in an order that depends on nothing but themselves, so that equal versions have equal texts. */
function sorted(rows: UserRows): UserRows {
  const { contacts, groups, lists, items, defaults } = rows;
  return {
    contacts: sortRows(contacts),
    groups: sortRows(groups),
    lists: sortRows(lists),
    items: sortRows(items),
    defaults: sortRows(defaults),
  };
}

function mergeRows(three: Three<UserRows>, rule: ConflictRule): Merged {
  const contacts = mergeContacts(three, rule);
  let lists = mergeLists(three, rule);
  const first = rule === 'home' ? (['salvage', 'survivor'] as const) : (['survivor', 'salvage'] as const);
  const lost = keepDenials(three, contacts, lists.rows, first);
  if (lost.size > 0) lists = mergeLists(three, rule, lost);
  const all = [...contacts.values()];
  return {
    rows: { contacts: all.flatMap(({ rows }) => rows), groups: all.flatMap(({ groups }) => groups), ...lists.rows },
    differences: [...all.flatMap(({ differences }) => differences), ...lists.differences],
  };
}

/** A contact and the groups in which he is. */
interface Contact {
  rows: Row[];
  groups: Row[];
}

interface MergedContact extends Contact {
  sides: Three<Contact>;
  differences: MergeDifference[];
}

function mergeContacts(three: Three<UserRows>, rule: ConflictRule): Map<string, MergedContact> {
  const versions = { base: byJid(three.base), survivor: byJid(three.survivor), salvage: byJid(three.salvage) };
  const jids = new Set(Object.values(versions).flatMap((of) => [...of.keys()]));
  return new Map(
    [...jids].toSorted(compareTexts).map((jid) => {
      const of = (version: Map<string, Contact>): Contact => version.get(jid) ?? { rows: [], groups: [] };
      const sides = { base: of(versions.base), survivor: of(versions.survivor), salvage: of(versions.salvage) };
      return [jid, { sides, ...mergeContact(jid, sides, rule) }];
    }),
  );
}

function byJid({ contacts, groups }: UserRows): Map<string, Contact> {
  const keyOf = ([jid]: Row): string => String(jid);
  const [rows, of] = [rowsBy(contacts, keyOf), rowsBy(groups, keyOf)];
  const jids = new Set([...rows.keys(), ...of.keys()]);
  return new Map([...jids].map((jid) => [jid, { rows: rows.get(jid) ?? [], groups: of.get(jid) ?? [] }]));
}

function mergeContact(jid: string, sides: Three<Contact>, rule: ConflictRule): Contact & Pick<Merged, 'differences'> {
  const { base, survivor, salvage } = sides;
  const removed = base.rows.length > 0 && (survivor.rows.length === 0) !== (salvage.rows.length === 0);
  // Of a contact whom one side has removed no groups are left over: he stays, or goes, whole.
  if (removed) {
    const picked = pick(textsOf(sides), rule);
    if (!picked) return { ...survivor, differences: [] };
    return { ...sides[picked.won], differences: [{ kind: 'contact', key: [jid], ...picked }] };
  }
  const differences: MergeDifference[] = [];
  const rows = { base: base.rows, survivor: survivor.rows, salvage: salvage.rows };
  const picked = pick(textsOf(rows), rule);
  if (picked) differences.push({ kind: 'contact', key: [jid], ...picked });
  const groups: Row[] = [];
  const three = { base: base.groups, survivor: survivor.groups, salvage: salvage.groups };
  for (const of of threeBy(three, (row) => JSON.stringify(row)).values()) {
    const of1 = pick(textsOf(of), rule);
    groups.push(...of[of1?.won ?? 'survivor']);
    const [row] = [...of.survivor, ...of.salvage, ...of.base];
    if (of1 && row) differences.push({ kind: 'group', key: row, ...of1 });
  }
  return { rows: rows[picked?.won ?? 'survivor'], groups, differences };
}

/**
 * Lists that go by groups and subscriptions deny a contact for what he is in the roster. Where the merged roster would let
 * him through, his row and groups are those of a side that denies him; where neither does for all, he is denied by his
 * address: what is answered, by list.
 */
function keepDenials(
  three: Three<UserRows>,
  contacts: Map<string, MergedContact>,
  merged: Pick<UserRows, 'items' | 'defaults'>,
  order: readonly Side[],
): Map<string, Row[]> {
  const forced = new Map<string, Row[]>();
  const standing = merged.defaults[0]?.[0] ?? null;
  const rosterCounts = (row: Row): boolean => row[1] === 'g' || row[1] === 's';
  if (![...three.survivor.items, ...three.salvage.items].some(rosterCounts)) return forced;
  const after = listsOf(merged.items);
  const views = (['survivor', 'salvage'] as const).flatMap((side) => {
    const lists = listsOf(three[side].items);
    const byDefault = three[side].defaults[0]?.[0] ?? null;
    const found = [...lists].map(([name, list]) => ({ side, list, into: name }));
    const also = byDefault !== null && standing !== null && byDefault !== standing && lists.get(byDefault);
    return also ? [...found, { side, list: also, into: standing }] : found;
  });
  for (const [jid, contact] of contacts) {
    const { survivor, salvage } = contact.sides;
    if (JSON.stringify(survivor) === JSON.stringify(salvage)) continue;
    const denied = views.filter(({ side, list }) => deniedKinds(list, seen(jid, contact.sides[side])).length > 0);
    const lets = (as: Contact): Set<string> =>
      new Set(
        denied.flatMap(({ side, list, into }) => {
          const still = deniedKinds(after.get(into) ?? [], seen(jid, as));
          return deniedKinds(list, seen(jid, contact.sides[side])).every((kind) => still.includes(kind)) ? [] : [into];
        }),
      );
    const through = lets(contact);
    if (through.size === 0) continue;
    const better = order.find((side) => lets(contact.sides[side]).size === 0);
    if (better) Object.assign(contact, contact.sides[better]);
    contact.differences.push({ kind: 'contact', key: [jid], won: better ?? 'both', why: 'deny-kept' });
    if (better) continue;
    for (const list of through) forced.set(list, [...(forced.get(list) ?? []), [list, 'j', jid, 'd', '0', 'tffff']]);
  }
  return forced;
}

const listsOf = (items: readonly Row[]): Map<string, Item[]> =>
  new Map([...rowsBy(items, ([name]) => String(name))].map(([name, rows]) => [name, readList(rows)]));

const deniedKinds = (list: readonly Item[], contact: Seen): number[] =>
  STANZA_KINDS.filter((kind) => decide(list, contact, kind) === 'deny');

const seen = (jid: string, { rows, groups }: Contact): Seen => ({
  jid,
  subscription: rows[0]?.[2] ?? 'N',
  groups: new Set(groups.map(([, group]) => String(group))),
});
