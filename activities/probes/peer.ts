import { Client as PostgresClient, type QueryResultRow } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { VaultAccess } from '../settings.ts';
import type { Vault } from '../vault/port.ts';
import { S3Vault } from '../vault/s3.ts';

/**
 * Calls to a site that may be lost. Each has a limit of its own and a connection of its own that dies with it: a call
 * that hangs takes nothing that another call needs. What does not answer in time is a failure `source-unreachable`.
 */

/** Runs `work` for at most `limitMs`; its signal tells it to let go. The answer never comes later, even if it does not listen. */
export async function within<T>(
  limitMs: number,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const limit = new AbortController();
  const over = Promise.withResolvers<never>();
  const stop = (why: string): void => {
    over.reject(failure('source-unreachable', `${what}: ${why}`));
    limit.abort();
  };
  const cancelled = (): void => stop('asked to stop');
  const timer = setTimeout(() => stop(`no answer within ${limitMs / 1000} s`), limitMs);
  signal?.addEventListener('abort', cancelled, { once: true });
  try {
    if (signal?.aborted) cancelled();
    return await Promise.race([over.promise, work(limit.signal)]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', cancelled);
  }
}

/** One statement on a connection of its own. What the server itself refuses is thrown as the driver gives it. */
export async function peerQuery<Row extends QueryResultRow>(
  url: string,
  limitMs: number,
  sql: string,
  values: unknown[],
  signal: AbortSignal,
): Promise<Row[]> {
  const client = new PostgresClient({
    connectionString: url,
    connectionTimeoutMillis: limitMs,
    query_timeout: limitMs,
    statement_timeout: limitMs,
    application_name: 'tandem',
  });
  // Told by the statement's own rejection; unheard, the event would end the process.
  client.on('error', () => undefined);
  const leave = (): void => void client.end().catch(() => undefined);
  signal.addEventListener('abort', leave, { once: true });
  try {
    await client.connect();
    return (await client.query<Row>(sql, values)).rows;
  } finally {
    signal.removeEventListener('abort', leave);
    leave(); // Not waited for: a peer that hangs would hold it.
  }
}

/** Whether an error is the server's own answer (SQLSTATE): then it is there, whatever it thinks of the question. */
export function isServersAnswer(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  // 57P0x and 53xxx: shutting down, starting, too many connections. Nobody is served by such a database.
  return /^[0-9A-Z]{5}$/.test(code) && !/^E[A-Z]+$/.test(code) && !/^(57P|53|08)/.test(code);
}

/** A peer's vault, with connections of its own; closed at the end, together with whatever still hangs in it. */
export async function withPeerVault<T>(access: VaultAccess, work: (vault: Vault) => Promise<T>): Promise<T> {
  const vault = new S3Vault(access);
  try {
    return await work(vault);
  } finally {
    vault.close();
  }
}
