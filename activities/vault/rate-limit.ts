import { setTimeout as wait } from 'node:timers/promises';
import type { Vault } from './port.ts';

/** Between these, in bytes: small enough for a smooth flow, large enough that requests cost little. */
const PIECE = { least: 256 << 10, most: 1 << 20 };

/** Time, as a test may give it. In ms. */
export interface Clock {
  now: () => number;
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

const real: Clock = {
  now: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await wait(ms, undefined, { signal });
    } catch (error) {
      signal.throwIfAborted(); // With the reason that was given.
      throw error;
    }
  },
};

/**
 * Lets so many bytes pass in a second. Time in which nothing passed gives no credit: the flow never goes above the rate
 * by more than one piece.
 */
export class RateLimit {
  /** In bytes: a quarter of a second's worth, as far as that is a good size of a request. */
  readonly piece: number;
  private readonly bytesPerMs: number;
  private readonly clock: Clock;
  /** When what has passed is paid for. */
  private paidAt = -Infinity;

  constructor(bytesPerSecond: number, clock: Clock = real) {
    this.bytesPerMs = bytesPerSecond / 1000;
    this.piece = Math.min(PIECE.most, Math.max(PIECE.least, Math.floor(bytesPerSecond / 4)));
    this.clock = clock;
  }

  /** Waits until what has passed is paid for, then lets `work` pass, which says how many bytes it was. One at a time. */
  async pass<T>(signal: AbortSignal, work: () => Promise<T>, bytesOf: (result: T) => number): Promise<T> {
    signal.throwIfAborted();
    const owed = this.paidAt - this.clock.now();
    if (owed > 0) await this.clock.sleep(owed, signal);
    const from = this.clock.now();
    const result = await work();
    this.paidAt = from + bytesOf(result) / this.bytesPerMs;
    return result;
  }
}

/**
 * A vault from which no more is read in a second than the limit says. Packs are fetched in pieces; signed documents, which
 * are small, whole. Nothing is read once `signal` is aborted. `alive` is told before each piece.
 */
export function limitReads(vault: Vault, limit: RateLimit, signal: AbortSignal, alive: () => void): Vault {
  const piece = (key: string, offset: number, length: number): Promise<Buffer | null> => {
    alive();
    return limit.pass(
      signal,
      () => vault.read(key, { offset, length }, { signal }),
      (bytes) => bytes?.length ?? 0,
    );
  };
  const sum = (found: Buffer[]): number => found.reduce((bytes, { length }) => bytes + length, 0);
  return {
    site: vault.site,
    put: (key, body, options) => vault.put(key, body, options),
    mend: (key, body, options) => vault.mend(key, body, options),
    versions: (key, options) => limit.pass(signal, () => vault.versions(key, options), sum),
    async read(key, { offset, length } = { offset: 0, length: Infinity }) {
      const pieces: Buffer[] = [];
      for (let at = 0; at < length;) {
        const asked = Math.min(limit.piece, length - at);
        const bytes = await piece(key, offset + at, asked);
        if (!bytes) return null;
        pieces.push(bytes);
        at += bytes.length;
        if (bytes.length < asked) break;
      }
      return Buffer.concat(pieces);
    },
    list: (prefix, options) => vault.list(prefix, options),
    versionCounts: (prefix, options) => vault.versionCounts(prefix, options),
    close: () => vault.close(),
  };
}
