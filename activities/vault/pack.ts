import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import type { Keyring } from '../settings.ts';
import { decompress } from './codec.ts';
import { damaged, Reader, Writer } from './bytes.ts';
import { failure } from '../../workflows/model/failures.ts';
import { derive, keyOf } from './keys.ts';

/** What a pack is sealed for. Moved to another place, it no longer opens. */
export interface PackPlace {
  customer: string;
  site: string;
  gen: number;
}

/** Where one record lies: its frame, and its place in the frame once that is open. */
export interface Entry {
  userKey: Buffer;
  recordId: Buffer;
  frame: number;
  offset: number;
  length: number;
  /** The epoch under which the user was served when the record was read. */
  epoch: number;
}

export interface FrameSpan {
  offset: number;
  length: number;
  /** Bytes of the open frame: bounds what decompression may give. */
  plain: number;
}

export interface Footer {
  frames: FrameSpan[];
  /** Sorted by userKey. */
  entries: Entry[];
  /** userKeys of users that are gone. None in a base. */
  tombstones: Buffer[];
}

export interface Head {
  keyId: string;
  salt: Buffer;
}

const MAGIC = Buffer.from('TNDMPACK');
const PACK_VERSION = 1;
export const SALT_BYTES = 32;
const ID_BYTES = 16;
/** What sealing adds to a frame. */
export const TAG_BYTES = 16;
export const TRAILER_BYTES = 4;
/** Longest header: magic, version, id of 255 bytes with its length, salt. */
export const HEAD_BYTES = MAGIC.length + 2 + 1 + 255 + SALT_BYTES;

/** The footer is the last frame; its number must be known before it is open, and no data frame has it. */
export const FOOTER_FRAME = 0xffff;

const kinds = { data: 1, footer: 2 } as const;
type FrameKind = keyof typeof kinds;

export function encodeHead({ keyId, salt }: Head): Buffer {
  const id = Buffer.from(keyId);
  return new Writer().raw(MAGIC).u16(PACK_VERSION).u8(id.length).raw(id).raw(salt).bytes();
}

/**
 * The header of a pack at this place that will hold these parts, compressed. Its salt follows from all of them under the
 * customer's key: the same parts give the same bytes, so that what was stored once need not be sent again; any other
 * part gives another key, so that no nonce is ever used twice.
 */
export function newHead(keys: Keyring, place: PackPlace, parts: readonly Buffer[]): Head {
  const mac = createHmac('sha256', derive(keyOf(keys, keys.current, 'new pack'), 'salt/1'));
  mac.update(new Writer().field(place.customer).field(place.site).u32(place.gen).bytes());
  for (const part of parts) mac.update(new Writer().u32(part.length).bytes()).update(part);
  return { keyId: keys.current, salt: mac.digest() };
}

/** Reads the header from a pack's first bytes. A newer version is `snapshot-format`. */
export function decodeHead(bytes: Buffer, where: string): Head {
  const input = new Reader(bytes, `${where}: header`);
  if (!input.raw(MAGIC.length).equals(MAGIC)) throw damaged(where, 'no pack begins like this');
  const version = input.u16();
  if (version > PACK_VERSION) {
    throw failure('snapshot-format', `${where}: pack version ${version}, this Tandem knows ${PACK_VERSION}`);
  }
  if (version !== PACK_VERSION) throw damaged(where, `pack version ${version}`);
  return { keyId: input.raw(input.u8()).toString('utf8'), salt: Buffer.from(input.raw(SALT_BYTES)) };
}

/** Seals and opens the frames of one pack. The key belongs to the pack alone, so a frame's number is a nonce. */
export class FrameSeal {
  private readonly key: Buffer;
  private readonly place: Buffer;
  private readonly keyId: string;
  private readonly where: string;

  constructor(keys: Keyring, place: PackPlace, head: Head, where: string) {
    this.key = derive(keyOf(keys, head.keyId, where), 'pack/1', head.salt);
    this.keyId = head.keyId;
    this.where = where;
    this.place = new Writer()
      .u16(PACK_VERSION)
      .field(place.customer)
      .field(place.site)
      .u32(place.gen)
      .raw(head.salt)
      .field(head.keyId)
      .bytes();
  }

  /** Seals a frame that is compressed already. */
  encrypt(kind: FrameKind, number: number, packed: Buffer): Buffer {
    const cipher = createCipheriv('aes-256-gcm', this.key, nonce(number));
    cipher.setAAD(this.aad(kind, number));
    return Buffer.concat([cipher.update(packed), cipher.final(), cipher.getAuthTag()]);
  }

  /** The open frame, of at most `limit` bytes. One that does not open is `key-wrong`; only the caller can tell damage. */
  async open(kind: FrameKind, number: number, sealed: Buffer, limit: number): Promise<Buffer> {
    const packed = this.decrypt(kind, number, sealed);
    return decompress(packed, limit, `${this.where}: ${kind} frame ${number}`);
  }

  /** Codec byte and compressed bytes. */
  decrypt(kind: FrameKind, number: number, sealed: Buffer): Buffer {
    if (sealed.length < TAG_BYTES) throw damaged(this.where, `${kind} frame ${number} has ${sealed.length} bytes`);
    const cipher = createDecipheriv('aes-256-gcm', this.key, nonce(number), { authTagLength: TAG_BYTES });
    cipher.setAAD(this.aad(kind, number));
    cipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    try {
      return Buffer.concat([cipher.update(sealed.subarray(0, -TAG_BYTES)), cipher.final()]);
    } catch {
      throw failure(
        'key-wrong',
        `${this.where}: ${kind} frame ${number} does not open with key ${JSON.stringify(this.keyId)}`,
      );
    }
  }

  private aad(kind: FrameKind, number: number): Buffer {
    return new Writer().raw(this.place).u32(number).u8(kinds[kind]).bytes();
  }
}

function nonce(number: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32BE(number, 8);
  return bytes;
}

export function encodeFooter(footer: Footer): Buffer {
  const out = new Writer().u32(footer.frames.length);
  for (const { offset, length, plain } of footer.frames) out.u32(offset).u32(length).u32(plain);
  out.u32(footer.entries.length);
  const sorted = footer.entries.toSorted((a, b) => Buffer.compare(a.userKey, b.userKey));
  for (const e of sorted) out.raw(e.userKey).raw(e.recordId).u16(e.frame).u32(e.offset).u32(e.length).u32(e.epoch);
  out.u32(footer.tombstones.length);
  for (const userKey of footer.tombstones.toSorted((a, b) => Buffer.compare(a, b))) out.raw(userKey);
  return out.bytes();
}

export function decodeFooter(bytes: Buffer, where: string): Footer {
  const input = new Reader(bytes, `${where}: footer`);
  const times = <T>(read: () => T): T[] => {
    const made: T[] = [];
    for (let left = input.u32(); left > 0; left -= 1) made.push(read());
    return made;
  };
  const frames = times(() => ({ offset: input.u32(), length: input.u32(), plain: input.u32() }));
  const entries = times(() => ({
    userKey: input.raw(ID_BYTES),
    recordId: input.raw(ID_BYTES),
    frame: input.u16(),
    offset: input.u32(),
    length: input.u32(),
    epoch: input.u32(),
  }));
  const tombstones = times(() => input.raw(ID_BYTES));
  input.end();
  return { frames, entries, tombstones };
}
