import { failure } from '../../workflows/model/failures.ts';
import type { SnapshotCounts } from '../../workflows/model/snapshots.ts';
import { damaged, Reader, Writer } from './bytes.ts';
import type { RecordKeys } from './keys.ts';
import { codes, decodeRow, kinds, rowEnd, sortRows, type Row } from './record-rows.ts';

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

export type { Row };

const RECORD_VERSION = 1;

/** All contacts and ACLs of one user at one point in time. */
export class UserRecord {
  readonly username: string;
  /** The record as it is stored. Equal rows give equal bytes, whatever order they stood in. */
  readonly bytes: Buffer;
  readonly recordId: Buffer;
  private decoded: UserRows | undefined;

  constructor(username: string, bytes: Buffer, recordId: Buffer) {
    this.username = username;
    this.bytes = bytes;
    this.recordId = recordId;
  }

  /** Decoded when first asked for: most records are only copied and compared. */
  get rows(): UserRows {
    this.decoded ??= decodeRows(this.bytes, `record of ${this.bytes.length} bytes`);
    return this.decoded;
  }
}

export const noRows = (): UserRows => ({ contacts: [], groups: [], lists: [], items: [], defaults: [] });

/** Encodes rows into the one order of a record. */
export function makeRecord(username: string, rows: UserRows, keys: RecordKeys): UserRecord {
  const bytes = encodeRecord(username, rows);
  return new UserRecord(username, bytes, keys.recordId(bytes));
}

export function encodeRecord(username: string, rows: UserRows): Buffer {
  const encoded = new Writer();
  const starts = kinds.map((kind) =>
    Int32Array.from(rows[kind.rows], (row) => {
      const start = encoded.length;
      encodeRow(encoded, kind.code, row);
      return start;
    }),
  );
  const source = encoded.bytes();
  const out = new Writer();
  writeHead(out, Buffer.from(username));
  for (const [kind, of] of starts.entries()) {
    sortRows(source, kind, of);
    for (const start of of) out.raw(source.subarray(start, rowEnd(source, start)));
  }
  return out.bytes();
}

export function writeHead(out: Writer, username: Uint8Array): void {
  out.u8(RECORD_VERSION).u32(username.length).raw(username);
}

function encodeRow(out: Writer, code: number, row: Row): void {
  out.u8(code).sized(() => {
    for (const value of row) out.field(value);
  });
}

/** Every row of a record, encoded; for comparing two versions of a user row by row. */
export function encodedRows(record: Buffer): Buffer[] {
  const found: Buffer[] = [];
  walkRecord(record, 'record', (_kind, start, end) => found.push(record.subarray(start, end)));
  return found;
}

/**
 * Steps through a record without making texts of it, and answers with its user's name. Bytes that no encoder makes are
 * `snapshot-damaged`; what a newer one makes is `snapshot-format`. `row` is given the place of each row in the table of kinds, and in the record.
 */
export function walkRecord(
  bytes: Buffer,
  where: string,
  row: (kind: number, start: number, end: number) => void,
): Buffer {
  const input = new Reader(bytes, where);
  const version = input.u8();
  if (version > RECORD_VERSION)
    throw failure('snapshot-format', `${where}: record version ${version}, this Tandem knows ${RECORD_VERSION}`);
  if (version !== RECORD_VERSION) throw damaged(where, `record version ${version}`);
  const username = input.raw(input.u32());
  while (input.left > 0) {
    const start = bytes.length - input.left;
    const code = input.u8();
    const kind = codes.indexOf(code);
    const columns = kinds[kind]?.columns;
    if (columns === undefined) {
      const letters = String.fromCharCode(...codes);
      const letter = JSON.stringify(String.fromCharCode(code));
      throw failure('snapshot-format', `${where}: row kind ${letter}, this Tandem knows ${letters}`);
    }
    const end = input.u32() + bytes.length - input.left;
    for (let i = 0; i < columns; i += 1) input.skipField();
    if (bytes.length - input.left !== end) throw damaged(where, `a row of another length than it says, at ${start}`);
    row(kind, start, end);
  }
  return username;
}

function decodeRows(bytes: Buffer, where: string): UserRows {
  const rows = noRows();
  walkRecord(bytes, where, (kind, start) => {
    const of = kinds[kind];
    if (of) rows[of.rows].push(decodeRow(bytes, start, of.columns));
  });
  return rows;
}

/** Reads a record back; bytes that no encoder makes are `snapshot-damaged`. */
export function decodeRecord(bytes: Buffer, keys: RecordKeys, where: string): UserRecord {
  const username = walkRecord(bytes, where, () => undefined).toString('utf8');
  return new UserRecord(username, bytes, keys.recordId(bytes));
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
export function count(counts: SnapshotCounts, record: Buffer): void {
  counts.users += 1;
  walkRecord(record, 'record', (kind) => {
    const of = kinds[kind];
    if (of) counts[of.count] += 1;
  });
}

export function hasRows(record: Buffer): boolean {
  return record.length > 5 + record.readUInt32BE(1);
}
