import { hash, hkdfSync } from 'node:crypto';

/** Names of users and contents of records, as far as a vault may show them: 16 bytes each. */
export interface RecordKeys {
  userKey: (username: Uint8Array | string) => Buffer;
  recordId: (record: Uint8Array) => Buffer;
  /** The id of a record that stands `ID_ROOM` bytes behind the start of `room`; what stood before it is overwritten. */
  recordIdInPlace: (room: Buffer) => Buffer;
}

export const KEY_BYTES = 32;
export const ID_BYTES = 16;
/** A block of SHA-256. */
export const ID_ROOM = 64;

/** HKDF-SHA256 of a customer's key; `purpose` keeps the uses of one key apart. */
export function derive(key: Buffer, purpose: string, salt: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, purpose, KEY_BYTES));
}

/** HMAC-SHA256 (RFC 2104) of many short texts: three times as fast as an object for each of them. */
class Mac {
  private readonly inner: Buffer;
  private readonly outer: Buffer;

  constructor(key: Buffer) {
    this.inner = Buffer.alloc(ID_ROOM, 0x36);
    this.outer = Buffer.alloc(ID_ROOM + KEY_BYTES, 0x5c);
    for (const [i, byte] of key.entries()) {
      this.inner.writeUInt8(byte ^ 0x36, i);
      this.outer.writeUInt8(byte ^ 0x5c, i);
    }
  }

  of(bytes: Uint8Array): Buffer {
    return this.inPlace(Buffer.concat([this.inner, bytes]));
  }

  /** Of what follows the first block of `room`, which is overwritten. */
  inPlace(room: Buffer): Buffer {
    this.inner.copy(room);
    hash('sha256', room, 'buffer').copy(this.outer, ID_ROOM);
    return hash('sha256', this.outer, 'buffer').subarray(0, ID_BYTES);
  }
}

export function recordKeys(key: Buffer): RecordKeys {
  const user = new Mac(derive(key, 'user/1'));
  const record = new Mac(derive(key, 'rec/1'));
  return {
    userKey: (username) => user.of(typeof username === 'string' ? Buffer.from(username) : username),
    recordId: (bytes) => record.of(bytes),
    recordIdInPlace: (room) => record.inPlace(room),
  };
}

/** What the database mixes into the digests of a customer's rows, so that nobody can choose rows that look unchanged. */
export function digestSeed(key: Buffer): string {
  return derive(key, 'digest/1').readBigInt64BE().toString();
}
