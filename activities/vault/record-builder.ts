import { ID_ROOM, type RecordKeys } from './keys.ts';
import { rowEnd, sortRows } from './record-rows.ts';
import { UserRecord } from './record.ts';

/** Version and length of the name. */
const HEAD_BYTES = 5;

/** Makes records of rows that are encoded already: a copy for each row, and no text in between. */
export class RecordBuilder {
  private readonly keys: RecordKeys;

  constructor(keys: RecordKeys) {
    this.keys = keys;
  }

  /**
   * `starts`: where the user's rows start in `rows`, kind by kind; those of a kind end where `ends` says. They are put
   * into the order of a record.
   */
  build(username: Buffer, rows: Buffer, starts: Int32Array, ends: Int32Array): UserRecord {
    let length = HEAD_BYTES + username.length;
    for (const start of starts) length += rowEnd(rows, start) - start;
    const room = Buffer.allocUnsafe(ID_ROOM + length);
    let at = ID_ROOM;
    at = room.writeUInt8(1, at);
    at = room.writeUInt32BE(username.length, at);
    at += username.copy(room, at);
    let from = 0;
    for (const [kind, to] of ends.entries()) {
      sortRows(rows, kind, starts, from, to);
      from = to;
    }
    for (const start of starts) at += rows.copy(room, at, start, rowEnd(rows, start));
    return new UserRecord(username.toString('utf8'), room.subarray(ID_ROOM), this.keys.recordIdInPlace(room));
  }
}
