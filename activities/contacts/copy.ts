import type { PoolClient } from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { eachTuple, type OnTuple } from './tuples.ts';

export interface CopyOut {
  signal: AbortSignal;
  onTuple: OnTuple;
  /** Awaited between chunks, while the server waits. */
  settle?: () => Promise<void> | null;
  /** What the rows need: awaited while the server already works. */
  ready?: Promise<unknown>;
}

/** Streams the rows of a query, whose first column is a user's name, as COPY BINARY gives them. */
export async function copyOut(
  client: PoolClient,
  sql: string,
  { signal, onTuple, settle, ready }: CopyOut,
): Promise<void> {
  signal.throwIfAborted();
  // The driver stops its own time-out in `callback`, which such a stream neither has nor calls: unstopped, it would end
  // the process minutes after the stream has ended well.
  const stream = Object.assign(copyTo(`copy (${sql}) to stdout (format binary)`), { callback: () => undefined });
  const stop = (): void => {
    stream.destroy(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)));
  };
  // When what the rows need does not come, nobody reads them, and nobody else would hear that the connection ends.
  stream.on('error', () => undefined);
  client.query(stream);
  signal.addEventListener('abort', stop, { once: true });
  try {
    await ready;
    await eachTuple(stream, onTuple, settle ?? (() => null));
  } finally {
    signal.removeEventListener('abort', stop);
    stream.callback();
  }
}
