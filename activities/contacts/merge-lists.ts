import type { ConflictRule } from '../../workflows/model/planned-move.ts';
import type { Row, UserRows } from '../vault/record.ts';
import { denialsBefore, denialsIn, keepsOrder, putInOrder } from './merge-order.ts';
import { compareTexts, pick, rowsBy, textsOf, threeBy, type MergeDifference, type Three } from './merge-rows.ts';
import { nameOf, readItem, readList } from './privacy-items.ts';

export interface MergedLists {
  rows: Pick<UserRows, 'lists' | 'items' | 'defaults'>;
  differences: MergeDifference[];
}

type Lists = Pick<UserRows, 'lists' | 'items' | 'defaults'>;

/**
 * The privacy lists of one user. **A denial that is in force on either side is in force afterwards, whatever the rule, and
 * also when only one side has taken it back.** Who has unblocked somebody on purpose, and finds him blocked again, is annoyed
 * and does it again; whoever is reached by somebody whom he has blocked was let down by the service, and cannot undo it.
 * Nothing here tells how old either word is: clocks of two sites that were apart are no witness. Each such case is a
 * difference of its own, `deny-kept`, so that the user can be told. `forced`: denials that must be in force beside, by list.
 */
export function mergeLists(
  three: Three<Lists>,
  rule: ConflictRule,
  forced: ReadonlyMap<string, readonly Row[]> = new Map(),
): MergedLists {
  const differences: MergeDifference[] = [];
  const { name: standing, more } = mergeDefault(three, rule, differences);
  const named = threeBy(
    each(three, ({ lists }) => lists),
    ([name]) => String(name),
  );
  const items = threeBy(
    each(three, (of) => of.items),
    ([name]) => String(name),
  );
  const rows: Lists = { lists: [], items: [], defaults: standing === null ? [] : [[standing]] };
  const names = new Set([
    ...named.keys(),
    ...items.keys(),
    ...(standing === null || more.length === 0 ? [] : [standing]),
  ]);
  for (const name of [...names].toSorted(compareTexts)) {
    const extras = [...(name === standing ? more : []), forced.get(name) ?? []].filter(({ length }) => length > 0);
    const merged = mergeItems(name, items.get(name) ?? { base: [], survivor: [], salvage: [] }, extras, rule);
    differences.push(...merged.differences);
    rows.items.push(...merged.items);
    const list = named.get(name) ?? { base: [], survivor: [], salvage: [] };
    const picked = pick(textsOf(list), rule);
    const there = picked ? list[picked.won] : list.survivor;
    const needed = there.length === 0 && merged.items.length > 0;
    rows.lists.push(...(needed ? [[name]] : there));
    if (needed) differences.push({ kind: 'list', key: [name], won: 'both', why: 'deny-kept' });
    else if (picked) differences.push({ kind: 'list', key: [name], ...picked });
  }
  return { rows, differences };
}

const each = <T, U>({ base, survivor, salvage }: Three<T>, of: (version: T) => U): Three<U> => ({
  base: of(base),
  survivor: of(survivor),
  salvage: of(salvage),
});

/**
 * The list that is in force where a session picks none. When each side has its own, one of them stands, and `more` is what
 * the other one denies by default: that goes into the list that stands.
 */
function mergeDefault(
  three: Three<Lists>,
  rule: ConflictRule,
  differences: MergeDifference[],
): { name: string | null; more: Row[][] } {
  const names = each(three, ({ defaults }) => defaults[0]?.[0] ?? null);
  const picked = pick(textsOf(names), rule);
  const sides = (['survivor', 'salvage'] as const).map((side) => {
    const name = names[side];
    const items = name === null ? [] : three[side].items.filter(([list]) => list === name);
    return { side, name, items, denies: denialsIn(items).size > 0 };
  });
  let name = picked ? names[picked.won] : names.survivor;
  // One that names no list is as good as none.
  const empty = ![...three.survivor.items, ...three.salvage.items].some(([list]) => list === name);
  const kept = empty ? sides.find(({ denies }) => denies) : undefined;
  if (kept) name = kept.name;
  if (kept) differences.push({ kind: 'default', key: [name], won: kept.side, why: 'deny-kept' });
  else if (picked) differences.push({ kind: 'default', key: [name], ...picked });
  const more = sides.filter((side) => side.name !== name && side.denies).map(({ items }) => items);
  return { name, more };
}

