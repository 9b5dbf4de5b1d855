import type { Keyring } from '../settings.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import { ahead } from './ahead.ts';
import { fetchPack, openPack, packKey, rangesOf, type PackFrames, type PackSet } from './pack-reader.ts';
import type { Entry } from './pack.ts';
import type { Vault } from './port.ts';
import type { UserRecord } from './record.ts';
import type { SnapshotIndex } from './snapshot-index.ts';

export interface ReadRecordsRequest {
  vault: Vault;
  keys: Keyring;
  signal?: AbortSignal;
}

/** Hears of a user whose record is damaged; the others are read on. Without it, damage ends the reading. */
export type OnDamage = (userKey: Buffer, because: string) => void;

/** Packs, and frames, that are fetched ahead of the one that is read: hides the vault's answer time. */
const PACKS_AHEAD = 2;
const FRAMES_AHEAD = 4;
/** A pack of which at least this share of the frames is wanted is fetched whole. */
const WHOLE = 0.5;

/** Records in the order in which they lie, oldest pack first: those chosen by their number in the index. */
export async function* readRecords(
  request: ReadRecordsRequest,
  manifest: PackSet,
  loadIndex: () => Promise<SnapshotIndex>,
  chosen: (user: number) => boolean = () => true,
  onDamage?: OnDamage,
): AsyncGenerator<UserRecord> {
  const index = await loadIndex();
  const wanted = wantedByPack(index, chosen);
  const packs = wanted.flatMap((users, pack) => (users.length > 0 ? [{ pack, users }] : [])).toReversed();
  const open = async ({ pack, users }: { pack: number; users: Uint32Array }): Promise<Work> => {
    const entries = Array.from(users, (user) => index.entry(user).entry).toSorted(byPlace);
    const frames = index.frames[pack] as PackFrames;
    const numbers = new Set(entries.map(({ frame }) => frame));
    const whole = numbers.size >= WHOLE * frames.count;
    return { entries, frames: whole ? await openWhole(request, manifest, index, pack) : frames };
  };
  // One pack that cannot be fetched whole may still have frames that can.
  const openSome = async (work: { pack: number; users: Uint32Array }): Promise<Work> => {
    try {
      return await open(work);
    } catch (error) {
      if (!onDamage || failureKind(error) !== 'snapshot-damaged') throw error;
      const entries = Array.from(work.users, (user) => index.entry(user).entry).toSorted(byPlace);
      return { entries, frames: index.frames[work.pack] as PackFrames };
    }
  };
  for await (const { entries, frames } of ahead(packs, openSome, PACKS_AHEAD)) {
    request.signal?.throwIfAborted();
    const numbers = [...new Set(entries.map(({ frame }) => frame))];
    const fetched = (n: number): Promise<Fetched> => fetchFrame(frames, n, onDamage !== undefined);
    let at = 0;
    for await (const { number, bytes, because } of ahead(numbers, fetched, FRAMES_AHEAD)) {
      for (; entries[at]?.frame === number; at += 1) {
        const entry = entries[at] as Entry;
        const record = bytes && (await readRecord(frames, entry, bytes, onDamage));
        if (record) yield record;
        else if (!bytes) onDamage?.(entry.userKey, because);
      }
    }
  }
}

interface Fetched {
  number: number;
  /** Null: damaged. */
  bytes: Buffer | null;
  because: string;
}

async function fetchFrame(frames: PackFrames, number: number, tolerant: boolean): Promise<Fetched> {
  try {
    return { number, bytes: await frames.frame(number), because: '' };
  } catch (error) {
    if (!tolerant || failureKind(error) !== 'snapshot-damaged') throw error;
    return { number, bytes: null, because: failureText(error) };
  }
}

/** Null when it is damaged, and somebody hears of it. */
async function readRecord(
  frames: PackFrames,
  entry: Entry,
  bytes: Buffer,
  onDamage: OnDamage | undefined,
): Promise<UserRecord | null> {
  try {
    return await frames.record(entry, bytes);
  } catch (error) {
    if (!onDamage || failureKind(error) !== 'snapshot-damaged') throw error;
    onDamage(entry.userKey, failureText(error));
    return null;
  }
}

interface Work {
  entries: Entry[];
  frames: PackFrames;
}

const byPlace = (a: Entry, b: Entry): number => a.frame - b.frame || a.offset - b.offset;

/** Numbers of the chosen users, by the pack that holds them. */
function wantedByPack(index: SnapshotIndex, chosen: (user: number) => boolean): Uint32Array[] {
  const counts = index.packs.map(() => 0);
  const each = (visit: (user: number, pack: number) => void): void => {
    for (const user of index.numbers()) if (chosen(user)) visit(user, index.pack(user));
  };
  each((_user, pack) => {
    counts[pack] = (counts[pack] ?? 0) + 1;
  });
  const wanted = counts.map((n) => new Uint32Array(n));
  const filled = counts.map(() => 0);
  each((user, pack) => {
    const of = wanted[pack];
    if (of) of[filled[pack] ?? 0] = user;
    filled[pack] = (filled[pack] ?? 0) + 1;
  });
  return wanted;
}

async function openWhole(
  { vault, keys, signal }: ReadRecordsRequest,
  manifest: PackSet,
  index: SnapshotIndex,
  pack: number,
): Promise<PackFrames> {
  const ref = index.packs[pack];
  if (!ref) throw new RangeError(`pack ${pack} of ${index.packs.length}`);
  const where = `vault ${vault.site}: ${packKey(manifest, ref.sha256)}`;
  const bytes = await fetchPack(vault, manifest, ref, signal);
  return openPack(rangesOf(bytes, ref.footer, where), keys, manifest, ref.keyId);
}
