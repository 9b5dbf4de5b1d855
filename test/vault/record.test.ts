import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareDecimals } from '../../activities/vault/decimals.ts';
import { derive, recordKeys } from '../../activities/vault/keys.ts';
import {
  decodeRecord,
  encodedRows,
  encodeRecord,
  makeRecord,
  noRows,
  type Row,
  type UserRows,
} from '../../activities/vault/record.ts';

const keys = recordKeys(Buffer.alloc(32, 7));

/** Text as PostgreSQL keeps it: any character but NUL, whole code points. */
const text = fc.string({ unit: 'binary', maxLength: 30 }).map((s) => s.replaceAll('\0', ''));
const field = fc.option(text, { nil: null });
const row = (columns: number): fc.Arbitrary<Row> => fc.array(field, { minLength: columns, maxLength: columns });
const ord = fc.oneof(
  fc.integer().map(String),
  fc.constantFrom('0.5', '1.25', '-3.75', '10000000000000000000001', 'NaN'),
);
const item = fc
  .tuple(
    text,
    fc.constantFrom('n', 'j', 'g', 's'),
    text,
    fc.constantFrom('a', 'd'),
    ord,
    fc.constantFrom('ttfft', 'fffff'),
  )
  .map((values): Row => values);
const rows: fc.Arbitrary<UserRows> = fc.record({
  contacts: fc.array(row(8), { maxLength: 8 }),
  groups: fc.array(row(2), { maxLength: 8 }),
  lists: fc.array(row(1), { maxLength: 3 }),
  items: fc.array(item, { maxLength: 8 }),
  defaults: fc.array(row(1), { maxLength: 1 }),
});

const shuffled = (r: UserRows): UserRows =>
  Object.fromEntries(Object.entries(r).map(([k, v]) => [k, (v as Row[]).toReversed()])) as unknown as UserRows;

describe('a record', () => {
  it('never takes NULL for the empty text, nor one column for another', () => {
    const contact = (nick: string | null, type: string | null): UserRows => ({
      ...noRows(),
      contacts: [['a@b', nick, 'B', 'N', '', 'N', '', type]],
    });
    const bytes = [contact('', 'item'), contact(null, 'item'), contact('', null), contact('item', '')].map((r) =>
      encodeRecord('u', r).toString('hex'),
    );
    expect(new Set(bytes).size).toBe(4);
  });

  it('differs when any one field, row or name differs', () => {
    fc.assert(
      fc.property(rows, rows, text, (a, b, username) => {
        const same =
          encodedRows(encodeRecord(username, a))
            .toSorted((x, y) => Buffer.compare(x, y))
            .map(String)
            .join() ===
          encodedRows(encodeRecord(username, b))
            .toSorted((x, y) => Buffer.compare(x, y))
            .map(String)
            .join();
        expect(encodeRecord(username, a).equals(encodeRecord(username, b))).toBe(same);
        expect(encodeRecord(`${username}x`, a).equals(encodeRecord(username, a))).toBe(false);
      }),
    );
  });

  it('keeps a duplicate row: two are not one', () => {
    const once: UserRows = { ...noRows(), groups: [['a@b', 'Team']] };
    const twice: UserRows = {
      ...noRows(),
      groups: [
        ['a@b', 'Team'],
        ['a@b', 'Team'],
      ],
    };
    expect(encodeRecord('u', once).equals(encodeRecord('u', twice))).toBe(false);
  });

  it('is refused when a byte is missing or too many', () => {
    const bytes = encodeRecord('u', { ...noRows(), contacts: [['j', '', 'B', 'N', '', 'N', '', null]] });
    for (let length = 0; length < bytes.length; length += 1) {
      // Cut between two rows it is a record of fewer rows: its id tells, not its form.
      if (length === 6) continue;
      expect(() => decodeRecord(bytes.subarray(0, length), keys, 'here')).toThrow(/^here: /);
    }
    expect(() => decodeRecord(Buffer.concat([bytes, Buffer.of(0)]), keys, 'here')).toThrow(/row kind/);
  });

  it('gives the same bytes for the same rows in any order, and gives them back', () => {
    fc.assert(
      fc.property(text, rows, (username, r) => {
        const bytes = encodeRecord(username, structuredClone(r));
        expect(encodeRecord(username, shuffled(r)).equals(bytes)).toBe(true);
        const found = decodeRecord(bytes, keys, 'here');
        expect(found.username).toBe(username);
        expect(encodeRecord(username, found.rows).equals(bytes)).toBe(true);
        expect(found.recordId.equals(keys.recordId(bytes))).toBe(true);
      }),
    );
  });

  it('sorts by bytes, not by UTF-16: an emoji comes after every character below it', () => {
    const jids = ['😀@x', '\uffee@x', 'é@x', 'z@x'];
    const record: UserRows = { ...noRows(), contacts: jids.map((jid) => [jid, '', 'B', 'N', '', 'N', '', null]) };
    expect(makeRecord('u', record, keys).rows.contacts.map(([jid]) => jid)).toEqual(['z@x', 'é@x', '\uffee@x', '😀@x']);
  });

  it('sorts many rows by the bytes of the address, however alike they are', () => {
    const jid = fc.tuple(fc.constantFrom('', 'u', 'user', 'user00'), text).map(([start, rest]) => start + rest);
    const many = fc.array(jid, { minLength: 2, maxLength: 60 });
    fc.assert(
      fc.property(many, fc.constantFrom('', 'contact-'), (found, start) => {
        const jids = found.map((j) => start + j);
        const record = encodeRecord('u', { ...noRows(), groups: jids.map((j): Row => [j, 'g']) });
        const sorted = decodeRecord(record, keys, 'here').rows.groups.map(([j]) => Buffer.from(j ?? ''));
        expect(sorted).toEqual(jids.map((j) => Buffer.from(j)).toSorted((a, b) => Buffer.compare(a, b)));
      }),
    );
  });

  it('puts items in the order in which they count: list, order as a number, deny before allow', () => {
    const items: Row[] = [
      ['b', 'n', '', 'a', '1', 'tffff'],
      ['a', 'j', 'x', 'a', '10', 'tffff'],
      ['a', 'j', 'x', 'a', '9', 'tffff'],
      ['a', 'j', 'z', 'd', '9', 'tffff'],
    ];
    const record: UserRows = { ...noRows(), items };
    expect(
      makeRecord('u', record, keys).rows.items.map(([list, , , action, order]) => `${list}${order}${action}`),
    ).toEqual(['a9d', 'a9a', 'a10a', 'b1a']);
  });
});

