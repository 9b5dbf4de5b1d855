import { PlainFault } from '../plain-fault.ts';

/** "PGCOPY\n\377\r\n\0", flags, length of an extension that nobody has written yet. */
const HEADER_BYTES = 19;
const END = 0xffff;
const NULL_LENGTH = 0xffffffff;
const COPY_DATA = 0x64; // d
/** Type, and the length of itself and the body. */
const HEAD_BYTES = 5;

/** One row of COPY BINARY: `buffer` from `name` to `nameEnd` is its first column, from there to `end` all others. */
export type OnTuple = (buffer: Buffer, name: number, nameEnd: number, end: number) => void;

/**
 * Steps through the rows of a `copy … to stdout (format binary)` whose first column is never NULL, in the messages of
 * PostgreSQL's protocol: one row each, by its manual. The fields of a row stand there exactly as a record keeps them:
 * length, bytes; NULL is the length ffffffff.
 */
export class Tuples {
  private readonly onTuple: OnTuple;
  /** Of a message that is not whole yet. */
  private pieces: Buffer[] = [];
  private have = 0;
  private need = HEAD_BYTES;
  private started = false;
  private ended = false;

  constructor(onTuple: OnTuple) {
    this.onTuple = onTuple;
  }

  /** Bytes as they come, cut anywhere. They are not kept. */
  push(chunk: Buffer): void {
    let at = 0;
    // What a message lacks is added to it, and nothing else: a chunk as a whole is never copied.
    while (this.have > 0 && at < chunk.length) {
      const more = chunk.subarray(at, at + this.need - this.have);
      at += more.length;
      this.keep(more);
      if (this.have === this.need) this.finishMessage();
    }
    while (at + HEAD_BYTES <= chunk.length) {
      const end = at + 1 + chunk.readUInt32BE(at + 1);
      if (end > chunk.length) break;
      if (chunk[at] === COPY_DATA) this.message(chunk, at + HEAD_BYTES, end);
      at = end;
    }
    if (at === chunk.length) return;
    this.need = at + HEAD_BYTES <= chunk.length ? 1 + chunk.readUInt32BE(at + 1) : HEAD_BYTES;
    this.keep(chunk.subarray(at));
  }

  /** To be called after the last bytes: a COPY that was cut off is `database-unreachable`. */
  end(): void {
    if (!this.ended) throw new PlainFault('database-unreachable', 'a COPY ended in the middle');
  }

  private keep(piece: Buffer): void {
    this.pieces.push(Buffer.from(piece));
    this.have += piece.length;
  }

  /** All of a message is there, or its head, which tells how long it is. */
  private finishMessage(): void {
    const bytes = Buffer.concat(this.pieces);
    this.need = 1 + bytes.readUInt32BE(1);
    if (bytes.length < this.need) {
      this.pieces = [bytes];
      return;
    }
    if (bytes[0] === COPY_DATA) this.message(bytes, HEAD_BYTES, bytes.length);
    this.pieces = [];
    this.have = 0;
  }

  private message(bytes: Buffer, start: number, end: number): void {
    let at = start;
    if (!this.started) {
      at += HEADER_BYTES;
      this.started = true;
    }
    if (at >= end) return;
    if (bytes.readUInt16BE(at) === END) this.ended = true;
    else this.onTuple(bytes, at + 6, at + 6 + bytes.readUInt32BE(at + 2), end);
  }
}

/** Columns that stand one after the other, from `start` on. */
export function tupleFields(buffer: Buffer, start: number, columns: number): (Buffer | null)[] {
  let at = start;
  return Array.from({ length: columns }, () => {
    const length = buffer.readUInt32BE(at);
    const end = at + 4 + (length === NULL_LENGTH ? 0 : length);
    const value = length === NULL_LENGTH ? null : buffer.subarray(at + 4, end);
    at = end;
    return value;
  });
}
