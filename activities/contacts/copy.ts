import type { Connection, PoolClient, Submittable } from 'pg';
import { Tuples, type OnTuple } from './tuples.ts';

export interface CopyOut {
  signal: AbortSignal;
  onTuple: OnTuple;
  /** What the rows need: awaited while the server already works. */
  ready?: Promise<unknown>;
}

/**
 * Takes bytes of CopyData messages, which it may use until it returns. A promise is awaited before it is given more, while
 * the server waits.
 */
type Take = (bytes: Buffer) => Promise<void> | null;

/** Streams the rows of a query, whose first column is a user's name, as COPY BINARY gives them. */
export async function copyOut(client: PoolClient, sql: string, { signal, onTuple, ready }: CopyOut): Promise<void> {
  const tuples = new Tuples(onTuple);
  let waiting = ready ?? null;
  await copyMessages(client, sql, signal, (bytes) => {
    if (!waiting) {
      tuples.push(bytes);
      return null;
    }
    const first = Buffer.from(bytes);
    const then = waiting.then(() => tuples.push(first));
    waiting = null;
    return then;
  });
  tuples.end();
}

/** Streams the messages of a `copy (…) to stdout (format binary)`, whole chunks of them as they come from the socket. */
export async function copyMessages(client: PoolClient, sql: string, signal: AbortSignal, take: Take): Promise<void> {
  signal.throwIfAborted();
  const query = new CopyQuery(`copy (${sql}) to stdout (format binary)`, take);
  const stop = (): void => query.abort(asError(signal.reason));
  signal.addEventListener('abort', stop, { once: true });
  try {
    client.query(query);
    await query.done;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

const COPY_DONE = 0x63; // c
const ERROR = 0x45; // E
/** Type, and the length of itself and the body. */
const HEAD_BYTES = 5;

/**
 * Reads a COPY straight from the connection's socket. The driver would make an object of each row, and a stream of
 * objects of those: with millions of rows that costs more than all that is done with them. What follows the rows, or an
 * error, is the driver's again.
 */
class CopyQuery implements Submittable {
  readonly done: Promise<void>;
  /** The driver puts a function of its own here, which stops its time-out. */
  callback: () => void = () => undefined;
  private readonly sql: string;
  private readonly take: Take;
  private readonly finish: (last?: Promise<void>) => void;
  private readonly fail: (error: Error) => void;
  private connection: Connection | undefined;
  private driver: ((bytes: Buffer) => void) | undefined;
  /** Of a message that goes on in the next chunk: bytes still to come, or what there is of its head. */
  private left = 0;
  private head: Buffer = Buffer.alloc(0);
  private waiting: Promise<void> | null = null;

  constructor(sql: string, take: Take) {
    this.sql = sql;
    this.take = take;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.done = promise;
    // The driver runs on after an error; nobody may be waiting yet.
    this.done.catch(() => undefined);
    this.finish = resolve;
    this.fail = reject;
  }

  submit(connection: Connection): void {
    const [driver] = connection.stream.listeners('data') as ((bytes: Buffer) => void)[];
    this.connection = connection;
    this.driver = driver;
    connection.stream.off('data', driver as never).on('data', this.onData);
    connection.query(this.sql);
  }

  /** Gives the connection up, which nobody can use after this. */
  abort(error: Error): void {
    this.end(error);
    this.connection?.stream.destroy();
  }

  handleError(error: Error): void {
    this.handBack(Buffer.alloc(0));
    this.end(error);
  }

  handleReadyForQuery(): void {
    this.end();
  }

  handleCommandComplete(): void {
    // How many rows there were is known.
  }

  private end(error?: Error): void {
    this.callback();
    if (error) this.fail(error);
    else this.finish(this.waiting ?? undefined);
  }

  private readonly onData = (chunk: Buffer): void => {
    const bytes = this.head.length > 0 ? Buffer.concat([this.head, chunk]) : chunk;
    const end = this.rowsEnd(bytes);
    const rows = end < 0 ? bytes.length - this.head.length : end;
    try {
      this.waiting = rows > 0 ? this.take(bytes.subarray(0, rows)) : null;
    } catch (error) {
      return this.abort(asError(error)); // Thrown on, it would end the process.
    }
    if (this.waiting) this.hold(this.waiting);
    if (end >= 0) this.handBack(bytes.subarray(end));
  };

  /** Steps from message to message. Where those of the COPY end in these bytes; -1 when they go on. */
  private rowsEnd(bytes: Buffer): number {
    let at = this.left;
    while (at + HEAD_BYTES <= bytes.length) {
      const type = bytes[at];
      if (type === COPY_DONE || type === ERROR) return at;
      at += 1 + bytes.readUInt32BE(at + 1);
    }
    this.left = Math.max(0, at - bytes.length);
    this.head = at < bytes.length ? Buffer.from(bytes.subarray(at)) : Buffer.alloc(0);
    return -1;
  }

  private hold(waiting: Promise<void>): void {
    const stream = this.connection?.stream;
    stream?.pause();
    waiting.then(
      () => stream?.resume(),
      (error: unknown) => this.abort(asError(error)),
    );
  }

  private handBack(rest: Buffer): void {
    const { driver } = this;
    this.driver = undefined;
    if (!driver) return;
    this.connection?.stream.off('data', this.onData).on('data', driver);
    if (rest.length > 0) driver(rest);
  }
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));
