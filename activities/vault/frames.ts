import { damaged } from './bytes.ts';
import { compress, decompress } from './codec.ts';
import type { RecordKeys } from './macs.ts';
import type { Entry } from './pack.ts';
import type { UserRecord } from './record.ts';

/** One user costs one frame to read. */
export const FRAME_BYTES = 1 << 20;
/** Frames that are compressed at once, on threads of their own; each holds three buffers of up to 1 MiB. */
const AT_ONCE = 4;

/** What a pack keeps of a user. */
export interface PackRecord {
  userKey: Buffer;
  recordId: Buffer;
  /** Lent until the next record is asked for; the ids stay. */
  bytes: Buffer;
}

export function packRecord({ username, recordId, bytes }: UserRecord, keys: RecordKeys): PackRecord {
  return { userKey: keys.userKey(username), recordId, bytes };
}

export interface Frame {
  plain: Buffer;
  /** Without the number of the frame, which its pack gives it. */
  entries: Omit<Entry, 'frame'>[];
}

export interface PackedFrame extends Omit<Frame, 'plain'> {
  /** Codec byte and compressed bytes: they have been opened again and are the records. */
  packed: Buffer;
  /** Bytes of the open frame. */
  plain: number;
}

/** A frame of at least this size ends before a user whom chance, by his key, has chosen: one in sixteen. */
const CUT_BYTES = FRAME_BYTES / 2;
const CUT_BELOW = 16;

/**
 * Puts whole records together to frames of at most 1 MiB; a longer record has one of its own. Where they end depends on
 * the users and hardly on what came before: a change at the beginning leaves later frames as they were. A frame is lent
 * when its buffer comes back through `rooms`.
 */
export async function* makeFrames(
  records: AsyncIterable<PackRecord>,
  epoch: number,
  rooms: Buffer[] = [],
): AsyncGenerator<Frame> {
  const room = (): Buffer => rooms.pop() ?? Buffer.allocUnsafeSlow(FRAME_BYTES);
  let bytes = room();
  let length = 0;
  let entries: Frame['entries'] = [];
  for await (const { userKey, recordId, bytes: record } of records) {
    const cut = length >= CUT_BYTES && userKey.readUInt8() < CUT_BELOW;
    if (length > 0 && (cut || length + record.length > FRAME_BYTES)) {
      yield { plain: bytes.subarray(0, length), entries };
      bytes = room();
      length = 0;
      entries = [];
    }
    if (record.length > bytes.length) bytes = Buffer.allocUnsafeSlow(record.length);
    record.copy(bytes, length);
    entries.push({ userKey, recordId, offset: length, length: record.length, epoch });
    length += record.length;
  }
  if (entries.length > 0) yield { plain: bytes.subarray(0, length), entries };
}

/** Compresses frames, a few at once, and gives them in their order. Their buffers are given back through `rooms`. */
export async function* compressFrames(frames: AsyncIterable<Frame>, rooms: Buffer[] = []): AsyncGenerator<PackedFrame> {
  const running: Promise<PackedFrame>[] = [];
  const compressed = async (frame: Frame): Promise<PackedFrame> => {
    const packed = await compressFrame(frame);
    if (frame.plain.buffer.byteLength === FRAME_BYTES) rooms.push(Buffer.from(frame.plain.buffer));
    return packed;
  };
  for await (const frame of frames) {
    const packed = compressed(frame);
    packed.catch(() => undefined); // It is awaited below, unless an earlier one fails.
    running.push(packed);
    const [first] = running;
    if (first && running.length >= AT_ONCE) {
      void running.shift();
      yield await first;
    }
  }
  for (const packed of running) yield await packed;
}

async function compressFrame({ plain, entries }: Frame): Promise<PackedFrame> {
  const packed = await compress(plain);
  if (!(await decompress(packed, plain.length, 'new frame')).equals(plain)) {
    throw damaged('new frame', 'it does not read back');
  }
  return { packed, plain: plain.length, entries };
}
