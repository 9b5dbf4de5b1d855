import { compareDecimals } from './decimals.ts';

export type Row = (string | null)[];

/** A record's byte for a row, the field of `UserRows`, that of the counts, and its columns. In this order they are written. */
export const kinds = [
  { code: 0x52, rows: 'contacts', count: 'contacts', columns: 8 }, // R
  { code: 0x47, rows: 'groups', count: 'groups', columns: 2 }, // G
  { code: 0x4c, rows: 'lists', count: 'lists', columns: 1 }, // L
  { code: 0x49, rows: 'items', count: 'aclItems', columns: 6 }, // I
  { code: 0x44, rows: 'defaults', count: 'defaults', columns: 1 }, // D
] as const;

export const codes: readonly number[] = kinds.map(({ code }) => code);

const ITEMS = 3;
/** Kind and length of the fields. */
export const ROW_HEAD = 5;
export const NULL_LENGTH = 0xffffffff;
const DENY = 0x64; // d

/** A row is its kind, the length of its fields, and these. */
export const rowEnd = (source: Buffer, start: number): number => start + ROW_HEAD + source.readUInt32BE(start + 1);

/**
 * Puts rows of one kind, given by where they start in `source`, into the order of a record; `starts` from `from` to `to`.
 * A sort of our own, on bytes as they lie: millions of rows go through here, and texts or small arrays for each of them
 * would cost more than everything else.
 */
export function sortRows(source: Buffer, kind: number, starts: Int32Array, from = 0, to = starts.length): void {
  if (to - from < 2) return;
  if (scratch.keys.length < to) scratch = newScratch(2 * to);
  if (kind === ITEMS) scratch.keys.fill(0, from, to);
  else makeKeys(source, starts, from, to);
  mergeSort(source, kind === ITEMS ? compareItems : compareRows, starts, from, to);
}

type Compare = (source: Buffer, a: number, b: number) => number;

/** `keys` stand beside `starts`; the others are where the left half of a merge is kept. */
interface Scratch {
  keys: Float64Array;
  leftKeys: Float64Array;
  leftStarts: Int32Array;
}

const newScratch = (rows: number): Scratch => ({
  keys: new Float64Array(rows),
  leftKeys: new Float64Array(rows),
  leftStarts: new Int32Array(rows),
});

let scratch = newScratch(1024);

/** Bytes that a number holds exactly. */
const KEY_BYTES = 6;

/**
 * Of each row a number that stands in for its first column: the bytes behind those that all rows begin with. Equal
 * numbers decide nothing. A column has no zero bytes, so that zeros can follow a short one.
 */
function makeKeys(source: Buffer, starts: Int32Array, from: number, to: number): void {
  const first = starts[from] ?? 0;
  let shared = columnLength(source, first);
  for (let i = from + 1; i < to && shared > 0; i += 1) {
    const at = (starts[i] ?? 0) + COLUMN;
    const most = Math.min(shared, columnLength(source, at - COLUMN));
    shared = 0;
    while (shared < most && source[at + shared] === source[first + COLUMN + shared]) shared += 1;
  }
  for (let i = from; i < to; i += 1) {
    const start = starts[i] ?? 0;
    const left = columnLength(source, start) - shared;
    let key = 0;
    for (let n = 0; n < KEY_BYTES; n += 1)
      key = key * 256 + (n < left ? (source[start + COLUMN + shared + n] ?? 0) : 0);
    scratch.keys[i] = key;
  }
}

/** Where the first column's bytes begin: after the row's head, and their length. */
const COLUMN = ROW_HEAD + 4;

function columnLength(source: Buffer, start: number): number {
  const length = source.readUInt32BE(start + ROW_HEAD);
  return length === NULL_LENGTH ? 0 : length;
}

function mergeSort(source: Buffer, compare: Compare, starts: Int32Array, from: number, to: number): void {
  const { keys, leftKeys, leftStarts } = scratch;
  if (to - from <= INSERTION) return insertionSort(source, compare, starts, from, to);
  const middle = (from + to) >>> 1;
  mergeSort(source, compare, starts, from, middle);
  mergeSort(source, compare, starts, middle, to);
  const left = middle - from;
  for (let i = 0; i < left; i += 1) {
    leftKeys[i] = keys[from + i] ?? 0;
    leftStarts[i] = starts[from + i] ?? 0;
  }
  let l = 0;
  let r = middle;
  for (let at = from; l < left; at += 1) {
    const order = r >= to ? -1 : (leftKeys[l] ?? 0) - (keys[r] ?? 0);
    if ((order || compare(source, leftStarts[l] ?? 0, starts[r] ?? 0)) <= 0) {
      keys[at] = leftKeys[l] ?? 0;
      starts[at] = leftStarts[l++] ?? 0;
    } else {
      keys[at] = keys[r] ?? 0;
      starts[at] = starts[r++] ?? 0;
    }
  }
}