describe('the format', () => {
  it('is golden: these rows have always had these bytes and these ids', () => {
    const record = makeRecord(
      'ann',
      {
        ...noRows(),
        contacts: [['b@x', '', 'B', 'N', '', 'N', '', null]],
        items: [['l', 'j', 'c@x', 'd', '1', 'tffff']],
      },
      keys,
    );
    expect(record.bytes.toString('hex')).toBe(
      '0100000003616e6e520000002600000003624078000000000000000142000000014e00000000000000014e00000000ffffffff4900000024000000016c000000016a0000000363407800000001640000000131000000057466666666',
    );
    expect(record.recordId.toString('hex')).toBe('6a6c3562a410f959e88b077a2e801127');
    expect(keys.userKey('ann').toString('hex')).toBe('726121c36ac75b9a0f7e707f6f59fa26');
  });
});

describe('decimals', () => {
  it('compare as PostgreSQL does, at any length', () => {
    const sorted = [
      '-Infinity',
      '-10.5',
      '-10',
      '-0.5',
      '0',
      '0.05',
      '0.5',
      '1',
      '9',
      '10',
      '10000000000000000000001',
      'Infinity',
      'NaN',
    ];
    expect(sorted.toReversed().toSorted(compareDecimals)).toEqual(sorted);
    fc.assert(
      fc.property(fc.integer(), fc.integer(), (a, b) => {
        expect(Math.sign(compareDecimals(String(a), String(b)))).toBe(Math.sign(a - b));
      }),
    );
  });
});

describe('keys', () => {
  it('differ by purpose, customer key and salt', () => {
    const a = Buffer.alloc(32, 1);
    const all = [
      derive(a, 'user/1'),
      derive(a, 'rec/1'),
      derive(Buffer.alloc(32, 2), 'user/1'),
      derive(a, 'user/1', Buffer.of(1)),
    ];
    expect(new Set(all.map((k) => k.toString('hex'))).size).toBe(4);
  });
});