function mergeItems(
  list: string,
  three: Three<Row[]>,
  extras: readonly (readonly Row[])[],
  rule: ConflictRule,
): { items: Row[]; differences: MergeDifference[] } {
  const { wanted, differences } = wantedItems(list, three, extras, rule);
  const sources = [three.survivor, three.salvage, ...extras];
  const allows = readList([...wanted.values()].flat()).filter(({ deny }) => !deny);
  const texts = textsOf(three);
  // A list that only one side has touched is taken as it stands, numbers and all, if that keeps what the other denies.
  const whole = texts.survivor === texts.base ? 'salvage' : texts.salvage === texts.base ? 'survivor' : null;
  const standing = texts.survivor === texts.salvage ? 'survivor' : whole;
  if (standing) {
    const as = three[standing];
    const others = sources.filter((source) => JSON.stringify(source) !== texts[standing]).map(readList);
    if (sameItems(as, wanted) && keepsOrder(readList(as), denialsBefore(allows, others)))
      return { items: as, differences: [...differences, ...renumbered(list, three, standing)] };
  }
  const before = denialsBefore(allows, sources.map(readList));
  const items = putInOrder([...wanted.values()].flat(), before).map((row) => row.with(0, list));
  const text = JSON.stringify(rowsBy(items, () => '').get('') ?? []);
  const won = text === texts.survivor ? 'survivor' : text === texts.salvage ? 'salvage' : 'both';
  if (won !== 'survivor' || texts.survivor !== texts.salvage)
    differences.push({ kind: 'order', key: [list], won, why: standing ? 'deny-kept' : 'conflict' });
  return { items, differences };
}

/** Items that differ by nothing but their numbers. */
function renumbered(list: string, three: Three<Row[]>, won: 'survivor' | 'salvage'): MergeDifference[] {
  const picked = pick(textsOf(three), 'survivor');
  if (!picked || !sameItems(three.base, groupItems(three[won]))) return [];
  return [{ kind: 'order', key: [list], won, why: picked.why }];
}

const groupItems = (rows: readonly Row[]): Map<string, Row[]> => Map.groupBy(rows, nameOf);

function sameItems(rows: readonly Row[], wanted: ReadonlyMap<string, readonly Row[]>): boolean {
  const have = groupItems(rows);
  return have.size === wanted.size && [...wanted].every(([name, of]) => have.get(name)?.length === of.length);
}

/** The items that the merged list has, by name; their numbers mean nothing yet. */
function wantedItems(
  list: string,
  three: Three<Row[]>,
  extras: readonly (readonly Row[])[],
  rule: ConflictRule,
): { wanted: Map<string, Row[]>; differences: MergeDifference[] } {
  const wanted = new Map<string, Row[]>();
  const differences: MergeDifference[] = [];
  const want = (row: Row, times: number): unknown => times > 0 && wanted.set(nameOf(row), Array<Row>(times).fill(row));
  const note = (row: Row, how: Pick<MergeDifference, 'won' | 'why'>): unknown =>
    differences.push({
      kind: 'item',
      key: [list, row[1] ?? null, row[2] ?? null, row[3] ?? null, row[5] ?? null],
      ...how,
    });
  const inForce = [three.survivor, three.salvage, ...extras].map(denialsIn);
  // An item is there or is not, so two sides rarely contradict each other in one; where they do, it is in how often.
  for (const [name, of] of threeBy(three, nameOf)) {
    const counts = each(of, ({ length }) => length);
    const picked = pick(textsOf(counts), rule);
    const times = picked ? counts[picked.won] : counts.survivor;
    const [row] = [...of.survivor, ...of.salvage, ...of.base];
    if (!row) continue;
    const kept = times === 0 && inForce.some((denied) => denied.has(name));
    want(row, kept ? Math.max(counts.survivor, counts.salvage, 1) : times);
    if (kept) note(row, { won: counts.survivor > 0 ? 'survivor' : 'salvage', why: 'deny-kept' });
    else if (picked) note(row, picked);
  }
  const removed = groupItems(three.base);
  for (const extra of extras) {
    const denied = denialsIn(extra);
    for (const [name, [row]] of groupItems(extra)) {
      if (!row || wanted.has(name) || removed.has(name)) continue;
      if (!denied.has(name) && readItem(row)?.deny !== false) continue;
      want(row, 1);
      note(row, { won: 'both', why: 'deny-kept' });
    }
  }
  return { wanted, differences };
}
