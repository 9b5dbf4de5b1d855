import type { Row } from '../vault/record.ts';
import { areApart, isEffective, nameOf, readItem, readList, type Item } from './privacy-items.ts';

/**
 * Puts items of several lists into one in which every denial stays in force that is in force in any of them. What allows
 * something may stand before a denial only where it does so in each list that has this denial; else it comes after it. As
 * nothing else is demanded, such an order always exists.
 */

/** For what allows, the denials that must stand before it; all by their names. */
export function denialsBefore(
  allows: readonly Item[],
  sources: readonly (readonly Item[])[],
): Map<string, Set<string>> {
  const before = new Map(allows.map(({ name }) => [name, new Set<string>()]));
  for (const source of sources) {
    for (const denial of source) {
      if (!denial.deny || !isEffective(denial, source)) continue;
      const earlier = new Set(source.filter((i) => !i.deny && i.order < denial.order).map(({ name }) => name));
      for (const allow of allows)
        if (!earlier.has(allow.name) && !areApart(allow, denial)) before.get(allow.name)?.add(denial.name);
    }
  }
  return before;
}

/** Whether a list as it stands has each denial before what it must precede. */
export function keepsOrder(list: readonly Item[], before: ReadonlyMap<string, ReadonlySet<string>>): boolean {
  const first = new Map<string, bigint>();
  for (const { name, order } of list) if (!first.has(name)) first.set(name, order);
  return [...before].every(([allow, denials]) => {
    const at = first.get(allow);
    return at === undefined || [...denials].every((denial) => (first.get(denial) ?? at) < at);
  });
}

/**
 * The one order that depends on nothing but the items and what must precede what: merged once more, a list stays as it is.
 * What allows comes as early as it may, so that exceptions from a denial stay exceptions wherever they can.
 */
export function putInOrder(rows: readonly Row[], before: ReadonlyMap<string, ReadonlySet<string>>): Row[] {
  const readable = rows.flatMap((row) => readItem(row) ?? []).toSorted(byName);
  const allows = readable.filter(({ deny }) => !deny);
  const denials = readable.filter(({ deny }) => deny);
  const placed: Item[] = [];
  const done = new Set<string>();
  const missing = ({ name }: Item): number => [...(before.get(name) ?? [])].filter((d) => !done.has(d)).length;
  while (allows.length > 0) {
    const next = allows.reduce((best, one) => (missing(one) < missing(best) ? one : best));
    const first = before.get(next.name) ?? new Set();
    for (const denial of denials.filter(({ name }) => first.has(name) && !done.has(name))) placed.push(denial);
    for (const name of first) done.add(name);
    placed.push(next);
    allows.splice(allows.indexOf(next), 1);
  }
  placed.push(...denials.filter(({ name }) => !done.has(name)));
  const numbered = placed.map(({ row }, at) => row.with(4, String(at + 1)));
  return [...numbered, ...rows.filter((row) => readItem(row) === null)];
}

/** Not by the user's language: the order must be the same everywhere. */
const byName = (a: Item, b: Item): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** Denials of a list that are in force, and whatever nobody can read, by name. */
export function denialsIn(rows: readonly Row[]): Set<string> {
  const list = readList(rows);
  const inForce = list.filter((item) => item.deny && isEffective(item, list)).map(({ name }) => name);
  return new Set([...inForce, ...rows.filter((row) => readItem(row) === null).map(nameOf)]);
}