const INSERTION = 12;

function insertionSort(source: Buffer, compare: Compare, starts: Int32Array, from: number, to: number): void {
  const { keys } = scratch;
  for (let i = from + 1; i < to; i += 1) {
    const key = keys[i] ?? 0;
    const start = starts[i] ?? 0;
    let at = i;
    for (; at > from; at -= 1) {
      const before = keys[at - 1] ?? 0;
      if ((before - key || compare(source, starts[at - 1] ?? 0, start)) <= 0) break;
      keys[at] = before;
      starts[at] = starts[at - 1] ?? 0;
    }
    keys[at] = key;
    starts[at] = start;
  }
}

/** By the bytes of the first column; what is left is decided by the whole row. */
function compareRows(source: Buffer, a: number, b: number): number {
  return (
    compareFields(source, a + ROW_HEAD, b + ROW_HEAD) ||
    compareBytes(source, a, rowEnd(source, a), b, rowEnd(source, b))
  );
}

/** By list, then as the service reads them: ascending order, deny before allow, type, value, flags. */
function compareItems(source: Buffer, a: number, b: number): number {
  const [listA, typeA, valueA, actionA, ordA, flagsA] = fieldStarts(source, a);
  const [listB, typeB, valueB, actionB, ordB, flagsB] = fieldStarts(source, b);
  return (
    compareFields(source, listA, listB) ||
    compareOrds(source, ordA, ordB) ||
    Number(source[actionB + 4] === DENY) - Number(source[actionA + 4] === DENY) ||
    compareFields(source, actionA, actionB) ||
    compareFields(source, typeA, typeB) ||
    compareFields(source, valueA, valueB) ||
    compareFields(source, flagsA, flagsB) ||
    compareBytes(source, a, rowEnd(source, a), b, rowEnd(source, b))
  );
}

type Six = [number, number, number, number, number, number];

function fieldStarts(source: Buffer, start: number): Six {
  const found: Six = [start + ROW_HEAD, 0, 0, 0, 0, 0];
  for (let i = 1; i < 6; i += 1) found[i] = fieldEnd(source, found[i - 1] ?? 0);
  return found;
}

export function fieldEnd(source: Buffer, field: number): number {
  const length = source.readUInt32BE(field);
  return field + 4 + (length === NULL_LENGTH ? 0 : length);
}

/** NULL as the empty text. */
function compareFields(source: Buffer, a: number, b: number): number {
  return compareBytes(source, a + 4, fieldEnd(source, a), b + 4, fieldEnd(source, b));
}

/** As numbers of any length; two whole numbers without a sign, which nearly all are, without making texts of them. */
function compareOrds(source: Buffer, a: number, b: number): number {
  const [aEnd, bEnd] = [fieldEnd(source, a), fieldEnd(source, b)];
  if (isWhole(source, a + 4, aEnd) && isWhole(source, b + 4, bEnd)) {
    return aEnd - a - (bEnd - b) || compareBytes(source, a + 4, aEnd, b + 4, bEnd);
  }
  const text = (field: number, end: number): string | null =>
    source.readUInt32BE(field) === NULL_LENGTH ? null : source.toString('utf8', field + 4, end);
  return compareDecimals(text(a, aEnd), text(b, bEnd));
}

function isWhole(source: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i += 1) if ((source[i] ?? 0) < 0x30 || (source[i] ?? 0) > 0x39) return false;
  return end > start;
}

/** A loop is several times as fast as `Buffer.compare` for texts as short as an address. */
function compareBytes(source: Buffer, a: number, aEnd: number, b: number, bEnd: number): number {
  const shared = Math.min(aEnd - a, bEnd - b);
  for (let i = 0; i < shared; i += 1) {
    const difference = (source[a + i] ?? 0) - (source[b + i] ?? 0);
    if (difference !== 0) return difference;
  }
  return aEnd - a - (bEnd - b);
}
