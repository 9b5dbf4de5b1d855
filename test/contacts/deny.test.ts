import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { denies } from '../../activities/contacts/deny.ts';
import type { Row } from '../../activities/vault/record.ts';

const DOMAIN = 'contoso.example';
const item = (type: string, value: string, action = 'd', order = '1', flags = 'tffff', list = 'l'): Row => [
  list,
  type,
  value,
  action,
  order,
  flags,
];
const deniesBob = (items: Row[], groups: string[] = [], subscriptions = ['N', 'B']): boolean =>
  denies({ items, groups, subscriptions }, 'bob', DOMAIN);

describe('a privacy list denies a contact', () => {
  const bob = `bob@${DOMAIN}`;
  it.each<[string, Row[], string[]?]>([
    ['by his address', [item('j', bob)]],
    ['by his address, as an old client wrote it', [item('j', 'Bob@Contoso.Example')]],
    ['by one of his resources', [item('j', `${bob}/phone`)]],
    ['by his domain', [item('j', DOMAIN)]],
    ['by a resource of his domain', [item('j', `${DOMAIN}/phone`)]],
    ['with everybody', [item('n', '')]],
    ['by his group', [item('g', 'Friends')], ['Work', 'Friends']],
    ['by the subscription that he had', [item('s', 'none')]],
    ['by the subscription that he is to have', [item('s', 'both')]],
    ['by an item that the service cannot read', [item('x', 'y')]],
    ['by an address that is none', [item('j', 'eve@')]],
    ['by an item whose order is none', [item('j', 'eve@x', 'a', '1.5')]],
    ['in a list that is not in force', [item('j', 'eve@x', 'a', '1', 'tffff', 'other'), item('j', bob)]],
    ['of messages alone', [item('j', bob, 'd', '1', 'fftff')]],
    ['of his presence alone', [item('j', bob, 'd', '1', 'ffftf')]],
    ['of its own presence alone', [item('j', bob, 'd', '1', 'fffft')]],
    ['of queries alone', [item('j', bob, 'd', '1', 'ftfff')]],
    ['whom it allows later', [item('j', bob, 'd', '1'), item('n', '', 'a', '2')]],
    ['whom it allows at the same place', [item('j', bob, 'd', '1'), item('j', bob, 'a', '1')]],
    ['whom it allows less before', [item('j', bob, 'a', '1', 'ftttf'), item('n', '', 'd', '2')]],
    ['whom it allows at one resource before', [item('j', `${bob}/phone`, 'a', '1'), item('n', '', 'd', '2')]],
    ['whom it allowed as he was', [item('s', 'none', 'a', '1'), item('n', '', 'd', '2')]],
    ['whom another list allows', [item('j', bob, 'a', '1', 'tffff', 'other'), item('n', '', 'd', '2')]],
  ])('%s', (_, items, groups) => {
    expect(deniesBob(items, groups)).toBe(true);
  });

  it.each<[string, Row[], string[]?]>([
    ['there is none', []],
    [
      'it denies others',
      [item('j', `eve@${DOMAIN}`), item('j', 'bob@fabrikam.example'), item('j', 'fabrikam.example')],
    ],
    ['it denies a group that is not his', [item('g', 'Friends')], ['Work']],
    ['it denies a subscription that he never had', [item('s', 'to')]],
    ['it allows him, and then nobody', [item('j', bob, 'a', '9'), item('n', '', 'd', '10')]],
    [
      'it allows his group all four kinds, and then nobody',
      [item('g', 'Friends', 'a', '1', 'ftttt'), item('n', '', 'd', '2')],
      ['Friends'],
    ],
  ])('never while %s', (_, items, groups) => {
    expect(deniesBob(items, groups)).toBe(false);
  });

  it('whenever ejabberd would keep anything from him, whatever lists there are', () => {
    const values: Record<string, string[]> = {
      n: [''],
      j: [bob, DOMAIN, `${bob}/phone`, `${DOMAIN}/phone`, `eve@${DOMAIN}`, 'x.example'],
      g: ['Friends', 'Work'],
      s: ['none', 'both', 'from', 'to'],
    };
    const anItem = fc.constantFrom('n', 'j', 'g', 's').chain((type) =>
      fc.record({
        type: fc.constant(type),
        value: fc.constantFrom(...(values[type] ?? [''])),
        action: fc.constantFrom('a', 'd'),
        order: fc.integer({ min: 0, max: 4 }),
        flags: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
      }),
    );
    type Item = { type: string; value: string; action: string; order: number; flags: boolean[] };
    /** As mod_privacy does it, for one kind of stanza from one resource. */
    const keepsOut = (
      list: Item[],
      kind: number,
      resource: string,
      groups: string[],
      subscription: string,
    ): boolean => {
      const hit = list
        .toSorted((a, b) => a.order - b.order)
        .find(({ type, value, flags }) => {
          if (!flags[0] && !flags[kind]) return false;
          if (type === 'n') return true;
          if (type === 'g') return groups.includes(value);
          if (type === 's') return value === subscription;
          return [`${bob}/${resource}`, bob, DOMAIN, `${DOMAIN}/${resource}`].includes(value);
        });
      return hit?.action === 'd';
    };
    fc.assert(
      fc.property(
        fc.array(anItem, { maxLength: 6 }),
        fc.subarray(['Friends', 'Work']),
        fc.constantFrom('none', 'both', 'from', 'to'),
        (list, groups, subscription) => {
          const letter = { none: 'N', both: 'B', from: 'F', to: 'T' }[subscription] ?? '';
          const rows = list.map(({ type, value, action, order, flags }) =>
            item(type, value, action, String(order), flags.map((f) => (f ? 't' : 'f')).join('')),
          );
          const kept = [1, 2, 3, 4].some((kind) =>
            ['phone', 'desk'].some((resource) => keepsOut(list, kind, resource, groups, subscription)),
          );
          return !kept || deniesBob(rows, groups, [letter, 'N']);
        },
      ),
      { numRuns: 3000 },
    );
  });
});
