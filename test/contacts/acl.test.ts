import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aclFaults } from '../../activities/contacts/acl.ts';
import { isAddress } from '../../activities/contacts/jid.ts';
import { encodeRecord, noRows, type Row } from '../../activities/vault/record.ts';

const faultsOf = (...items: Row[]): string[] => aclFaults({ bytes: encodeRecord('u', { ...noRows(), items }) });
const item = (
  type: string | null,
  value: string | null,
  action: string | null = 'd',
  order: string | null = '1',
): Row => ['l', type, value, action, order, 'tffff'];

describe('an ACL that the service could not read', () => {
  it.each([
    ['a type that is none', item('x', 'a@b'), 'item 1: its type is none of n, j, g, s'],
    ['no type', item(null, 'a@b'), 'item 1: its type is none of n, j, g, s'],
    ['a blank type', item(' ', 'a@b'), 'item 1: its type is none of n, j, g, s'],
    ['an action that is none', item('j', 'a@b', 'x'), 'item 1: its action is neither a nor d'],
    ['a subscription that is none', item('s', 'remove'), 'item 1: its subscription is none of none, both, from, to'],
    ['an order with a fraction', item('n', '', 'd', '1.5'), 'item 1: its order is no whole number'],
    ['an order that is no number', item('n', '', 'd', 'NaN'), 'item 1: its order is no whole number'],
    ['no value', item('j', null), 'item 1: it has no value'],
    ['an address without a domain', item('j', 'eve@'), 'item 1: its address cannot be read'],
  ])('has %s', (_, row, fault) => {
    expect(faultsOf(row)).toEqual([fault]);
  });

  it('is told of item by item, in numbers and never in contents', () => {
    const found = faultsOf(item('j', 'eve@x', 'd', '1'), item('j', '@secret', 'd', '2'), item('s', 'secret', 'd', '3'));
    expect(found).toHaveLength(2);
    expect(found.join()).not.toContain('secret');
    expect(found.map((text) => text.slice(0, 6))).toEqual(['item 2', 'item 3']);
  });

  it('is none that the service writes itself', () => {
    expect(
      faultsOf(
        item('n', ''),
        item('j', 'eve@contoso.example'),
        item('j', 'contoso.example/phone 1'),
        item('g', 'Freunde & Bekannte'),
        item('s', 'both'),
        item('n', '', 'a', '10000000000000000000001'),
        item('n', '', 'a', '-1'),
      ),
    ).toEqual([]);
  });
});

describe('an address', () => {
  it.each([
    'a@b',
    'b',
    'b.c',
    'b.',
    'a@b/c',
    'b/c@d/e',
    'jürgen@köln.example',
    '用户@例え.jp',
    'a@b/ spaced',
    'שלום@x',
    'a+b=c@x',
    '[::1]',
    'a@b/\u00a0',
    'ა@x',
    'مثال@x',
  ])('is %j', (text) => {
    expect(isAddress(text)).toBe(true);
  });

  it.each([
    '',
    '@b',
    'a@',
    'a b@c',
    'a@b c',
    'a@@b',
    'a@b..c',
    '.b',
    'a@b/',
    "a'b@c",
    'a"b@c',
    'a&b@c',
    'a:b@c',
    'a<b@c',
    'a@b@c',
    'a\u0007@b',
    'a\u00a0b@c',
    'a\u2028@b',
    'a@b/\ufffd',
    'a@b/\u0001',
    'שa@x',
    'ש1@x',
    '\u{e000}@x',
    // Nobody knew these in Unicode 3.2, and ejabberd does not to this day.
    '🚒@x',
    'a@b/🚒',
    '₹@x',
    'ẞ@x',
    'ŉ'.repeat(400) + '@x',
  ])('is not %j', (text) => {
    expect(isAddress(text)).toBe(false);
  });

  it('has parts of at most 1023 bytes each', () => {
    expect(isAddress(`${'a'.repeat(1023)}@b`)).toBe(true);
    expect(isAddress(`${'a'.repeat(1024)}@b`)).toBe(false);
    expect(isAddress(`${'ä'.repeat(512)}@b`)).toBe(false);
    expect(isAddress(`a@b/${'a'.repeat(1024)}`)).toBe(false);
  });

  it('is judged whatever it is, and quickly', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => typeof isAddress(text) === 'boolean'),
    );
    expect(isAddress(`${'a.'.repeat(500)}@`)).toBe(false);
  });
});
