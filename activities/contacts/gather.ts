import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { failure } from '../../workflows/model/failures.ts';
import { codes } from '../vault/record-rows.ts';

/** Rows of all kinds that one part of the users has; a part is sorted in memory. */
const PART_BYTES = 4 << 20;
const MAX_PARTS = 1024;
/** What is collected before it goes to the file, for all parts together. */
const SLOTS_BYTES = 8 << 20;
/** Below this nothing goes to the file: a small customer is read without touching the disk. */
const IN_MEMORY_BYTES = 24 << 20;
/** Writes on their way to the disk before the reading waits. */
const UNWRITTEN_BYTES = 16 << 20;
/** User number, kind, length of the fields. */
const ENTRY_HEAD = 9;

interface Extent {
  bytes: Buffer | null;
  offset: number;
  length: number;
}

/**
 * Brings the rows of each user together, whatever order they come in: the server then needs no sort, which is most of
 * the cost of a sorted reading, and is charged to the database that serves users. Rows are parted by user number;
 * what does not fit into memory lies in a file that has no name and is encrypted under a key nobody keeps.
 */
export class Gathering {
  private readonly users: number;
  private readonly slotBytes: number;
  private readonly slots: Buffer;
  private readonly filled: Int32Array;
  private readonly extents: Extent[][];
  private readonly key = randomBytes(32);
  private file: FileHandle | undefined;
  private fileEnd = 0;
  private inMemory = 0;
  private unwritten = 0;
  private writing: Promise<void> = Promise.resolve();
  private fault: Error | undefined;

  /** `estimate`: about how many bytes all rows have. */
  constructor(users: number, estimate: number) {
    this.users = users;
    const parts = Math.max(1, Math.min(MAX_PARTS, users, Math.ceil(estimate / PART_BYTES)));
    this.slotBytes = Math.min(256 << 10, Math.floor(SLOTS_BYTES / parts));
    this.slots = Buffer.allocUnsafeSlow(this.slotBytes * parts);
    this.filled = new Int32Array(parts);
    this.extents = Array.from({ length: parts }, () => []);
  }

  /** Keeps a row of a user: its fields as a record has them. */
  add(user: number, kind: number, source: Buffer, start: number, end: number): void {
    const part = Math.floor((user * this.extents.length) / this.users);
    const size = ENTRY_HEAD + end - start;
    let at = this.filled[part] ?? 0;
    if (at + size > this.slotBytes) {
      this.flush(part);
      at = 0;
      if (size > this.slotBytes) {
        const entry = Buffer.allocUnsafe(size);
        writeEntry(entry, 0, user, kind, source, start, end);
        this.keep(part, entry);
        return;
      }
    }
    writeEntry(this.slots, part * this.slotBytes + at, user, kind, source, start, end);
    this.filled[part] = at + size;
  }

  /** To be awaited before more is added; null when there is nothing to wait for. */
  settle(): Promise<void> | null {
    this.throwFault();
    return this.unwritten > UNWRITTEN_BYTES ? this.writing : null;
  }

  /**
   * The rows of all users, in the order of their numbers: where those of each user start in `rows`, kind by kind, and
   * where in `starts` each kind ends. What is given is used before the next is asked for.
   */
  async *byUser(): AsyncGenerator<{ user: number; rows: Buffer; starts: Int32Array; ends: Int32Array }> {
    for (const part of this.extents.keys()) this.flush(part);
    await this.writing;
    this.throwFault();
    for (const part of this.extents.keys()) {
      const rows = await this.read(part);
      const first = Math.ceil((part * this.users) / this.extents.length);
      const last = Math.ceil(((part + 1) * this.users) / this.extents.length);
      yield* sortByUser(rows, first, last - first);
    }
  }

  private throwFault(): void {
    if (this.fault) throw this.fault;
  }

  async close(): Promise<void> {
    await this.writing;
    await this.file?.close();
  }

  private flush(part: number): void {
    const length = this.filled[part] ?? 0;
    if (length === 0) return;
    const start = part * this.slotBytes;
    this.keep(part, Buffer.from(this.slots.subarray(start, start + length)));
    this.filled[part] = 0;
  }

  private keep(part: number, bytes: Buffer): void {
    if (this.inMemory + bytes.length <= IN_MEMORY_BYTES) {
      this.inMemory += bytes.length;
      this.extents[part]?.push({ bytes, offset: 0, length: bytes.length });
      return;
    }
    const offset = this.fileEnd;
    this.fileEnd += bytes.length;
    this.extents[part]?.push({ bytes: null, offset, length: bytes.length });
    this.unwritten += bytes.length;
    const cipher = createCipheriv('aes-256-ctr', this.key, counter(offset));
    this.writing = this.write(this.writing, cipher.update(bytes), offset);
  }

  /** One after the other. Never fails: `settle` and `byUser` tell what went wrong. */
  private async write(before: Promise<void>, bytes: Buffer, offset: number): Promise<void> {
    await before;
    try {
      this.file ??= await unnamedFile();
      if (!this.fault) await writeAll(this.file, bytes, offset);
    } catch (error) {
      this.fault ??= scratchFailure(error);
    }
    this.unwritten -= bytes.length;
  }

  private async read(part: number): Promise<Buffer> {
    const extents = this.extents[part] ?? [];
    const rows = Buffer.allocUnsafeSlow(extents.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const { bytes, offset, length } of extents) {
      if (bytes) bytes.copy(rows, at);
      else {
        const sealed = Buffer.allocUnsafe(length);
        const { bytesRead } = await (this.file as FileHandle).read(sealed, 0, length, offset);
        if (bytesRead !== length) throw failure('disk-full', `${tmpdir()}: ${bytesRead} of ${length} bytes came back`);
        createDecipheriv('aes-256-ctr', this.key, counter(offset)).update(sealed).copy(rows, at);
      }
      at += length;
    }
    this.extents[part] = [];
    return rows;
  }
}

/** A counting sort: two passes over the rows, and three arrays whatever their number. */
function* sortByUser(
  rows: Buffer,
  first: number,
  users: number,
): Generator<{ user: number; rows: Buffer; starts: Int32Array; ends: Int32Array }> {
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
    yield { user: first + user, rows, starts: starts.subarray(from, from + (ends.at(-1) ?? 0)), ends };
  }
}

function writeEntry(
  into: Buffer,
  at: number,
  user: number,
  kind: number,
  source: Buffer,
  start: number,
  end: number,
): void {
  into.writeUInt32BE(user, at);
  into.writeUInt8(codes[kind] ?? 0, at + 4);
  into.writeUInt32BE(end - start, at + 5);
  source.copy(into, at + ENTRY_HEAD, start, end);
}

/** Extents never overlap, so no counter is used twice: each begins in a block of its own. */
function counter(offset: number): Buffer {
  const iv = Buffer.alloc(16);
  iv.writeBigUInt64BE(BigInt(offset), 0);
  return iv;
}

async function unnamedFile(): Promise<FileHandle> {
  const path = join(tmpdir(), `tandem-${randomUUID()}`);
  const file = await open(path, 'wx+', 0o600);
  await unlink(path);
  return file;
}

/** A full disk may take a part, and say so only when the rest is written. */
async function writeAll(file: FileHandle, bytes: Buffer, offset: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += (await file.write(bytes, at, bytes.length - at, offset + at)).bytesWritten;
  }
}

function scratchFailure(error: unknown): Error {
  const text = error instanceof Error ? error.message : String(error);
  return failure('disk-full', `scratch folder ${tmpdir()}: ${text}`);
}
