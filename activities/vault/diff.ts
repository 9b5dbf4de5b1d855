import { batches } from '../contacts/batches.ts';
import type { SnapshotCounts } from '../../workflows/model/snapshots.ts';
import type { OpenSnapshot } from './open.ts';
import { ahead } from './ahead.ts';
import { kinds } from './record-rows.ts';
import { UserRecord, walkRecord } from './record.ts';
import type { SnapshotIndex } from './snapshot-index.ts';

/** Rows that stand on one side only, by kind: a row with another nick is one removed and one added. */
export type RowDifferences = Record<Exclude<keyof SnapshotCounts, 'users'>, { added: number; removed: number }>;

/** How one user differs between two states. */
export interface UserDifference {
  username: string;
  how: 'added' | 'removed' | 'changed';
  rows: RowDifferences;
}

/** Frames of the other snapshot that stay open for the next users, each of about 1 MiB. */
const OPEN_FRAMES = 8;
/** Frames that are fetched at once. */
const AT_ONCE = 4;

/**
 * Users who differ between two snapshots, in no order. Ids are compared first, and only records of users who differ are
 * read. Under different keys no id is the other's, so every record is read, and users are found by their names. Holds
 * both indexes and a few frames, at any number of users.
 */
export async function* diffSnapshots(from: OpenSnapshot, to: OpenSnapshot): AsyncGenerator<UserDifference> {
  const [a, b] = await Promise.all([from.index(), to.index()]);
  const met = new Uint8Array(b.capacity);
  const differs = (user: number): boolean => {
    const other = b.find(a.userKey(user));
    if (other >= 0) met[other] = 1;
    return other < 0 || !b.recordId(other).equals(a.recordId(user));
  };
  const lookup = new Lookup(b);
  for await (const batch of batches(apart(from.records(differs)))) {
    const numbers = batch.map(({ username }) => b.findName(username));
    for (const other of numbers) if (other >= 0) met[other] = 1;
    const others = await lookup.records(numbers.filter((n) => n >= 0));
    for (const [i, { username, bytes }] of batch.entries()) {
      const difference = differenceOf(username, bytes, others.get(numbers[i] ?? -1) ?? null);
      if (difference) yield difference;
    }
  }
  for await (const { username, bytes } of to.records((user) => met[user] === 0)) {
    const difference = differenceOf(username, null, bytes);
    if (difference) yield difference;
  }
}

/** From one record of a user to another; null stands for a user who is not there. Null when they are equal. */
export function differenceOf(username: string, from: Buffer | null, to: Buffer | null): UserDifference | null {
  if (from && to?.equals(from)) return null;
  return { username, how: from ? (to ? 'changed' : 'removed') : 'added', rows: rowDifferences(from, to) };
}

export const noRowDifferences = (): RowDifferences => ({
  contacts: { added: 0, removed: 0 },
  groups: { added: 0, removed: 0 },
  lists: { added: 0, removed: 0 },
  aclItems: { added: 0, removed: 0 },
  defaults: { added: 0, removed: 0 },
});

/** Rows as multisets: of two equal rows one may be gone. */
function rowDifferences(from: Buffer | null, to: Buffer | null): RowDifferences {
  const found = noRowDifferences();
  const left = new Map<string, { kind: number; more: number }>();
  const note = (record: Buffer, step: number): void => {
    walkRecord(record, 'record', (kind, start, end) => {
      const row = record.toString('latin1', start, end); // It begins with its kind.
      const known = left.get(row);
      if (known) known.more += step;
      else left.set(row, { kind, more: step });
    });
  };
  if (from) note(from, -1);
  if (to) note(to, 1);
  for (const { kind, more } of left.values()) {
    const of = kinds[kind];
    if (of) found[of.count][more > 0 ? 'added' : 'removed'] += Math.abs(more);
  }
  return found;
}

/** Records that keep no frame alive: each is a piece of one, and a few hundred of them would hold as many frames. */
export async function* apart(records: AsyncIterable<UserRecord>): AsyncGenerator<UserRecord> {
  for await (const { username, bytes, recordId } of records)
    yield new UserRecord(username, Buffer.from(bytes), recordId);
}

/** Records by number, a batch at a time; frames stay open for the next batch, which mostly lies near. */
export class Lookup {
  private readonly index: SnapshotIndex;
  private readonly open = new Map<string, Buffer>();

  constructor(index: SnapshotIndex) {
    this.index = index;
  }

  async records(users: readonly number[]): Promise<Map<number, Buffer>> {
    const byFrame = new Map<string, { pack: number; frame: number; users: number[] }>();
    for (const user of users) {
      const { pack, entry } = this.index.entry(user);
      const place = `${pack}/${entry.frame}`;
      const known = byFrame.get(place);
      if (known) known.users.push(user);
      else byFrame.set(place, { pack, frame: entry.frame, users: [user] });
    }
    const found = new Map<number, Buffer>();
    const opening = ahead(
      [...byFrame],
      async ([place, of]) => ({ ...of, bytes: await this.frame(place, of) }),
      AT_ONCE,
    );
    for await (const { pack, users: of, bytes } of opening) {
      for (const user of of) {
        const record = await this.index.frames[pack]?.record(this.index.entry(user).entry, bytes);
        if (record) found.set(user, Buffer.from(record.bytes));
      }
    }
    return found;
  }

  private async frame(place: string, { pack, frame }: { pack: number; frame: number }): Promise<Buffer> {
    const known = this.open.get(place);
    const bytes = known ?? (await this.index.frames[pack]?.frame(frame)) ?? Buffer.alloc(0);
    this.open.delete(place);
    this.open.set(place, bytes); // The one that was used longest ago stands first.
    for (const [oldest] of this.open) if (this.open.size > OPEN_FRAMES) this.open.delete(oldest);
    return bytes;
  }
}
