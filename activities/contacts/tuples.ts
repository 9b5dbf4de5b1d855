import type { Readable } from 'node:stream';
import { failure } from '../../workflows/model/failures.ts';

/** "PGCOPY\n\377\r\n\0", flags, length of an extension that nobody has written yet. */
const HEADER_BYTES = 19;
const END = 0xffff;
const NULL_LENGTH = 0xffffffff;

/** One row of COPY BINARY: `buffer` from `name` to `nameEnd` is its first column, from there to `end` all others. */
export type OnTuple = (buffer: Buffer, name: number, nameEnd: number, end: number) => void;

/**
 * Steps through the rows of a `copy … to stdout (format binary)` whose first column is never NULL. The fields of a row
 * stand there exactly as a record keeps them: length, bytes; NULL is the length ffffffff. `settle` is awaited between
 * the chunks of the stream, which wait meanwhile.
 */
export async function eachTuple(stream: Readable, onTuple: OnTuple, settle: () => Promise<void> | null): Promise<void> {
  let rest: Buffer = Buffer.alloc(0);
  let started = false;
  let ended = false;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let at = 0;
    if (!started) {
      rest = bytes;
      if (bytes.length < HEADER_BYTES) continue;
      at = HEADER_BYTES;
      started = true;
    }
    while (at + 2 <= bytes.length && !ended) {
      if (bytes.readUInt16BE(at) === END) ended = true;
      else {
        const end = tupleEnd(bytes, at);
        if (end === 0) break;
        const name = at + 6;
        onTuple(bytes, name, name + bytes.readUInt32BE(at + 2), end);
        at = end;
      }
    }
    rest = bytes.subarray(at);
    const waiting = settle();
    if (waiting) await waiting;
  }
  if (!ended) throw failure('database-unreachable', 'database: a COPY ended in the middle');
}

/** Where the tuple at `at` ends; 0 when it goes on in the next chunk. */
function tupleEnd(bytes: Buffer, at: number): number {
  const available = bytes.length;
  let end = at + 2;
  for (let columns = bytes.readUInt16BE(at); columns > 0; columns -= 1) {
    if (end + 4 > available) return 0;
    const length = bytes.readUInt32BE(end);
    end += 4 + (length === NULL_LENGTH ? 0 : length);
  }
  return end <= available ? end : 0;
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
