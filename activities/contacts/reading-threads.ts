import { Worker } from 'node:worker_threads';
import type { PoolClient } from 'pg';
import { PlainFault } from '../plain-fault.ts';
import type { BuiltRecords } from '../vault/record-builder.ts';
import { kinds } from '../vault/record-rows.ts';
import { copyMessages } from './copy.ts';
import { SLOTS_BYTES, type Parting } from './gather.ts';
import { SLOT_BYTES, SLOTS, type FromThread, type ToThread } from './reading-messages.ts';
import { Spill } from './spill.ts';
import type { Users } from './users.ts';

const THREAD = new URL('reading-thread.ts', import.meta.url);
/** In MiB. What a thread works on are buffers, outside of this. */
const HEAP = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 };
/**
 * Two keep up with what PostgreSQL sends and zlib's own threads pack, on two processors as on more; each has a connection,
 * and some 15 MiB before it does anything.
 */
const THREADS = 2;

/** One thread, and the bytes that are on their way to it. */
class ReadingThread {
  private readonly worker = new Worker(THREAD, { resourceLimits: HEAP });
  private readonly memory: SharedArrayBuffer;
  private readonly ring: Buffer;
  private readonly free = Array.from({ length: SLOTS }, (_, slot) => slot);
  private room: (() => void) | undefined;
  private expected:
    | { did: FromThread['did']; resolve: (m: FromThread) => void; reject: (e: Error) => void }
    | undefined;
  private fault: Error | undefined;

  /** `room`: bytes for what it collects. */
  constructor(room: number) {
    this.memory = new SharedArrayBuffer(SLOTS * SLOT_BYTES + room);
    this.ring = Buffer.from(this.memory, 0, SLOTS * SLOT_BYTES);
    this.worker.on('message', (message: FromThread) => this.hear(message));
    this.worker.on('error', (error: Error) => this.fail(error));
  }

  begin(start: Omit<Extract<ToThread, { do: 'begin' }>, 'do' | 'memory'>): void {
    this.tell({ do: 'begin', ...start, memory: this.memory });
  }

  async copy(client: PoolClient, sql: string, kind: number, signal: AbortSignal): Promise<void> {
    this.tell({ do: 'copy', kind });
    await copyMessages(client, sql, signal, (bytes) => this.take(bytes));
    await this.ask({ do: 'copied' }, 'copied');
  }

  async ask<D extends 'copied' | 'end' | 'build'>(
    message: ToThread,
    did: D,
    lent: ArrayBuffer[] = [],
  ): Promise<Extract<FromThread, { did: D }>> {
    const { promise, resolve, reject } = Promise.withResolvers<FromThread>();
    if (this.fault) throw this.fault;
    this.expected = { did, resolve, reject };
    this.tell(message, lent);
    return (await promise) as Extract<FromThread, { did: D }>;
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }

  private tell(message: ToThread, lent: ArrayBuffer[] = []): void {
    this.worker.postMessage(message, lent);
  }

  /** Copies the bytes over; a promise when there is hardly room for more. */
  private take(bytes: Buffer): Promise<void> | null {
    if (this.fault) throw this.fault;
    for (let at = 0; at < bytes.length; at += SLOT_BYTES) {
      const slot = this.free.pop();
      if (slot === undefined)
        throw new Error(`${bytes.length} bytes at once, more than a ring of ${SLOTS} slots takes`);
      const length = bytes.copy(this.ring, slot * SLOT_BYTES, at, Math.min(bytes.length, at + SLOT_BYTES));
      this.tell({ do: 'take', slot, length });
    }
    if (this.free.length > SLOTS / 2) return null;
    return new Promise((resolve) => {
      this.room = resolve;
    });
  }

  private hear(message: FromThread): void {
    if (message.did === 'fail') {
      const { kind, message: text } = message;
      return this.fail(kind ? new PlainFault(kind, text) : new Error(text));
    }
    if (message.did === 'take') {
      this.free.push(message.slot);
      if (this.free.length > SLOTS / 2) this.room?.();
      return;
    }
    if (message.did === this.expected?.did) this.expected.resolve(message);
  }

  private fail(error: Error): void {
    this.fault ??= error;
    this.room?.();
    this.expected?.reject(this.fault);
  }
}

export interface ThreadsStart {
  users: Users;
  parting: Parting;
  /** The customer's key. */
  key: Buffer;
}

/**
 * Threads that a large reading is divided among. They get bytes, and know of no database: transactions, errors and limits
 * stay where they are.
 */
export class ReadingThreads {
  private readonly threads: readonly ReadingThread[];
  private readonly spill = Spill.create();
  private spilled: number[][] = [];

  /** They start at once, while the names of the users are still read. */
  constructor() {
    this.threads = Array.from({ length: THREADS }, () => new ReadingThread(SLOTS_BYTES / THREADS));
  }

  get lanes(): number {
    return this.threads.length;
  }

  begin({ users, parting, key }: ThreadsStart): void {
    const common = { users: users.share(), parting, key, spill: this.spill.shared };
    for (const thread of this.threads) thread.begin(common);
  }

  async copy(lane: number, client: PoolClient, sql: string, kind: number, signal: AbortSignal): Promise<void> {
    await this.threads[lane]?.copy(client, sql, kind, signal);
  }

  /** To be called when all rows were copied. Answers how many there were of each kind. */
  async end(): Promise<number[]> {
    const rows = kinds.map(() => 0);
    for (const ended of await Promise.all(this.threads.map((thread) => thread.ask({ do: 'end' }, 'end')))) {
      for (const [kind, n] of ended.rows.entries()) rows[kind] = (rows[kind] ?? 0) + n;
      for (const [part, spilled] of ended.spilled.entries()) (this.spilled[part] ??= []).push(...spilled);
    }
    return rows;
  }

  /** The records of each part in turn, while the threads build the next. What is given is lent until the next is asked for. */
  async *parts(): AsyncGenerator<BuiltRecords> {
    const building: Promise<BuiltRecords>[] = [];
    let room: ArrayBuffer | undefined;
    for (let part = 0; part < this.spilled.length + this.threads.length; part += 1) {
      if (part >= this.threads.length) {
        const built = await (building.shift() as Promise<BuiltRecords>);
        // The next one is asked for first, so that no thread is idle while these records are put into packs.
        if (part < this.spilled.length) building.push(this.build(part, room));
        yield built;
        room = built.bytes.buffer;
      } else if (part < this.spilled.length) building.push(this.build(part, undefined));
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.close()));
    this.spill.close();
  }

  private build(part: number, room: ArrayBuffer | undefined): Promise<BuiltRecords> {
    const spilled = this.spilled[part] ?? [];
    this.spilled[part] = [];
    const thread = this.threads[part % this.threads.length] as ReadingThread;
    const built = thread.ask({ do: 'build', part, spilled, room }, 'build', room ? [room] : []).then((m) => m.built);
    built.catch(() => undefined); // It is awaited in its turn, unless an earlier one fails.
    return built;
  }
}
