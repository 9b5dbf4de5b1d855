import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { S3Client } from '@aws-sdk/client-s3';
import type { VaultAccess } from '../settings.ts';
import { isSkewed } from './s3-errors.ts';

/** A client of one bucket's server: bounded in time and connections, and in nothing else different from any other. */
export function openClient(access: VaultAccess, limits: Partial<VaultLimits> = {}): S3Client {
  const { connectMs, requestMs, attempts } = { ...LIMITS, ...limits };
  const s3 = new S3Client({
    endpoint: access.endpoint,
    region: access.region,
    forcePathStyle: true,
    credentials: { accessKeyId: access.accessKeyId, secretAccessKey: access.secretAccessKey },
    maxAttempts: attempts,
    // We send a checksum of our own, and every byte is checked by its hash when it is read.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: connectMs,
      requestTimeout: requestMs,
      throwOnRequestTimeout: true,
      socketTimeout: requestMs,
      httpAgent: new HttpAgent({ keepAlive: true, maxSockets: SOCKETS }),
      httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets: SOCKETS }),
    },
  });
  signAgain(s3);
  return s3;
}

/**
 * A machine whose clock is off is refused once, and signs by the clock of the refusal then. Of several requests that are refused
 * at once the client tries only the first again: the others find its clock set right, and are given up. All of them are.
 */
function signAgain(s3: S3Client): void {
  s3.middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args);
      } catch (error) {
        if (isSkewed(error) && '$metadata' in error)
          Object.assign(error.$metadata as object, { clockSkewCorrected: true });
        throw error;
      }
    },
    { step: 'finalizeRequest', priority: 'low', name: 'tandemSignAgain' },
  );
}

export interface VaultLimits {
  connectMs: number;
  /** For one request until its answer begins, and for a silence within the answer. */
  requestMs: number;
  attempts: number;
  /** For a call with all its attempts, the waits between them, and the body of its answer. */
  callMs: number;
}

export const LIMITS: VaultLimits = {
  // Long enough for a busy server, short enough that a dead site costs nobody's step (DESIGN 3).
  connectMs: 2000,
  // At most a pack of 4 MiB, on a link of 2 Mbit/s or better.
  requestMs: 20_000,
  attempts: 3,
  // Three attempts that hang, and a body: the client's own limits are on silence only.
  callMs: 80_000,
};
/** Connections to one site; a site that hangs can use up its own and nobody else's. */
export const SOCKETS = 16;

/**
 * Lets so many work at once; the rest wait in order. The client's limit on connecting also runs while a request waits
 * for one of its sockets, and would give up a healthy server that is merely busy with others of ours.
 */
export class Turns {
  private free: number;
  private readonly waiting = new Set<() => void>();

  constructor(free: number) {
    this.free = free;
  }

  async run<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    await this.take(signal);
    try {
      return await work();
    } finally {
      const [next] = this.waiting;
      if (next) next();
      else this.free += 1;
    }
  }

  private async take(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.free > 0) {
      this.free -= 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        this.waiting.delete(go);
        signal?.removeEventListener('abort', leave);
      };
      const go = (): void => {
        settle();
        resolve();
      };
      const leave = (): void => {
        settle();
        reject(signal?.reason as Error);
      };
      this.waiting.add(go);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }
}
