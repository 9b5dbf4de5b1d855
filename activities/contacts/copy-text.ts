import { fieldEnd, NULL_LENGTH } from '../vault/record-rows.ts';

/** Rows of a COPY in text format, made of the bytes of a record: no text in between. */

const NULL_TEXT = Buffer.from('\\N');
/** The flags of an ACL item: a `t`, `f` or `-` for NULL each. */
const FLAGS = 5;
const NONE = '-'.charCodeAt(0);
const TAB = '\t'.charCodeAt(0);
const NEWLINE = '\n'.charCodeAt(0);
const BACKSLASH = '\\'.charCodeAt(0);
/** What stands behind a backslash for a byte that COPY would take for something else; 0 for all others. */
const escapes = new Uint8Array(256);
for (const [byte, letter] of ['\\\\', '\tt', '\nn', '\rr'].map((pair) => Buffer.from(pair))) {
  escapes[byte ?? 0] = letter ?? 0;
}
const LONGEST_NUMBER = 20;

/** No item of so many bytes takes more. */
export const roomForItem = (bytes: number): number => LONGEST_NUMBER + 2 * bytes + FLAGS * 3 + 1;

/**
 * Writes an ACL item's row: the number of its list, then what stands in `source` from `start` to `end` behind the list's
 * name: t, value, action, ord, and the flags. Answers where the row ends.
 */
export function writeItem(
  room: Buffer,
  to: number,
  list: bigint | null,
  { source, start, end }: { source: Buffer; start: number; end: number },
): number {
  let at = list === null ? to + NULL_TEXT.copy(room, to) : to + room.write(list.toString(), to, 'latin1');
  for (let field = start; field < end;) {
    const next = fieldEnd(source, field);
    at = next < end ? writeText(room, at, source, field, next) : writeFlags(room, at, source, field);
    field = next;
  }
  return room.writeUInt8(NEWLINE, at);
}

function writeText(room: Buffer, to: number, source: Buffer, field: number, end: number): number {
  let at = room.writeUInt8(TAB, to);
  if (source.readUInt32BE(field) === NULL_LENGTH) return at + NULL_TEXT.copy(room, at);
  for (let from = field + 4; from < end; from += 1) {
    const byte = source[from] ?? 0;
    const escape = escapes[byte] ?? 0;
    if (escape !== 0) {
      room[at] = BACKSLASH;
      at += 1;
    }
    room[at] = escape === 0 ? byte : escape;
    at += 1;
  }
  return at;
}

function writeFlags(room: Buffer, to: number, source: Buffer, field: number): number {
  const none = source.readUInt32BE(field) === NULL_LENGTH;
  let at = to;
  for (let flag = 0; flag < FLAGS; flag += 1) {
    at = room.writeUInt8(TAB, at);
    const byte = none ? NONE : (source[field + 4 + flag] ?? NONE);
    at = byte === NONE ? at + NULL_TEXT.copy(room, at) : room.writeUInt8(byte, at);
  }
  return at;
}
