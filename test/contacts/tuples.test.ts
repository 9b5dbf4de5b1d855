import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Tuples, tupleFields } from '../../activities/contacts/tuples.ts';

type Field = string | null;

const u16 = (n: number): Buffer => Buffer.from([n >>> 8, n & 255]);
const u32 = (n: number): Buffer => Buffer.from([n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]);
const message = (type: string, ...body: Buffer[]): Buffer => {
  const bytes = Buffer.concat(body);
  return Buffer.concat([Buffer.from(type), u32(bytes.length + 4), bytes]);
};
const encode = (field: Field): Buffer =>
  field === null ? u32(0xffffffff) : Buffer.concat([u32(Buffer.byteLength(field)), Buffer.from(field)]);
const row = (fields: Field[]): Buffer => Buffer.concat([u16(fields.length), ...fields.map(encode)]);

/** As a server sends it: a header with the first row, and the end in a message of its own. */
function copyOf(rows: Field[][]): Buffer {
  const header = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), u32(0), u32(0)]);
  const bodies = rows.map((fields, i) => (i === 0 ? Buffer.concat([header, row(fields)]) : row(fields)));
  const data = rows.length === 0 ? [message('d', header)] : bodies.map((body) => message('d', body));
  // A notice may come at any time.
  return Buffer.concat([
    ...data.slice(0, 1),
    message('N', Buffer.from('notice')),
    ...data.slice(1),
    message('d', u16(0xffff)),
  ]);
}

function read(pieces: Buffer[]): Field[][] {
  const found: Field[][] = [];
  const tuples = new Tuples((bytes, name, nameEnd, end) => {
    const rest: Field[] = [];
    for (let at = nameEnd; at < end;) {
      const [field] = tupleFields(bytes, at, 1);
      rest.push(field?.toString() ?? null);
      at += 4 + (field?.length ?? 0);
    }
    found.push([bytes.toString('utf8', name, nameEnd), ...rest]);
  });
  for (const piece of pieces) {
    tuples.push(piece);
    piece.fill(0); // What was lent is used again for other bytes.
  }
  tuples.end();
  return found;
}

const text = fc.string({ unit: 'grapheme', maxLength: 20 }).map((s) => s.replaceAll('\0', ''));
const rows = fc.array(
  fc
    .tuple(text, fc.array(fc.option(text, { nil: null }), { maxLength: 4 }))
    .map(([name, rest]): Field[] => [name, ...rest]),
  { maxLength: 12 },
);

describe('rows of a binary COPY', () => {
  it('are the same wherever the stream is cut, and none is kept of what was lent', () => {
    fc.assert(
      fc.property(rows, fc.array(fc.nat(400), { maxLength: 20 }), (wanted, cuts) => {
        const bytes = copyOf(wanted);
        const places = [...new Set([0, ...cuts.filter((cut) => cut < bytes.length), bytes.length])].toSorted(
          (a, b) => a - b,
        );
        const pieces = places.slice(1).map((to, i) => Buffer.from(bytes.subarray(places[i], to)));
        expect(read(pieces)).toEqual(wanted);
      }),
    );
  });

  it('come byte by byte, too', () => {
    const wanted = [
      ['a', 'x', null],
      ['', ''],
      ['ü', null],
    ];
    const bytes = copyOf(wanted);
    expect(read(Array.from(bytes, (byte) => Buffer.of(byte)))).toEqual(wanted);
  });

  it('that end without their end are an error: some may be missing', () => {
    const bytes = copyOf([['a', 'b']]);
    const tuples = new Tuples(() => undefined);
    tuples.push(bytes.subarray(0, -7));
    expect(() => tuples.end()).toThrow('in the middle');
  });
});
