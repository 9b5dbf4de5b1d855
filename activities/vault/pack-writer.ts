import type { Keyring } from '../settings.ts';
import { damaged, Writer } from './bytes.ts';
import { compress } from './codec.ts';
import { compressFrames, makeFrames, type PackedFrame, type PackRecord } from './frames.ts';
import { openPack, rangesOf } from './pack-reader.ts';
import {
  encodeFooter,
  encodeHead,
  FOOTER_FRAME,
  HEAD_BYTES,
  FrameSeal,
  newHead,
  SALT_BYTES,
  TAG_BYTES,
  type Entry,
  type FrameSpan,
  type PackPlace,
} from './pack.ts';
import { sha256 } from './signed.ts';

/** Small enough to be kept in memory, sent again, and fetched in one request. */
export const PACK_BYTES = 4 << 20;
/** A pack of at least this size ends before a frame that chance has chosen, one in four: see `makeFrames`. */
const CUT_BYTES = PACK_BYTES / 2;
const CUT_BELOW = 64;
/** What one record adds to the footer: random bytes, which do not compress. */
const ENTRY_BYTES = 46;
const TOMBSTONE_BYTES = 16;
/** Sealing a frame adds this, and its place in the footer. */
const FRAME_OVERHEAD = 64;
/** Sealed footer without entries, and the trailer. */
const CLOSING_BYTES = 128;

/** One pack, ready to be stored: its bytes have been opened again and are what went in. */
export interface BuiltPack {
  sha256: string;
  bytes: Buffer;
  /** Length of the sealed footer. */
  footer: number;
  keyId: string;
  users: number;
}

/**
 * Cuts records into packs of at most 4 MiB, of frames of at most 1 MiB of whole records. A record longer than that has a
 * frame of its own, and where need be a longer pack. The next frames are compressed while one is sealed. `gone`:
 * userKeys of users that are to be forgotten, asked for when all records went by.
 */
export async function* buildPacks(
  records: AsyncIterable<PackRecord>,
  keys: Keyring,
  place: PackPlace,
  epoch: number,
  gone: () => readonly Buffer[] = () => [],
): AsyncGenerator<BuiltPack> {
  let draft = new PackDraft(keys, place);
  // Buffers go round: a first snapshot has hundreds of frames, and memory that is only freed comes back late.
  const rooms: Buffer[] = [];
  for await (const frame of compressFrames(makeFrames(records, epoch, rooms), rooms)) {
    if (!draft.holds(frame)) {
      yield await draft.finish();
      draft = new PackDraft(keys, place);
    }
    draft.add(frame);
  }
  const waiting = [...gone()];
  while (waiting.length > 0) {
    draft.forget(waiting.splice(0, draft.tombstonesLeft));
    if (waiting.length === 0) break;
    yield await draft.finish();
    draft = new PackDraft(keys, place);
  }
  if (!draft.empty) yield await draft.finish();
}

class PackDraft {
  private readonly keys: Keyring;
  private readonly place: PackPlace;
  private readonly packed: PackedFrame[] = [];
  private readonly entries: Entry[] = [];
  private readonly tombstones: Buffer[] = [];
  private size = HEAD_BYTES;

  constructor(keys: Keyring, place: PackPlace) {
    this.keys = keys;
    this.place = place;
  }

  get empty(): boolean {
    return this.entries.length + this.tombstones.length === 0;
  }

  get tombstonesLeft(): number {
    return Math.max(0, Math.floor((PACK_BYTES - this.size - this.footerBytes) / TOMBSTONE_BYTES));
  }

  private get footerBytes(): number {
    return CLOSING_BYTES + this.entries.length * ENTRY_BYTES + this.tombstones.length * TOMBSTONE_BYTES;
  }

  /** Whether a frame still belongs here: it fits, and no good place to end has been reached. */
  holds({ packed, entries }: PackedFrame): boolean {
    if (this.packed.length >= FOOTER_FRAME - 1) return false;
    const more = packed.length + FRAME_OVERHEAD + entries.length * ENTRY_BYTES;
    const cut = this.size >= CUT_BYTES && (entries[0]?.userKey.readUInt8(1) ?? 0) < CUT_BELOW;
    return this.empty || (!cut && this.size + more + this.footerBytes <= PACK_BYTES);
  }

  add(frame: PackedFrame): void {
    for (const entry of frame.entries) this.entries.push({ ...entry, frame: this.packed.length });
    this.packed.push(frame);
    this.size += frame.packed.length + FRAME_OVERHEAD;
  }

  forget(userKeys: readonly Buffer[]): void {
    this.tombstones.push(...userKeys);
  }

  async finish(): Promise<BuiltPack> {
    const { keys, place, entries, tombstones } = this;
    const headBytes = encodeHead({ keyId: keys.current, salt: Buffer.alloc(SALT_BYTES) }).length;
    const frames: FrameSpan[] = [];
    let offset = headBytes;
    for (const { packed, plain } of this.packed) {
      const length = packed.length + TAG_BYTES;
      frames.push({ offset, length, plain });
      offset += length;
    }
    const footer = await compress(encodeFooter({ frames, entries, tombstones }));
    const data = this.packed.map(({ packed }) => packed);
    const head = newHead(keys, place, [...data, footer]);
    const seal = new FrameSeal(keys, place, head, 'new pack');
    const bytes = Buffer.concat([
      encodeHead(head),
      ...data.map((packed, number) => seal.encrypt('data', number, packed)),
      seal.encrypt('footer', FOOTER_FRAME, footer),
      new Writer().u32(footer.length + TAG_BYTES).bytes(),
    ]);
    await this.readBack(bytes, footer.length + TAG_BYTES);
    const sealed = { sha256: sha256(bytes), bytes, footer: footer.length + TAG_BYTES };
    return { ...sealed, keyId: head.keyId, users: entries.length };
  }

  /**
   * Bytes are trusted only when opened (VAULT, rule 5). That a frame decompresses to its records was seen when it was
   * compressed; here, that the pack's own bytes decrypt to exactly that.
   */
  private async readBack(bytes: Buffer, footer: number): Promise<void> {
    const where = 'new pack';
    const pack = await openPack(rangesOf(bytes, footer, where), this.keys, this.place, this.keys.current);
    const { entries, tombstones } = pack.footer;
    if (entries.length !== this.entries.length || tombstones.length !== this.tombstones.length) {
      throw damaged(where, 'its footer does not read back');
    }
    for (const [number, { packed }] of this.packed.entries()) {
      if (!(await pack.compressed(number)).equals(packed)) throw damaged(where, `frame ${number} does not read back`);
    }
  }
}
