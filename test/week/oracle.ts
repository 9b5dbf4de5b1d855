import type { ConflictRule } from '../../workflows/model/planned-move.ts';
import { nobody, sameAs, type Person } from './people.ts';

/**
 * What is to become of one user whom both sites have changed since they had him alike: written down once more from what
 * operators are promised, one contact after the other, so that it can find fault with the code that does it.
 */
export interface Foreseen {
  person: Person;
  /** What is not the same in all three, as `kind key why`. Lists and their order are told apart below. */
  listed: Set<string>;
}

export interface Three {
  base: Person | null;
  survivor: Person;
  /** Null: the disk does not know him. */
  disk: Person | null;
}

type Why = 'one-sided' | 'alike' | 'conflict' | 'open' | 'deny-kept';

/** Null when the disk has no word about him: he stays as he stands, and is in no list. */
export function foresee({ base, survivor, disk }: Three, rule: ConflictRule): Foreseen | null {
  const from = base ?? nobody();
  if (!disk || (base && sameAs(base, disk)) || (!base && sameAs(nobody(), disk))) return null;
  const listed = new Set<string>();
  const note = (kind: string, key: string, why: Why): unknown => listed.add(`${kind} ${key} ${why}`);
  const clash: Why = rule === 'ask' ? 'open' : 'conflict';
  const person = nobody();
  for (const jid of new Set([from, survivor, disk].flatMap((one) => [...one.contacts.keys()]))) {
    const [b, s, d] = [from, survivor, disk].map((one) => wholeOf(one, jid)) as [Whole, Whole, Whole];
    // Removed on one side alone: he goes as a whole, or stays as a whole where the other side has touched him.
    if (b.row !== undefined && (s.row === undefined) !== (d.row === undefined)) {
      const other = s.row === undefined ? d : s;
      const untouched = textOf(other) === textOf(b);
      note('contact', jid, untouched ? 'one-sided' : clash);
      const gone = s.row === undefined;
      const stands = untouched ? nothing : (rule === 'home') === gone ? other : nothing;
      put(person, jid, stands);
      continue;
    }
    const row = settle(b.row, s.row, d.row, rule, (why) => note('contact', jid, why));
    const groups = [...new Set([...b.groups, ...s.groups, ...d.groups])].filter((group) =>
      settle(b.groups.has(group), s.groups.has(group), d.groups.has(group), rule, (why) =>
        note('group', `${jid} ${group}`, why),
      ),
    );
    put(person, jid, { row, groups: new Set(groups) });
  }
  for (const item of new Set([...from.items, ...survivor.items, ...disk.items])) {
    const [b, s, d] = [from.items.has(item), survivor.items.has(item), disk.items.has(item)];
    // Denied on either side is denied, also when the other one has taken it back.
    if (s || d) person.items.add(item);
    if (b && s !== d) note('item', item, 'deny-kept');
    else if (b !== s || b !== d) note('item', item, s === d ? 'alike' : 'one-sided');
  }
  for (const list of [...survivor.lists, ...disk.lists]) person.lists.add(list);
  person.fallback = survivor.fallback ?? disk.fallback;
  return { person, listed };
}

interface Whole {
  row: string | undefined;
  groups: Set<string>;
}

const nothing: Whole = { row: undefined, groups: new Set() };
const textOf = ({ row, groups }: Whole): string => JSON.stringify([row, [...groups].toSorted()]);

function wholeOf({ contacts, groups }: Person, jid: string): Whole {
  const its = [...groups].filter((one) => one.startsWith(`${jid} `)).map((one) => one.slice(jid.length + 1));
  return { row: contacts.get(jid), groups: new Set(its) };
}

function put(person: Person, jid: string, { row, groups }: Whole): void {
  if (row !== undefined) person.contacts.set(jid, row);
  for (const group of groups) person.groups.add(`${jid} ${group}`);
}

function settle<T>(base: T, survivor: T, disk: T, rule: ConflictRule, note: (why: Why) => unknown): T {
  if (survivor === disk && survivor === base) return base;
  if (survivor === disk) return (note('alike'), survivor);
  if (disk === base) return (note('one-sided'), survivor);
  if (survivor === base) return (note('one-sided'), disk);
  note(rule === 'ask' ? 'open' : 'conflict');
  return rule === 'home' ? disk : survivor;
}
