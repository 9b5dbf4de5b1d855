import { failure } from '../../workflows/model/failures.ts';

/** Stands for NULL where a length stands: no field is that long. */
const NULL_LENGTH = 0xffffffff;

/** Big-endian numbers and length-prefixed fields, put together into one growing buffer. */
export class Writer {
  private buffer = Buffer.allocUnsafe(1024);
  private at = 0;

  get length(): number {
    return this.at;
  }

  u8(value: number): this {
    this.room(1);
    this.at = this.buffer.writeUInt8(value, this.at);
    return this;
  }

  u16(value: number): this {
    this.room(2);
    this.at = this.buffer.writeUInt16BE(value, this.at);
    return this;
  }

  u32(value: number): this {
    this.room(4);
    this.at = this.buffer.writeUInt32BE(value, this.at);
    return this;
  }

  i64(value: bigint): this {
    this.room(8);
    this.at = this.buffer.writeBigInt64BE(value, this.at);
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.room(bytes.length);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
    return this;
  }

  /** Length and bytes; NULL is a length of its own, so that it differs from the empty text. */
  field(value: string | null): this {
    if (value === null) return this.u32(NULL_LENGTH);
    this.room(4 + 3 * value.length); // A UTF-16 unit is at most three bytes of UTF-8.
    const length = this.buffer.write(value, this.at + 4);
    this.buffer.writeUInt32BE(length, this.at);
    this.at += 4 + length;
    return this;
  }

  /** Puts the number of bytes that `content` writes in front of them. */
  sized(content: () => void): this {
    this.u32(0);
    const start = this.at;
    content();
    this.buffer.writeUInt32BE(this.at - start, start - 4);
    return this;
  }

  /** What was written so far; the writer must not be used after it. */
  bytes(): Buffer {
    return this.buffer.subarray(0, this.at);
  }

  private room(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.at + bytes));
    this.buffer.copy(larger, 0, 0, this.at);
    this.buffer = larger;
  }
}

/** Reads what a Writer wrote. Past the end, or with bytes left over, it fails as `snapshot-damaged`, naming `where`. */
export class Reader {
  private readonly buffer: Buffer;
  private readonly where: string;
  private at = 0;

  constructor(buffer: Buffer, where: string) {
    this.buffer = buffer;
    this.where = where;
  }

  get left(): number {
    return this.buffer.length - this.at;
  }

  u8(): number {
    this.skip(1);
    return this.buffer.readUInt8(this.at - 1);
  }

  u16(): number {
    this.skip(2);
    return this.buffer.readUInt16BE(this.at - 2);
  }

  u32(): number {
    this.skip(4);
    return this.buffer.readUInt32BE(this.at - 4);
  }

  raw(length: number): Buffer {
    this.skip(length);
    return this.buffer.subarray(this.at - length, this.at);
  }

  field(): string | null {
    const length = this.u32();
    return length === NULL_LENGTH ? null : this.raw(length).toString('utf8');
  }

  text(): string {
    const value = this.field();
    if (value === null) throw damaged(this.where, `NULL at ${this.at}, where a text must be`);
    return value;
  }

  /** Steps over a field. */
  skipField(): void {
    const length = this.u32();
    if (length !== NULL_LENGTH) this.skip(length);
  }

  private skip(length: number): void {
    if (length > this.left) throw damaged(this.where, `needs ${length} bytes at ${this.at}, ${this.left} are left`);
    this.at += length;
  }

  end(): void {
    if (this.left > 0) throw damaged(this.where, `${this.left} bytes too many`);
  }
}

/** `where: what`, as a failure `snapshot-damaged`. */
export function damaged(where: string, what: string): Error {
  return failure('snapshot-damaged', `${where}: ${what}`);
}
