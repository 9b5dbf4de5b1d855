import { describe, expect, it } from 'vitest';
import { mergeUser, type Versions } from '../../activities/contacts/merge.ts';
import type { ConflictRule } from '../../workflows/model/planned-move.ts';
import { withoutRemovals } from '../../activities/contacts/suspect-salvage.ts';
import { noRows, type Row, type UserRows } from '../../activities/vault/record.ts';
import { acl, bytes, contact, item, orders, PEERS, rowsOf, rules } from './versions.ts';

describe('after a merge', () => {
  const [ann, bob] = PEERS as [string, string];
  const plain = (versions: Partial<Versions>, by: ConflictRule = 'survivor') =>
    mergeUser({ base: null, survivor: noRows(), salvage: noRows(), ...versions }, by);
  const roster = (...contacts: Row[]): UserRows => rowsOf({ contacts });

  it('a contact that each side has changed in its way goes by the rule, and is named', () => {
    const base = roster(contact(ann));
    const survivor = roster(contact(ann, 'B', 'Ann'));
    const salvage = roster(contact(ann, 'B', 'Anna'));
    const nick = (by: ConflictRule) => {
      const { rows, differences } = plain({ base, survivor, salvage }, by);
      return [rows?.contacts[0]?.[1], ...differences.map(({ won, why }) => `${won} ${why}`)];
    };
    expect(nick('survivor')).toEqual(['Ann', 'survivor conflict']);
    expect(nick('home')).toEqual(['Anna', 'salvage conflict']);
    expect(nick('ask')).toEqual(['Ann', 'survivor open']);
  });

  it('a contact whom one side removed while the other put him into a group stays or goes whole', () => {
    const base = roster(contact(ann));
    const salvage = rowsOf({ contacts: [contact(ann)], groups: [[ann, 'Work']] });
    expect(plain({ base, survivor: noRows(), salvage }).rows).toMatchObject({ contacts: [], groups: [] });
    const home = plain({ base, survivor: noRows(), salvage }, 'home');
    expect(home.rows).toMatchObject({ contacts: [contact(ann)], groups: [[ann, 'Work']] });
    expect(home.differences).toEqual([{ kind: 'contact', key: [ann], won: 'salvage', why: 'conflict' }]);
  });

  it('what a suspect disk lacks was not removed by it, and what it has more or otherwise counts', () => {
    const base: UserRows = {
      ...rowsOf({
        contacts: [contact(ann), contact(bob)],
        groups: [
          [ann, 'Work'],
          [ann, 'Work'],
          [bob, 'Home'],
        ],
        items: [item('j', bob)],
      }),
      defaults: [['L']],
    };
    const salvage = rowsOf({
      contacts: [contact(ann, 'B', 'Ann')],
      groups: [[ann, 'Work']],
      items: [item('j', ann, 'd', '9')],
    });
    const there = withoutRemovals(base, salvage);
    expect(there).toEqual({
      contacts: [contact(ann, 'B', 'Ann'), contact(bob)],
      groups: [
        [ann, 'Work'],
        [ann, 'Work'],
        [bob, 'Home'],
      ],
      lists: [['L']],
      items: [item('j', ann, 'd', '9'), item('j', bob)],
      defaults: [['L']],
    });
    expect(bytes(withoutRemovals(base, noRows()))).toBe(bytes(base));
    expect(plain({ base, survivor: base, salvage: there }).differences.every(({ won }) => won === 'salvage')).toBe(
      true,
    );
  });

  it('who was blocked at the survivor is blocked, though the old disk allows everybody first', () => {
    const survivor = acl(item('j', bob));
    const salvage = acl(item('n', '', 'a', '1'));
    for (const by of rules)
      expect(orders(plain({ survivor, salvage }, by).rows ?? noRows())).toEqual(['d bob', 'a all']);
  });

  it('whom one side has unblocked stays blocked while the other has him so, and is named', () => {
    const base = acl(item('j', bob));
    for (const by of rules)
      for (const versions of [
        { base, survivor: noRows(), salvage: base },
        { base, survivor: base, salvage: noRows() },
      ]) {
        const { rows, differences } = plain(versions, by);
        expect(rows).toMatchObject({ lists: [['L']], items: [item('j', bob)] });
        expect(differences).toContainEqual(expect.objectContaining({ kind: 'item', why: 'deny-kept' }));
      }
  });

  it('a denial that never did anything can be taken back', () => {
    const base = acl(item('n', '', 'a', '1'), item('j', bob, 'd', '2'));
    const survivor = acl(item('n', '', 'a', '1'));
    expect(plain({ base, survivor, salvage: base }).rows?.items).toEqual([item('n', '', 'a', '1')]);
  });

  it('an exception that both sides make from a denial stays one', () => {
    const base = acl(item('j', ann, 'a', '1'), item('n', '', 'd', '2'));
    const survivor = acl(item('j', ann, 'a', '1'), item('j', bob, 'a', '2'), item('n', '', 'd', '3'));
    const salvage = acl(item('j', ann, 'a', '5'), item('j', PEERS[2] ?? '', 'd', '6'), item('n', '', 'd', '7'));
    const found = orders(plain({ base, survivor, salvage }).rows ?? noRows());
    expect(found.indexOf('a ann')).toBeLessThan(found.indexOf('d all'));
    expect(found.indexOf('d all')).toBeLessThan(found.indexOf('a bob'));
  });

  it('who is out of a blocked group on one side only is blocked as before', () => {
    const blocked = rowsOf({ contacts: [contact(ann)], groups: [[ann, 'G']], items: [item('g', 'G')] });
    const survivor = { ...blocked, groups: [] };
    const { rows, differences } = plain({ base: blocked, survivor, salvage: blocked });
    expect(rows?.groups).toEqual([[ann, 'G']]);
    expect(differences).toContainEqual({ kind: 'contact', key: [ann], won: 'salvage', why: 'deny-kept' });
  });

  it('items that the service cannot read are kept as they stand, from either side', () => {
    const odd = item('x', 'y', 'd', '1.5');
    const { rows } = plain({ base: noRows(), survivor: acl(item('j', bob)), salvage: acl(odd) });
    expect(rows?.items).toContainEqual(odd);
    expect(plain({ base: acl(odd), survivor: noRows(), salvage: acl(odd) }).rows?.items).toEqual([odd]);
  });

  it('whom a disk does not know has not removed his contacts; whom the directory removed does not come back', () => {
    const rows = roster(contact(ann), contact(bob));
    expect(plain({ base: rows, survivor: rows, salvage: null })).toEqual({ rows, differences: [] });
    const gone = plain({ base: rows, survivor: null, salvage: rows }, 'home');
    expect(gone).toEqual({ rows: null, differences: [{ kind: 'user', key: [], won: 'survivor', why: 'gone' }] });
    const made = plain({ base: null, survivor: null, salvage: rows });
    expect(made.rows).toEqual(rows);
    expect(made.differences).toEqual([{ kind: 'user', key: [], won: 'salvage', why: 'one-sided' }]);
  });
});
