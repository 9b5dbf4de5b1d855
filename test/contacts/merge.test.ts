import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeUser, type Versions } from '../../activities/contacts/merge.ts';
import type { ConflictRule } from '../../workflows/model/planned-move.ts';
import type { Row, UserRows } from '../../activities/vault/record.ts';
import { bytes, contact, denials, item, lost, PEERS, rowsOf, rules } from './versions.ts';

const someContact = fc
  .tuple(fc.constantFrom(...PEERS), fc.constantFrom('N', 'B', 'F', 'T'), fc.constantFrom('', 'nick'))
  .map(([jid, sub, nick]) => contact(jid, sub, nick));
const someGroup = fc.tuple(fc.constantFrom(...PEERS), fc.constantFrom('G', 'H')).map((row): Row => row);
const about: [string, string][] = [
  ['n', ''],
  ['g', 'G'],
  ['g', 'H'],
  ['s', 'none'],
  ['s', 'both'],
  ['j', 'x.example'],
  ...PEERS.map((p): [string, string] => ['j', p]),
];
const someItem = fc
  .tuple(
    fc.constantFrom(...about),
    fc.constantFrom('a', 'd'),
    fc.constantFrom('1', '2', '3', '4'),
    fc.constantFrom('tffff', 'fftff', 'ftttt', 'fffff', 'f--t-'),
    fc.constantFrom('L', 'M'),
  )
  .map(([[type, value], action, order, flags, list]) => item(type, value, action, order, flags, list));

/** Versions that have much in common: each has some of the same rows. */
const pool = fc.record({
  contacts: fc.array(someContact, { maxLength: 6 }),
  groups: fc.array(someGroup, { maxLength: 5 }),
  items: fc.array(someItem, { maxLength: 8 }),
  defaults: fc.array(fc.constantFrom<Row>(['L'], ['M']), { maxLength: 2 }),
});
const version = (of: { contacts: Row[]; groups: Row[]; items: Row[]; defaults: Row[] }): fc.Arbitrary<UserRows> =>
  fc
    .record({
      contacts: fc.shuffledSubarray(of.contacts),
      groups: fc.subarray(of.groups),
      items: fc.subarray(of.items),
      defaults: fc.shuffledSubarray(of.defaults),
    })
    .map(({ contacts, groups, items, defaults }) =>
      rowsOf({
        contacts: [...new Map(contacts.map((row) => [row[0], row])).values()],
        groups,
        items,
        defaults: defaults.slice(0, 1),
      }),
    );
const three = pool.chain((of) => fc.record({ base: version(of), survivor: version(of), salvage: version(of) }));
const rule = fc.constantFrom(...rules);
const check = <T>(arbitrary: fc.Arbitrary<T>, claim: (value: T) => void): void =>
  fc.assert(fc.property(arbitrary, claim), { numRuns: 3000 });
const merged = (versions: Versions, by: ConflictRule): UserRows => {
  const { rows } = mergeUser(versions, by);
  if (!rows) throw new Error('no rows');
  return rows;
};

describe('two sides of one user, merged', () => {
  it('denials in force on either stay in force, whatever the rule', () => {
    check(fc.tuple(three, rule), ([versions, by]) => {
      const rows = merged(versions, by);
      expect(lost(versions.survivor, rows)).toEqual([]);
      expect(lost(versions.salvage, rows)).toEqual([]);
    });
  });

  it('give no row from nowhere, but a denial that the roster alone would have undone', () => {
    check(fc.tuple(three, rule), ([versions, by]) => {
      const { survivor, salvage } = versions;
      const rows = merged(versions, by);
      for (const kind of ['contacts', 'groups', 'lists', 'defaults'] as const) {
        const known = new Set([...survivor[kind], ...salvage[kind]].map((row) => JSON.stringify(row)));
        expect(rows[kind].filter((row) => !known.has(JSON.stringify(row)))).toEqual([]);
      }
      const means = ([, ...of]: Row): string => JSON.stringify(of.with(3, ''));
      const known = new Set([...survivor.items, ...salvage.items].map(means));
      const made = rows.items.filter((row) => !known.has(means(row)));
      expect(made.filter(([, type, , action]) => type !== 'j' || action !== 'd')).toEqual([]);
      expect(
        made.filter(([, , peer]) =>
          [survivor, salvage].every((s) => !denials(s).some((d) => d.includes(String(peer)))),
        ),
      ).toEqual([]);
    });
  });

  it('three equal versions are no difference', () => {
    check(fc.tuple(three, rule), ([{ base }, by]) => {
      const found = mergeUser({ base, survivor: base, salvage: base }, by);
      expect(found.differences).toEqual([]);
      expect(bytes(found.rows)).toBe(bytes(base));
    });
  });

  it('what only one has changed is taken whole, unless it takes a denial back', () => {
    check(fc.tuple(three, rule), ([{ base, survivor: changed }, by]) => {
      if (lost(base, changed).length > 0) return;
      for (const versions of [
        { base, survivor: changed, salvage: base },
        { base, survivor: base, salvage: changed },
      ]) {
        const { contacts, groups } = merged(versions, by);
        expect(bytes({ ...changed, contacts, groups })).toBe(bytes(changed));
      }
    });
    check(fc.tuple(three, rule), ([{ base, survivor }, by]) => {
      const without = (rows: UserRows): UserRows => ({ ...rows, lists: [], items: [], defaults: [] });
      const [from, to] = [without(base), without(survivor)];
      expect(bytes(merged({ base: from, survivor: to, salvage: from }, by))).toBe(bytes(to));
      expect(bytes(merged({ base: from, survivor: from, salvage: to }, by))).toBe(bytes(to));
    });
  });

  it('are the same from either side, with the rule turned round', () => {
    check(three, ({ base, survivor: a, salvage: b }) => {
      const one = merged({ base, survivor: a, salvage: b }, 'survivor');
      const other = merged({ base, survivor: b, salvage: a }, 'home');
      expect(bytes(one)).toBe(bytes(other));
    });
  });

  it('merged once more with the same salvage, it stays as it is, but for the numbers of items', () => {
    const unnumbered = (rows: UserRows): UserRows => ({ ...rows, items: rows.items.map((row) => row.with(4, '1')) });
    check(fc.tuple(three, rule), ([versions, by]) => {
      const once = merged(versions, by);
      const twice = merged({ ...versions, survivor: once }, by);
      expect(bytes(unnumbered(twice))).toBe(bytes(unnumbered(once)));
      expect(denials(twice)).toEqual(denials(once));
    });
  });

  it('whatever is not as the survivor has it is named', () => {
    check(fc.tuple(three, rule), ([versions, by]) => {
      const { rows, differences } = mergeUser(versions, by);
      const same = bytes(rows) === bytes(versions.survivor);
      expect(same || differences.some(({ won }) => won !== 'survivor')).toBe(true);
      expect(bytes(versions.survivor) === bytes(versions.salvage) || differences.length > 0).toBe(true);
    });
  });
});
