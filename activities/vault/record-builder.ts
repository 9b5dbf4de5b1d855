import { ID_BYTES, ID_ROOM, type RecordKeys } from './macs.ts';
import { rowEnd, sortRows } from './record-rows.ts';

/** Version and length of the name. */
const HEAD_BYTES = 5;

/** Records that stand one after the other. */
export interface BuiltRecords {
  bytes: Buffer<ArrayBuffer>;
  /** Where each record starts in `bytes`, and where it ends, in turn. */
  places: Uint32Array<ArrayBuffer>;
  /** Of each record, 16 bytes. */
  userKeys: Uint8Array<ArrayBuffer>;
  recordIds: Uint8Array<ArrayBuffer>;
}

/** Makes records of rows that are encoded already: one copy of each row, and no text in between. */
export class RecordBuilder {
  private readonly keys: RecordKeys;
  private readonly bytes: Buffer<ArrayBuffer>;
  private readonly places: Uint32Array<ArrayBuffer>;
  private readonly userKeys: Uint8Array<ArrayBuffer>;
  private readonly recordIds: Uint8Array<ArrayBuffer>;
  private count = 0;
  private end = 0;

  /** `room`: at its front the records are built, in `roomFor` bytes; behind that may lie what they are built of. */
  constructor(keys: RecordKeys, records: number, room: Buffer<ArrayBuffer>) {
    this.keys = keys;
    this.bytes = room;
    this.places = new Uint32Array(2 * records);
    this.userKeys = new Uint8Array(ID_BYTES * records);
    this.recordIds = new Uint8Array(ID_BYTES * records);
  }

  static roomFor({ records, rowBytes, nameBytes }: { records: number; rowBytes: number; nameBytes: number }): number {
    return rowBytes + nameBytes + records * (ID_ROOM + HEAD_BYTES);
  }

  /**
   * `starts`: where the user's rows start in `rows`, kind by kind; those of a kind end where `ends` says. They are put
   * into the order of a record.
   */
  add(username: Buffer, rows: Buffer, starts: Int32Array, ends: Int32Array): void {
    const { bytes, end: room } = this;
    const start = room + ID_ROOM;
    let at = bytes.writeUInt8(1, start);
    at = bytes.writeUInt32BE(username.length, at);
    at += username.copy(bytes, at);
    let from = 0;
    for (const [kind, to] of ends.entries()) {
      sortRows(rows, kind, starts, from, to);
      from = to;
    }
    at = this.copyRows(rows, starts, at);
    this.userKeys.set(this.keys.userKey(username), ID_BYTES * this.count);
    this.recordIds.set(this.keys.recordIdInPlace(bytes.subarray(room, at)), ID_BYTES * this.count);
    this.places[2 * this.count] = start;
    this.places[2 * this.count + 1] = at;
    this.count += 1;
    this.end = at;
  }

  private copyRows(rows: Buffer, starts: Int32Array, to: number): number {
    const { bytes } = this;
    // Within one buffer bytes are moved without an object for each row.
    const offset = rows.buffer === bytes.buffer ? rows.byteOffset - bytes.byteOffset : null;
    let at = to;
    for (const start of starts) {
      const end = rowEnd(rows, start);
      if (offset === null) rows.copy(bytes, at, start, end);
      else bytes.copyWithin(at, offset + start, offset + end);
      at += end - start;
    }
    return at;
  }

  built(): BuiltRecords {
    return { bytes: this.bytes, places: this.places, userKeys: this.userKeys, recordIds: this.recordIds };
  }
}
