import { connect } from 'node:net';

/** `host:port`, or an absolute path of a socket of this machine. */
export const placeOf = (address: string): { path: string } | { host: string; port: number } => {
  if (address.startsWith('/')) return { path: address };
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
};

export interface Asking {
  limitMs: number;
  /** More than this is no answer. */
  mostBytes: number;
  /** Whether the answer is whole; null: it is when the other side closes. */
  whole: ((bytes: Buffer) => boolean) | null;
  signal: AbortSignal;
}

/**
 * Says one thing on a connection of its own and takes the answer. The connection is gone when this settles: at the limit, at
 * the signal (with the signal's own reason), and when the answer is whole. Errors tell what was observed, not of whom.
 */
export async function ask(address: string, bytes: Buffer | string, asking: Asking): Promise<Buffer> {
  const { limitMs, mostBytes, whole, signal } = asking;
  signal.throwIfAborted();
  const socket = connect(placeOf(address));
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${limitMs / 1000} s`)), limitMs);
  const cancelled = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', cancelled, { once: true });
  let heard = Buffer.alloc(0);
  socket.once('connect', () => socket.write(bytes));
  socket.on('data', (piece: Buffer) => {
    heard = Buffer.concat([heard, piece]);
    if (heard.length > mostBytes) reject(new Error(`more than ${mostBytes} bytes of answer`));
    else if (whole?.(heard)) resolve(heard);
  });
  socket.once('error', reject);
  socket.once('close', () => {
    if (whole === null) resolve(heard);
    else reject(new Error('closed the connection without an answer'));
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', cancelled);
    socket.on('error', () => undefined);
    socket.destroy();
  }
}
