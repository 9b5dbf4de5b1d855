import type { PoolClient } from 'pg';
import { recordKeys, type RecordKeys } from '../vault/macs.ts';
import { RecordBuilder, type BuiltRecords } from '../vault/record-builder.ts';
import { kinds } from '../vault/record-rows.ts';
import { copyOut } from './copy.ts';
import {
  bytesOf,
  Gathering,
  gatherPart,
  SLOTS_BYTES,
  sortByUser,
  usersOf,
  type Extents,
  type Parting,
} from './gather.ts';
import { Spill } from './spill.ts';
import type { OnTuple } from './tuples.ts';
import type { Users } from './users.ts';

/** What collecting the rows of users needs, on whatever thread. */
export interface Collecting {
  users: Users;
  parting: Parting;
  keys: RecordKeys;
  spill: () => Spill;
}

/** Rows of the users of a reading, as they come from the tables; then their records, part by part. */
export class Collector {
  /** Rows of each kind. */
  readonly counts: number[] = kinds.map(() => 0);
  private readonly work: Collecting;
  private readonly gathering: Gathering;

  constructor(work: Collecting, limits: { room: Buffer; memory: number }) {
    this.work = work;
    this.gathering = new Gathering(work.parting, work.spill, limits);
  }

  /** Takes rows of one kind. Those of other users are passed over. */
  rows(kind: number): OnTuple {
    const { users } = this.work;
    return (buffer, name, nameEnd, end) => {
      const user = users.find(buffer, name, nameEnd);
      if (user < 0) return;
      this.counts[kind] = (this.counts[kind] ?? 0) + 1;
      this.gathering.add(user, kind, buffer, nameEnd, end);
    };
  }

  /** What was collected of each part. */
  end(): Extents[] {
    return this.gathering.end();
  }
}

/** The records of a part's users, in the order of their numbers. `room` is used for them when it is large enough. */
export function buildPart(
  { users, parting, keys, spill }: Collecting,
  part: number,
  extents: Extents,
  room?: ArrayBuffer,
): BuiltRecords {
  const range = usersOf(parting, part);
  const records = range.next - range.first;
  const rowBytes = bytesOf(extents);
  let nameBytes = 0;
  for (let user = range.first; user < range.next; user += 1) nameBytes += users.name(user).length;
  const front = RecordBuilder.roomFor({ records, rowBytes, nameBytes });
  const whole = front + rowBytes;
  const buffer = room && room.byteLength >= whole ? Buffer.from(room) : Buffer.allocUnsafeSlow(whole);
  const rows = buffer.subarray(front, whole);
  gatherPart(extents, spill, rows);
  const builder = new RecordBuilder(keys, records, buffer);
  for (const { user, starts, ends } of sortByUser(rows, range)) builder.add(users.name(user), rows, starts, ends);
  return builder.built();
}

/** Beyond this rows go to the disk: a small customer is read without touching it. */
const MEMORY_BYTES = 24 << 20;

/** A small reading, on the thread that it is asked of. */
export class OneThread {
  /** One connection is as fast as that thread. */
  readonly lanes = 1;
  private spill: Spill | undefined;
  private collector: Collector | undefined;
  private work: Collecting | undefined;

  begin({ users, parting, key }: { users: Users; parting: Parting; key: Buffer }): void {
    this.work = { users, parting, keys: recordKeys(key), spill: () => (this.spill ??= Spill.create()) };
    this.collector = new Collector(this.work, { room: Buffer.allocUnsafeSlow(SLOTS_BYTES), memory: MEMORY_BYTES });
  }

  async copy(_lane: number, client: PoolClient, sql: string, kind: number, signal: AbortSignal): Promise<void> {
    if (this.collector) await copyOut(client, sql, { signal, onTuple: this.collector.rows(kind) });
  }

  async end(): Promise<number[]> {
    return Promise.resolve(this.collector?.counts ?? []);
  }

  async *parts(): AsyncGenerator<BuiltRecords> {
    const { work, collector } = this;
    if (!work || !collector) return;
    let room: ArrayBuffer | undefined;
    for (const [part, extents] of collector.end().entries()) {
      const built = await Promise.resolve(buildPart(work, part, extents, room));
      yield built;
      room = built.bytes.buffer;
    }
  }

  async close(): Promise<void> {
    await Promise.resolve(this.spill?.close());
  }
}
