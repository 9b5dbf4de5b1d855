import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { PoolClient } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { ApplyCounts, SnapshotCounts } from '../../workflows/model/snapshots.ts';
import { fieldEnd, kinds, ROW_HEAD } from '../vault/record-rows.ts';
import { noCounts, walkRecord, type UserRecord } from '../vault/record.ts';
import { roomForItem, writeItem } from './copy-text.ts';
import type { Database } from './database.ts';
import { addCounts, noApplyCounts } from './restore.ts';
import { indexes, tables } from './schema/scratch.ts';

export interface LoadRequest {
  /** A database without any of the tables, and at least five connections to it. */
  database: Database;
  records: AsyncIterable<UserRecord>;
  heartbeat: (progress: { users: number; written: number }) => void;
  signal: AbortSignal;
}

/** What is collected for a table before it is sent. */
const BATCH_BYTES = 256 << 10;
/** And some room for the user who fills it. */
const ROOM_BYTES = BATCH_BYTES + (64 << 10);
/** For each of a few indexes that are built at once, on a database that nobody uses yet. */
const INDEX_MEMORY = '128MB';
const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const END = Buffer.from([0xff, 0xff]);
const ID = 8;

/**
 * Makes ejabberd's contact tables in an empty database and fills them with whole records: a table each in a transaction
 * of its own, so that nothing goes through the log twice, and indexes when all rows are there. Not to be repeated upon
 * what it left: drop the database first.
 */
export async function loadRecords(request: LoadRequest): Promise<ApplyCounts> {
  const { database, signal } = request;
  const counts = noCounts();
  const { contacts, groups, lists, items, defaults } = tables;
  await withTables(database, [contacts, groups, lists, items, defaults], async (sinks) => {
    let list = 0n;
    for await (const record of request.records) {
      signal.throwIfAborted();
      counts.users += 1;
      list = writeRecord(record, sinks, list, counts);
      for (const sink of sinks) if (sink.full) await sink.send();
      if (counts.users % 1000 === 0) request.heartbeat({ users: counts.users, written: counts.users });
    }

    return list;
  });

  await Promise.all(
    indexes.map((statements) =>
      database.connection(async (client) => {
        await client.query(`set maintenance_work_mem = '${INDEX_MEMORY}'`);
        await client.query(statements);
      }),
    ),
  );
  const applied = noApplyCounts();
  addCounts(applied, counts);
  return { ...applied, written: counts.users };
}

/** Sends a record's rows to their tables; lists are numbered from `list` on. Answers the last number given. */
function writeRecord(
  { bytes, username }: UserRecord,
  sinks: readonly Sink[],
  list: bigint,
  counts: SnapshotCounts,
): bigint {
  const name = Buffer.from(username);
  const lists: { name: Buffer; number: bigint }[] = [];
  let last = list;
  walkRecord(bytes, 'record', (kind, start, end) => {
    const sink = sinks[kind];
    const of = kinds[kind];
    if (!sink || !of) return;
    counts[of.count] += 1;
    const fields = start + ROW_HEAD;
    if (of.rows === 'items') {
      const listName = bytes.subarray(fields, fieldEnd(bytes, fields));
      sink.item(lists.find((own) => own.name.equals(listName))?.number ?? null, bytes, fields + listName.length, end);
    } else if (of.rows === 'lists') {
      last += 1n;
      lists.push({ name: bytes.subarray(fields, end), number: last });
      sink.row(1 + of.columns, name, bytes, fields, end, last);
    } else sink.row(1 + of.columns, name, bytes, fields, end);
  });
  return last;
}

/** One COPY into one table. */
class Sink {
  private readonly stream: Writable;
  private readonly ended: Promise<unknown>;
  private room: Buffer = Buffer.allocUnsafeSlow(ROOM_BYTES);
  private at: number;

  constructor(stream: Writable, head: Buffer) {
    this.stream = stream;
    this.at = head.copy(this.room);
    this.ended = once(stream, 'finish');
    this.ended.catch(() => undefined); // It is awaited in `end`, or while a write waits.
  }

  get full(): boolean {
    return this.at > BATCH_BYTES;
  }

  /** A row of a binary COPY: a name, then fields as they lie in a record, then the number of a list. */
  row(columns: number, name: Buffer, source: Buffer, start: number, end: number, number?: bigint): void {
    this.need(2 + 4 + name.length + end - start + 4 + ID);
    const { room } = this;
    let at = room.writeUInt16BE(number === undefined ? columns : columns + 1, this.at);
    at = room.writeUInt32BE(name.length, at);
    at += name.copy(room, at);
    at += source.copy(room, at, start, end);
    if (number !== undefined) at = room.writeBigInt64BE(number, room.writeUInt32BE(ID, at));
    this.at = at;
  }

  /** As text: the order is a number of any length, and nobody sends thousands of these. */
  item(list: bigint | null, source: Buffer, start: number, end: number): void {
    this.need(roomForItem(end - start));
    this.at = writeItem(this.room, this.at, list, { source, start, end });
  }

  async send(): Promise<void> {
    const bytes = this.room.subarray(0, this.at);
    // The stream keeps what it was given until it is sent.
    this.room = Buffer.allocUnsafeSlow(ROOM_BYTES);
    this.at = 0;
    if (!this.stream.write(bytes)) await Promise.race([once(this.stream, 'drain'), this.ended]);
  }

  async end(tail: Buffer): Promise<void> {
    this.need(tail.length);
    this.at += tail.copy(this.room, this.at);
    await this.send();
    this.stream.end();
    await this.ended;
  }

  private need(bytes: number): void {
    if (this.at + bytes <= this.room.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.room.length, this.at + bytes));
    this.room.copy(larger, 0, 0, this.at);
    this.room = larger;
  }
}

type Table = (typeof tables)[keyof typeof tables];

/** Opens a transaction and a COPY for each table, and commits all of them when `fill` is done. */
async function withTables(
  database: Database,
  all: readonly Table[],
  fill: (sinks: Sink[]) => Promise<bigint>,
  sinks: Sink[] = [],
): Promise<void> {
  const table = all[sinks.length];
  if (!table) {
    await fill(sinks);
    return;
  }
  await database.transaction(async (client: PoolClient) => {
    await client.query(table.create);
    const binary = table.format === 'binary';
    const options = binary ? 'format binary, freeze' : 'freeze';
    const stream = client.query(copyFrom(`copy ${table.copy} from stdin (${options})`));
    const sink = new Sink(stream, binary ? SIGNATURE : Buffer.alloc(0));
    await withTables(database, all, fill, [...sinks, sink]);
    await sink.end(binary ? END : Buffer.alloc(0));
  });
}
