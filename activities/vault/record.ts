import type { SnapshotCounts } from '../../workflows/model/snapshots.ts';
import { damaged, Reader, Writer } from './bytes.ts';
import { compareDecimals } from './decimals.ts';
import type { RecordKeys } from './keys.ts';

/** The columns of each row kind, in their order. NULL is null. `id`, `created_at` and `roster_version` never belong. */
export interface UserRows {
  /** rosterusers: jid nick subscription ask askmessage server subscribe type. */
  contacts: Row[];
  /** rostergroups: jid grp; duplicates and groups without a contact are kept. */
  groups: Row[];
  /** privacy_list: name. */
  lists: Row[];
  /** privacy_list_data: list name, t, value, action, ord in its shortest form, and the five flags as `t`, `f` or `-`. */
  items: Row[];
  /** privacy_default_list: name. */
  defaults: Row[];
}

export type Row = (string | null)[];

export interface UserRecord {
  username: string;
  rows: UserRows;
  /** The record as it is stored. Equal rows give equal bytes, whatever order they stood in. */
  bytes: Buffer;
  recordId: Buffer;
}

/** A record's byte for a row, the field of `UserRows`, and its columns. In this order they are written. */
const kinds = [
  { code: 'R', rows: 'contacts', columns: 8 },
  { code: 'G', rows: 'groups', columns: 2 },
  { code: 'L', rows: 'lists', columns: 1 },
  { code: 'I', rows: 'items', columns: 6 },
  { code: 'D', rows: 'defaults', columns: 1 },
] as const satisfies readonly { code: string; rows: keyof UserRows; columns: number }[];

const RECORD_VERSION = 1;

export const noRows = (): UserRows => ({ contacts: [], groups: [], lists: [], items: [], defaults: [] });

/** Sorts `rows` in place into the one order of a record, and encodes it. */
export function makeRecord(username: string, rows: UserRows, keys: RecordKeys): UserRecord {
  const bytes = encodeRecord(username, rows);
  return { username, rows, bytes, recordId: keys.recordId(bytes) };
}

export function encodeRecord(username: string, rows: UserRows): Buffer {
  const out = new Writer().u8(RECORD_VERSION).field(username);
  for (const kind of kinds) {
    if (rows[kind.rows].length === 0) continue;
    const encoded = encodeRows(kind.code, rows[kind.rows]);
    encoded.sort((a, b) => (kind.code === 'I' ? compareItems(a.row, b.row) : 0) || compareRows(a, b));
    rows[kind.rows] = encoded.map(({ row }) => row);
    for (const { bytes } of encoded) out.raw(bytes);
  }
  return out.bytes();
}

interface EncodedRow {
  row: Row;
  /** Kind, length, fields. Two rows are the same when these bytes are. */
  bytes: Buffer;
}

/** Kind, length of what follows, length of the first column: where the first column of an encoded row begins. */
const FIRST_COLUMN = 9;

/** By the bytes of the first column; what is left is decided by the whole row. */
function compareRows(a: EncodedRow, b: EncodedRow): number {
  const first = ({ row, bytes }: EncodedRow): Buffer =>
    row[0] === null ? bytes.subarray(0, 0) : bytes.subarray(FIRST_COLUMN, FIRST_COLUMN + bytes.readUInt32BE(5));
  return Buffer.compare(first(a), first(b)) || Buffer.compare(a.bytes, b.bytes);
}

function encodeRows(code: (typeof kinds)[number]['code'], rows: Row[]): EncodedRow[] {
  const out = new Writer();
  const ends = rows.map((row) => {
    out.u8(code.charCodeAt(0)).sized(() => {
      for (const value of row) out.field(value);
    });
    return out.length;
  });
  const bytes = out.bytes();
  return rows.map((row, i) => ({ row, bytes: bytes.subarray(ends[i - 1] ?? 0, ends[i]) }));
}

/** Every row of a user, encoded; for comparing two versions of him row by row. */
export function encodedRows(rows: UserRows): Buffer[] {
  return kinds.flatMap(({ code, rows: field }) => encodeRows(code, rows[field]).map(({ bytes }) => bytes));
}

/** By list, then as the service reads them: ascending order, deny before allow, type, value, flags. */
function compareItems(a: Row, b: Row): number {
  const [listA, typeA, valueA, actionA, ordA, flagsA] = a;
  const [listB, typeB, valueB, actionB, ordB, flagsB] = b;
  return (
    compareText(listA, listB) ||
    compareDecimals(ordA ?? null, ordB ?? null) ||
    Number(actionB === 'd') - Number(actionA === 'd') ||
    compareText(actionA, actionB) ||
    compareText(typeA, typeB) ||
    compareText(valueA, valueB) ||
    compareText(flagsA, flagsB)
  );
}

/** By bytes; JavaScript's own `<` is the order of UTF-16. */
export function compareText(a: string | null | undefined, b: string | null | undefined): number {
  if (a === b) return 0;
  return Buffer.compare(Buffer.from(a ?? ''), Buffer.from(b ?? ''));
}

/** Reads a record back; bytes that no encoder makes are `snapshot-damaged`. */
export function decodeRecord(bytes: Buffer, keys: RecordKeys, where: string): UserRecord {
  const input = new Reader(bytes, where);
  const version = input.u8();
  if (version !== RECORD_VERSION) throw damaged(where, `record version ${version}, known is ${RECORD_VERSION}`);
  const username = input.text();
  const rows = noRows();
  while (input.left > 0) {
    const code = input.raw(1).toString('latin1');
    const kind = kinds.find((k) => k.code === code);
    if (!kind) throw damaged(where, `row kind ${JSON.stringify(code)}`);
    const fields = new Reader(input.raw(input.u32()), where);
    const row: Row = [];
    for (let i = 0; i < kind.columns; i += 1) row.push(fields.field());
    fields.end();
    rows[kind.rows].push(row);
  }
  return { username, rows, bytes, recordId: keys.recordId(bytes) };
}

export const noCounts = (): SnapshotCounts => ({
  users: 0,
  contacts: 0,
  groups: 0,
  lists: 0,
  aclItems: 0,
  defaults: 0,
});

/** Adds one user to the counts. */
export function count(counts: SnapshotCounts, rows: UserRows): void {
  counts.users += 1;
  counts.contacts += rows.contacts.length;
  counts.groups += rows.groups.length;
  counts.lists += rows.lists.length;
  counts.aclItems += rows.items.length;
  counts.defaults += rows.defaults.length;
}

export function hasRows(rows: UserRows): boolean {
  return kinds.some(({ rows: field }) => rows[field].length > 0);
}
