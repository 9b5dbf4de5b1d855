import { failure } from '../../workflows/model/failures.ts';
import type { SnapshotCounts } from '../../workflows/model/snapshots.ts';
import { damaged, Reader, Writer } from './bytes.ts';
import type { RecordKeys } from './keys.ts';
import { codes, kinds, NULL_LENGTH, rowEnd, ROW_HEAD, sortRows, type Row } from './record-rows.ts';

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
/** Where the user's name begins: after the version and its length. */
const NAME = 5;

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
  const length = (at: number, end: number): number => {
    if (at + 4 > end) throw damaged(where, `it ends at ${end}, in the middle of a length`);
    return bytes.readUInt32BE(at);
  };
  const [version] = bytes;
  if (version !== undefined && version > RECORD_VERSION)
    throw failure('snapshot-format', `${where}: record version ${version}, this Tandem knows ${RECORD_VERSION}`);
  if (version !== RECORD_VERSION) throw damaged(where, `record version ${version}`);
  const nameEnd = NAME + length(1, bytes.length);
  if (nameEnd > bytes.length) throw damaged(where, `its name ends at ${nameEnd}, it has ${bytes.length} bytes`);
  for (let start = nameEnd; start < bytes.length;) {
    const kind = codes.indexOf(bytes.readUInt8(start));
    if (kind < 0) throw unknownKind(where, bytes.readUInt8(start));
    const end = start + ROW_HEAD + length(start + 1, bytes.length);
    if (end > bytes.length) throw damaged(where, `a row ends at ${end}, it has ${bytes.length} bytes`);
    let at = start + ROW_HEAD;
    for (let columns = kinds[kind]?.columns ?? 0; columns > 0; columns -= 1) {
      const field = length(at, end);
      at += 4 + (field === NULL_LENGTH ? 0 : field);
    }
    if (at !== end) throw damaged(where, `a row of another length than it says, at ${start}`);
    row(kind, start, end);
    start = end;
  }
  return bytes.subarray(NAME, nameEnd);
}

function unknownKind(where: string, code: number): Error {
  const letter = JSON.stringify(String.fromCharCode(code));
  return failure('snapshot-format', `${where}: row kind ${letter}, this Tandem knows ${String.fromCharCode(...codes)}`);
}

export function decodeRow(source: Buffer, start: number, columns: number): Row {
  const fields = new Reader(source.subarray(start + ROW_HEAD), 'row');
  return Array.from({ length: columns }, () => fields.field());
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
