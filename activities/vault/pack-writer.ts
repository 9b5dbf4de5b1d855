import type { Keyring } from '../settings.ts';
import { damaged, Writer } from './bytes.ts';
import { recordKeys, keyOf } from './keys.ts';
import { openPack, rangesOf } from './pack-reader.ts';
import {
  encodeFooter,
  encodeHead,
  FOOTER_FRAME,
  FrameSeal,
  newHead,
  type Entry,
  type FrameSpan,
  type PackPlace,
} from './pack.ts';
import type { UserRecord } from './record.ts';
import { sha256 } from './signed.ts';

const MIB = 1 << 20;
/** One user costs one frame to read. */
export const FRAME_BYTES = MIB;
/** Small enough to be kept in memory, sent again, and fetched in one request. */
export const PACK_BYTES = 4 * MIB;
/** What one record adds to the footer: random bytes, which do not compress. */
const ENTRY_BYTES = 46;
/** A frame's worth of sealing overhead. */
const FRAME_OVERHEAD = 64;

/** One pack, ready to be stored: its bytes have been opened again and are what went in. */
export interface BuiltPack {
  sha256: string;
  bytes: Buffer;
  /** Length of the sealed footer. */
  footer: number;
  keyId: string;
  /** userKey and recordId, 32 bytes for each record. */
  ids: Buffer[];
}

/**
 * Cuts records into packs of at most 4 MiB, of frames of at most 1 MiB of whole records. A record longer than that has a
 * frame of its own, and where need be a longer pack.
 */
export async function* buildPacks(
  records: AsyncIterable<UserRecord>,
  keys: Keyring,
  place: PackPlace,
  epoch: number,
): AsyncGenerator<BuiltPack> {
  let draft = new PackDraft(keys, place, epoch);
  for await (const record of records) {
    if (draft.frameBytes > 0 && draft.frameBytes + record.bytes.length > FRAME_BYTES) await draft.closeFrame();
    if (!draft.holds(record)) {
      yield await draft.finish();
      draft = new PackDraft(keys, place, epoch);
    }
    draft.add(record);
  }
  if (!draft.empty) yield await draft.finish();
}

class PackDraft {
  private readonly keys: Keyring;
  private readonly place: PackPlace;
  private readonly epoch: number;
  private readonly head;
  private readonly seal: FrameSeal;
  private readonly userKey: (username: string) => Buffer;
  private readonly sealed: Buffer[];
  private size: number;
  private readonly frames: FrameSpan[] = [];
  private readonly entries: Entry[] = [];
  private readonly plainHashes: string[] = [];
  private open: Buffer[] = [];
  frameBytes = 0;

  constructor(keys: Keyring, place: PackPlace, epoch: number) {
    this.keys = keys;
    this.place = place;
    this.epoch = epoch;
    this.head = newHead(keys.current);
    this.seal = new FrameSeal(keys, place, this.head, 'new pack');
    this.userKey = recordKeys(keyOf(keys, keys.current, 'new pack')).userKey;
    const head = encodeHead(this.head);
    this.sealed = [head];
    this.size = head.length;
  }

  get empty(): boolean {
    return this.entries.length === 0;
  }

  /** Whether one more record fits, compressed no smaller than it is. */
  holds(record: UserRecord): boolean {
    if (this.frames.length >= FOOTER_FRAME - 1) return false;
    const footer = (this.entries.length + 1) * ENTRY_BYTES + (this.frames.length + 1) * FRAME_OVERHEAD;
    return this.empty || this.size + this.frameBytes + record.bytes.length + footer <= PACK_BYTES;
  }

  add(record: UserRecord): void {
    this.entries.push({
      userKey: this.userKey(record.username),
      recordId: record.recordId,
      frame: this.frames.length,
      offset: this.frameBytes,
      length: record.bytes.length,
      epoch: this.epoch,
    });
    this.open.push(record.bytes);
    this.frameBytes += record.bytes.length;
  }

  async closeFrame(): Promise<void> {
    const plain = Buffer.concat(this.open);
    const sealed = await this.seal.seal('data', this.frames.length, plain);
    this.frames.push({ offset: this.size, length: sealed.length, plain: plain.length });
    this.plainHashes.push(sha256(plain));
    this.append(sealed);
    this.open = [];
    this.frameBytes = 0;
  }

  async finish(): Promise<BuiltPack> {
    if (this.frameBytes > 0) await this.closeFrame();
    const plain = encodeFooter({ frames: this.frames, entries: this.entries, tombstones: [] });
    const footer = await this.seal.seal('footer', FOOTER_FRAME, plain);
    this.append(footer);
    this.append(new Writer().u32(footer.length).bytes());
    const bytes = Buffer.concat(this.sealed);
    await this.readBack(bytes, footer.length);
    const ids = this.entries.map(({ userKey, recordId }) => Buffer.concat([userKey, recordId]));
    return { sha256: sha256(bytes), bytes, footer: footer.length, keyId: this.head.keyId, ids };
  }

  private append(bytes: Buffer): void {
    this.sealed.push(bytes);
    this.size += bytes.length;
  }

  /** Bytes are trusted only when opened (VAULT, rule 5): what a restore will read is compared with what was put in. */
  private async readBack(bytes: Buffer, footer: number): Promise<void> {
    const where = 'new pack';
    const pack = await openPack(rangesOf(bytes, footer, where), this.keys, this.place, this.head.keyId);
    if (pack.footer.entries.length !== this.entries.length) throw damaged(where, 'its footer does not read back');
    for (const [number, hash] of this.plainHashes.entries()) {
      if (sha256(await pack.frame(number)) !== hash) throw damaged(where, `frame ${number} does not read back`);
    }
  }
}
