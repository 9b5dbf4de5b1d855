import { Column, Users } from '../contacts/users.ts';
import type { Keyring } from '../settings.ts';
import { keyOf, recordKeys, type RecordKeys } from './keys.ts';
import { openStored, type PackFrames, type PackRef, type PackSet } from './pack-reader.ts';
import type { Entry, Footer } from './pack.ts';
import type { Vault } from './port.ts';

const ID_BYTES = 16;
/** Pack, frame, epoch, offset, length. */
const PLACE_BYTES = 20;
const GONE = 0xffffffff;
/** Footers that are read at once. */
const AT_ONCE = 8;

/**
 * Who is in a snapshot, with the id of each record and where it lies: from the footers of its packs, newest first, in
 * flat tables of about 80 bytes for each user.
 */
export class SnapshotIndex {
  readonly packs: readonly PackRef[];
  /** Of each of these packs. */
  readonly frames: PackFrames[] = [];
  private readonly users = new Users();
  private readonly recordIds = new Column(ID_BYTES);
  private readonly places = new Column(PLACE_BYTES);
  private present = 0;

  private readonly keys: RecordKeys;

  private constructor(packs: readonly PackRef[], keys: RecordKeys) {
    this.packs = packs;
    this.keys = keys;
  }

  /** Fails as opening the packs does: `key-missing`, `key-wrong`, `snapshot-damaged`, `snapshot-format`. */
  static async load(vault: Vault, manifest: PackSet, keys: Keyring, signal?: AbortSignal): Promise<SnapshotIndex> {
    const index = SnapshotIndex.begin(manifest, keys);
    for (let first = 0; first < manifest.packs.length; first += AT_ONCE) {
      signal?.throwIfAborted();
      const some = manifest.packs.slice(first, first + AT_ONCE);
      const open = await Promise.all(some.map((ref) => openStored(vault, manifest, ref, keys, signal)));
      for (const { footer, ...frames } of open) index.take(footer, frames);
    }
    return index;
  }

  /** One without packs: each of them is to be taken in, newest first. */
  static begin({ packs }: PackSet, keys: Keyring): SnapshotIndex {
    // A generation ends with its key, so all packs have the same.
    const keyId = packs[0]?.keyId ?? keys.current;
    return new SnapshotIndex(packs, recordKeys(keyOf(keys, keyId, 'snapshot')));
  }

  /** Takes the next pack in, and tells of each of its users whom no newer one knows. */
  take({ entries, tombstones }: Footer, frames: PackFrames, settles?: (entry: Entry) => void): void {
    const pack = this.frames.push(frames) - 1;
    for (const gone of tombstones) this.remember(gone, null, GONE);
    for (const entry of entries) if (this.remember(entry.userKey, entry, pack)) settles?.(entry);
  }

  /** Whether a pack that was taken in has him, or says that he is gone. */
  knows(userKey: Buffer): boolean {
    return this.users.find(userKey) >= 0;
  }

  /** Numbers of users are below this. */
  get capacity(): number {
    return this.users.length;
  }

  /** Users in the snapshot. */
  get length(): number {
    return this.present;
  }

  /** Numbers of all users in it. */
  *numbers(): Generator<number> {
    for (let user = 0; user < this.users.length; user += 1) if (this.pack(user) !== GONE) yield user;
  }

  /** -1 when the snapshot does not have him. */
  find(userKey: Buffer): number {
    const user = this.users.find(userKey);
    return user >= 0 && this.pack(user) !== GONE ? user : -1;
  }

  /** The same, by name. */
  findName(username: Uint8Array | string): number {
    return this.find(this.keys.userKey(username));
  }

  /** What stands for a name under the key of this snapshot, whether it has him or not. */
  keyOfName(username: Uint8Array | string): Buffer {
    return this.keys.userKey(username);
  }

  userKey(user: number): Buffer {
    return this.users.name(user);
  }

  recordId(user: number): Buffer {
    return this.recordIds.get(user) ?? Buffer.alloc(ID_BYTES);
  }

  /** Where his record lies. */
  entry(user: number): { pack: number; entry: Entry } {
    const place = this.places.get(user);
    const pack = place?.readUInt32BE() ?? GONE;
    if (!place || pack === GONE) throw new RangeError(`user ${user} of ${this.users.length}`);
    const [frame, epoch, offset, length] = [4, 8, 12, 16].map((at) => place.readUInt32BE(at));
    return {
      pack,
      entry: {
        userKey: this.userKey(user),
        recordId: this.recordId(user),
        frame: frame ?? 0,
        epoch: epoch ?? 0,
        offset: offset ?? 0,
        length: length ?? 0,
      },
    };
  }

  /** The pack that holds his record. */
  pack(user: number): number {
    return this.places.get(user)?.readUInt32BE() ?? 0;
  }

  /** The first pack that knows a user decides. */
  private remember(userKey: Buffer, entry: Entry | null, pack: number): boolean {
    if (this.knows(userKey)) return false;
    const user = this.users.add(userKey, 0, userKey.length);
    const place = Buffer.alloc(PLACE_BYTES);
    const values = [pack, entry?.frame ?? 0, entry?.epoch ?? 0, entry?.offset ?? 0, entry?.length ?? 0];
    for (const [i, value] of values.entries()) place.writeUInt32BE(value, 4 * i);
    this.places.set(user, place);
    if (!entry) return true;
    this.recordIds.set(user, entry.recordId);
    this.present += 1;
    return true;
  }
}
