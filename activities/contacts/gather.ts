import { codes } from '../vault/record-rows.ts';
import type { Spill } from './spill.ts';

/** Rows of all kinds that one part of the users has; a part is sorted in memory. */
const PART_BYTES = 2 << 20;
const MAX_PARTS = 1024;
/** What is collected of each part before it is put aside, for all parts together. */
export const SLOTS_BYTES = 8 << 20;
const LARGEST_SLOT = 256 << 10;
/** User number, kind, length of the fields. */
const ENTRY_HEAD = 9;

/** Rows of a part that were put aside. */
export interface Extents {
  memory: Uint8Array[];
  /** Offset and length of each piece in the spill, in turn: there may be hundreds of thousands of them. */
  spilled: number[];
}

/** How the users of a reading are parted: by their numbers, so that the parts follow each other. */
export interface Parting {
  users: number;
  parts: number;
}

/** `estimate`: about how many bytes all rows have. */
export function partingOf(users: number, estimate: number): Parting {
  return { users, parts: Math.max(1, Math.min(MAX_PARTS, users, Math.ceil(estimate / PART_BYTES))) };
}

/** The first user of a part, and of the one after it. */
export function usersOf({ users, parts }: Parting, part: number): { first: number; next: number } {
  return { first: Math.ceil((part * users) / parts), next: Math.ceil(((part + 1) * users) / parts) };
}

/**
 * Collects rows in whatever order they come, parted by user number. One for each thread that reads; what they collect of
 * a part is put together by `gatherPart`.
 */
export class Gathering {
  private readonly parting: Parting;
  private readonly spill: () => Spill;
  private readonly slotBytes: number;
  private readonly slots: Buffer;
  private readonly whole: Uint8Array;
  private readonly filled: Int32Array;
  private readonly extents: Extents[];
  private memoryLeft: number;

  /** `room`: for what is collected of the parts before it is put aside. Beyond `memory` bytes rows go to the spill. */
  constructor(parting: Parting, spill: () => Spill, { room, memory }: { room: Buffer; memory: number }) {
    this.parting = parting;
    this.spill = spill;
    this.memoryLeft = memory;
    this.slotBytes = Math.min(LARGEST_SLOT, Math.floor(room.length / parting.parts));
    this.slots = room;
    this.whole = new Uint8Array(room.buffer);
    this.filled = new Int32Array(parting.parts);
    this.extents = Array.from({ length: parting.parts }, () => ({ memory: [], spilled: [] }));
  }

  /** Keeps a row of a user: its fields as a record has them. */
  add(user: number, kind: number, source: Buffer, start: number, end: number): void {
    const part = Math.floor((user * this.parting.parts) / this.parting.users);
    const size = ENTRY_HEAD + end - start;
    let at = this.filled[part] ?? 0;
    if (at + size > this.slotBytes) {
      this.flush(part);
      at = 0;
      if (size > this.slotBytes) {
        const entry = Buffer.allocUnsafeSlow(size);
        writeHead(entry, 0, user, kind, end - start);
        source.copy(entry, ENTRY_HEAD, start, end);
        this.keep(part, entry);
        return;
      }
    }
    const entry = part * this.slotBytes + at;
    writeHead(this.slots, entry, user, kind, end - start);
    // Within one buffer bytes are moved without an object for each row.
    if (source.buffer === this.slots.buffer) {
      const to = this.slots.byteOffset + entry + ENTRY_HEAD;
      this.whole.copyWithin(to, source.byteOffset + start, source.byteOffset + end);
    } else source.copy(this.slots, entry + ENTRY_HEAD, start, end);
    this.filled[part] = at + size;
  }

  /** What was collected of each part. Nothing can be added after this. */
  end(): Extents[] {
    for (const part of this.extents.keys()) this.flush(part);
    return this.extents;
  }

  private flush(part: number): void {
    const length = this.filled[part] ?? 0;
    if (length === 0) return;
    const start = part * this.slotBytes;
    this.keep(part, this.slots.subarray(start, start + length));
    this.filled[part] = 0;
  }

  private keep(part: number, bytes: Buffer): void {
    const { length } = bytes;
    if (length <= this.memoryLeft) {
      this.memoryLeft -= length;
      const copy = Buffer.allocUnsafeSlow(length);
      bytes.copy(copy);
      this.extents[part]?.memory.push(copy);
    } else this.extents[part]?.spilled.push(this.spill().write(bytes), length);
  }
}

/** Rows of one user: where they start in `rows`, kind by kind, and where in `starts` each kind ends. */
export interface UserSpan {
  user: number;
  starts: Int32Array;
  ends: Int32Array;
}

export function bytesOf({ memory, spilled }: Extents): number {
  let length = memory.reduce((sum, bytes) => sum + bytes.length, 0);
  for (let i = 1; i < spilled.length; i += 2) length += spilled[i] ?? 0;
  return length;
}

/** Puts together what was collected of a part. */
export function gatherPart({ memory, spilled }: Extents, spill: () => Spill, into: Buffer): void {
  let at = 0;
  for (const bytes of memory) {
    into.set(bytes, at);
    at += bytes.length;
  }
  for (let i = 0; i < spilled.length; i += 2) {
    const end = at + (spilled[i + 1] ?? 0);
    spill().read(spilled[i] ?? 0, into.subarray(at, end));
    at = end;
  }
}

/** A counting sort: two passes over the rows, and three arrays whatever their number. What is given is lent until the next. */
export function* sortByUser(rows: Buffer, { first, next }: { first: number; next: number }): Generator<UserSpan> {
  const users = next - first;
  const places = new Int32Array(users * codes.length + 1);
  const each = (visit: (place: number, start: number) => void): void => {
    for (let at = 0; at < rows.length; at += ENTRY_HEAD + rows.readUInt32BE(at + 5)) {
      visit((rows.readUInt32BE(at) - first) * codes.length + codes.indexOf(rows.readUInt8(at + 4)), at + 4);
    }
  };
  each((place) => {
    places[place + 1] = (places[place + 1] ?? 0) + 1;
  });
  for (let place = 1; place < places.length; place += 1)
    places[place] = (places[place] ?? 0) + (places[place - 1] ?? 0);
  const starts = new Int32Array(places.at(-1) ?? 0);
  const filled = places.slice();
  each((place, start) => {
    starts[filled[place] ?? 0] = start;
    filled[place] = (filled[place] ?? 0) + 1;
  });
  const ends = new Int32Array(codes.length);
  for (let user = 0; user < users; user += 1) {
    const from = places[user * codes.length] ?? 0;
    for (let kind = 0; kind < codes.length; kind += 1)
      ends[kind] = (places[user * codes.length + kind + 1] ?? 0) - from;
    yield { user: first + user, starts: starts.subarray(from, from + (ends.at(-1) ?? 0)), ends };
  }
}

function writeHead(into: Buffer, at: number, user: number, kind: number, length: number): void {
  into.writeUInt32BE(user, at);
  into.writeUInt8(codes[kind] ?? 0, at + 4);
  into.writeUInt32BE(length, at + 5);
}
