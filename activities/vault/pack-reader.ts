import { failureKind } from '../../workflows/model/failures.ts';
import type { Keyring } from '../settings.ts';
import { damaged } from './bytes.ts';
import { decompress } from './codec.ts';
import { keyOf, recordKeys, type RecordKeys } from './keys.ts';
import {
  decodeFooter,
  decodeHead,
  FOOTER_FRAME,
  FrameSeal,
  HEAD_BYTES,
  TRAILER_BYTES,
  type Entry,
  type Footer,
  type FrameSpan,
  type PackPlace,
} from './pack.ts';
import type { Vault } from './port.ts';
import { decodeRecord, type UserRecord } from './record.ts';
import { sha256 } from './signed.ts';

/** Bounds what a footer may unfold to: 350,000 records, far more than fit into a pack. */
const FOOTER_LIMIT = 16 << 20;

/** A pack as a manifest names it. */
export interface PackRef {
  sha256: string;
  bytes: number;
  /** Length of the sealed footer, which stands before the trailer. */
  footer: number;
  keyId: string;
}

/** Packs that belong together, newest first, and where they lie. */
export interface PackSet extends PackPlace {
  packs: readonly PackRef[];
}

/** Where a pack's bytes come from: memory, or ranged reads of a vault. */
export interface PackBytes {
  where: string;
  size: number;
  footer: number;
  range(offset: number, length: number): Promise<Buffer>;
  /** Whether the bytes are those that were stored, by their hash. */
  intact(): Promise<boolean>;
  /** All bytes as they were stored, from another version when need be; `snapshot-damaged` when no version has them. */
  whole(): Promise<Buffer>;
}

/** A pack whose footer has been read and authenticated. */
export interface OpenPack extends PackFrames {
  footer: Footer;
}

/** Its frames: what is left to hold when the footer has been taken over into an index. */
export interface PackFrames {
  readonly count: number;
  frame(number: number): Promise<Buffer>;
  /** A frame before it is decompressed. */
  compressed(number: number): Promise<Buffer>;
  /** A record of the footer, checked against its two ids. `frame` is given when it is open already. */
  record(entry: Entry, frame?: Buffer): Promise<UserRecord>;
}

export function rangesOf(bytes: Buffer, footer: number, where: string): PackBytes {
  return {
    where,
    size: bytes.length,
    footer,
    range: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
    intact: () => Promise.resolve(true),
    whole: () => Promise.resolve(bytes),
  };
}

/**
 * Opens a pack by its footer. `key-missing` and `key-wrong` name the key; bytes that are not those stored are
 * `snapshot-damaged`; a newer version is `snapshot-format`.
 */
export async function openPack(source: PackBytes, keys: Keyring, place: PackPlace, keyId: string): Promise<OpenPack> {
  const { where } = source;
  const head = decodeHead(await source.range(0, Math.min(HEAD_BYTES, source.size)), where);
  if (head.keyId !== keyId) throw damaged(where, 'its header names another key than its manifest');
  const tailBytes = source.footer + TRAILER_BYTES;
  const tail = await source.range(source.size - tailBytes, tailBytes);
  if (tail.length !== tailBytes || tail.readUInt32BE(source.footer) !== source.footer) {
    throw damaged(where, 'its trailer and its manifest do not agree');
  }
  const sealed = tail.subarray(0, source.footer);
  const seal = new FrameSeal(keys, place, head, where);
  const footer = await openFooter(source, seal, sealed);
  return { footer, ...openFrames(source, seal, footer.frames, recordKeys(keyOf(keys, keyId, where))) };
}

function openFrames(
  source: PackBytes,
  seal: FrameSeal,
  frames: readonly FrameSpan[],
  recordIds: RecordKeys,
): PackFrames {
  const { where } = source;
  const compressed = async (number: number): Promise<Buffer> => {
    const span = frames[number];
    if (!span) throw damaged(where, `frame ${number} of ${frames.length}`);
    const opened = openFrame(seal, number, await source.range(span.offset, span.length));
    if (opened) return opened;
    // The footer opened with this key, so the key is right and the frame is not: another version may have it whole.
    const whole = (await source.whole()).subarray(span.offset, span.offset + span.length);
    const other = openFrame(seal, number, whole);
    if (other) return other;
    throw damaged(where, `frame ${number} at ${span.offset} does not open`);
  };
  const frame = async (number: number): Promise<Buffer> => {
    const limit = frames[number]?.plain ?? 0;
    const bytes = await decompress(await compressed(number), limit, `${where}: data frame ${number}`);
    if (bytes.length !== limit) throw damaged(where, `frame ${number} opens to ${bytes.length} bytes, not ${limit}`);
    return bytes;
  };
  const record = async (entry: Entry, open?: Buffer): Promise<UserRecord> => {
    const bytes = (open ?? (await frame(entry.frame))).subarray(entry.offset, entry.offset + entry.length);
    const at = `${where}: record at ${entry.offset} of frame ${entry.frame}`;
    if (bytes.length !== entry.length) throw damaged(at, 'it ends outside its frame');
    const found = decodeRecord(bytes, recordIds, at);
    if (!found.recordId.equals(entry.recordId)) throw damaged(at, 'its id is not that of the footer');
    if (!recordIds.userKey(found.username).equals(entry.userKey)) throw damaged(at, 'it belongs to another user');
    return found;
  };
  return { count: frames.length, frame, compressed, record };
}

/** Null when the bytes are not those of the frame. */
function openFrame(seal: FrameSeal, number: number, bytes: Buffer): Buffer | null {
  try {
    return seal.decrypt('data', number, bytes);
  } catch (error) {
    const kind = failureKind(error);
    if (kind === 'key-wrong' || kind === 'snapshot-damaged') return null;
    throw error;
  }
}

async function openFooter(source: PackBytes, seal: FrameSeal, sealed: Buffer): Promise<Footer> {
  try {
    return decodeFooter(await seal.open('footer', FOOTER_FRAME, sealed, FOOTER_LIMIT), source.where);
  } catch (error) {
    if (failureKind(error) === 'key-wrong' && !(await source.intact())) {
      throw damaged(source.where, 'its bytes are not those that were stored');
    }
    throw error;
  }
}

export const packPrefix = (place: PackPlace): string => `${place.customer}/${place.site}/${digits(place.gen)}/packs/`;

export const packKey = (place: PackPlace, hash: string): string => packPrefix(place) + hash;

/** Ten digits, so that the byte order of keys is the order of numbers. */
export const digits = (number: number): string => String(number).padStart(10, '0');

/** A pack whole, from the oldest version whose hash is right. None is `snapshot-damaged`, and names the pack. */
export async function fetchPack(vault: Vault, place: PackPlace, ref: PackRef, signal?: AbortSignal): Promise<Buffer> {
  const key = packKey(place, ref.sha256);
  const options = signal && { signal };
  const oldest = await vault.read(key, undefined, options);
  if (oldest && sha256(oldest) === ref.sha256) return oldest;
  const versions = await vault.versions(key, options);
  const good = versions.find((bytes) => sha256(bytes) === ref.sha256);
  if (good) return good;
  const what = oldest ? `${oldest.length} bytes of another hash, ${ref.bytes} expected` : 'it is not there';
  throw damaged(`vault ${vault.site}: ${key}`, what);
}

/**
 * A pack that lies in a vault, opened by ranged reads of the oldest version. Where these do not open, another version of
 * it may: that is fetched whole for each such read, and not kept, so that many damaged packs cost time and no memory.
 */
export async function openStored(
  vault: Vault,
  place: PackPlace,
  ref: PackRef,
  keys: Keyring,
  signal?: AbortSignal,
): Promise<OpenPack> {
  const source = rangesIn(vault, place, ref, signal);
  try {
    return await openPack(source, keys, place, ref.keyId);
  } catch (error) {
    const kind = failureKind(error);
    if (kind !== 'snapshot-damaged' && kind !== 'snapshot-format') throw error;
    return openPack(fromWhole(source), keys, place, ref.keyId);
  }
}

/** Frames of a pack that is opened when the first of them is asked for. */
export function framesOnDemand(count: number, open: () => Promise<PackFrames>): PackFrames {
  let opening: Promise<PackFrames> | undefined;
  const opened = (): Promise<PackFrames> => (opening ??= open());
  return {
    count,
    frame: async (number) => (await opened()).frame(number),
    compressed: async (number) => (await opened()).compressed(number),
    record: async (entry, frame) => (await opened()).record(entry, frame),
  };
}

/** The same pack, when the oldest version is not what was stored. */
function fromWhole(source: PackBytes): PackBytes {
  return {
    ...source,
    range: async (offset, length) => (await source.whole()).subarray(offset, offset + length),
    intact: () => Promise.resolve(true),
  };
}

/** Below it a pack is read at once: what is asked of a server takes longer than its bytes. */
const SMALL_BYTES = 64 << 10;

/** A pack by ranged reads: one user costs a header, a footer and a frame. */
function rangesIn(vault: Vault, place: PackPlace, ref: PackRef, signal?: AbortSignal): PackBytes {
  const key = packKey(place, ref.sha256);
  const where = `vault ${vault.site}: ${key}`;
  const options = signal && { signal };
  // Nothing, of a pack that is not there: whoever checks the bytes finds them missing, and asks for another version.
  const read = async (offset: number, length: number): Promise<Buffer> =>
    (await vault.read(key, { offset, length }, options)) ?? Buffer.alloc(0);
  let small: Promise<Buffer> | undefined;
  return {
    where,
    size: ref.bytes,
    footer: ref.footer,
    range: async (offset, length) =>
      ref.bytes > SMALL_BYTES
        ? read(offset, length)
        : (await (small ??= read(0, ref.bytes))).subarray(offset, offset + length),
    intact: async () => {
      const oldest = await vault.read(key, undefined, options);
      return oldest !== null && sha256(oldest) === ref.sha256;
    },
    whole: () => fetchPack(vault, place, ref, signal),
  };
}
