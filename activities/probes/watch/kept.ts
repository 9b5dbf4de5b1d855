import { Client as PostgresClient, type QueryResultRow } from 'pg';
import { isServersAnswer } from '../peer.ts';

/** After so many uses a kept one is replaced: it must not go on for ever where a new one would be refused. */
const MOST_USES = 60;

/**
 * One connection, or one client with its connections, that is kept from look to look because making it is what a look costs.
 * It never speaks for the other end: an answer is one that just came. One that failed is dropped, and the look made again
 * on a new one: what was cut between two looks is no silence.
 */
export class Kept<T> {
  private readonly open: (signal: AbortSignal) => Promise<T>;
  private readonly drop: (kept: T) => void;
  private kept: { value: T; uses: number } | null = null;

  constructor(open: (signal: AbortSignal) => Promise<T>, drop: (kept: T) => void) {
    this.open = open;
    this.drop = drop;
  }

  /** Whoever gives the signal gives the limit: what hangs is dropped with it. */
  async use<Answer>(signal: AbortSignal, work: (kept: T) => Promise<Answer>): Promise<Answer> {
    if (this.kept && this.kept.uses >= MOST_USES) this.close();
    const { kept } = this;
    if (!kept) return this.anew(signal, work);
    kept.uses += 1;
    try {
      return await this.watched(kept.value, signal, work);
    } catch (error) {
      // A refusal came from the other end, and is its answer.
      if (signal.aborted || isServersAnswer(error)) throw error;
      return this.anew(signal, work);
    }
  }

  close(): void {
    const { kept } = this;
    this.kept = null;
    if (kept) this.drop(kept.value);
  }

  private async anew<Answer>(signal: AbortSignal, work: (kept: T) => Promise<Answer>): Promise<Answer> {
    const opened = await this.open(signal);
    const { kept } = this;
    // Too late, or another customer's look was quicker: it is not used.
    if (signal.aborted || kept) this.drop(opened);
    signal.throwIfAborted();
    if (kept) return this.watched(kept.value, signal, work);
    this.kept = { value: opened, uses: 1 };
    return this.watched(opened, signal, work);
  }

  private async watched<Answer>(value: T, signal: AbortSignal, work: (kept: T) => Promise<Answer>): Promise<Answer> {
    const discard = (): void => {
      if (this.kept?.value === value) this.kept = null;
      this.drop(value);
    };
    signal.addEventListener('abort', discard, { once: true });
    try {
      return await work(value);
    } catch (error) {
      if (!signal.aborted && !isServersAnswer(error)) discard();
      throw error;
    } finally {
      signal.removeEventListener('abort', discard);
    }
  }
}

/** A connection to one database, for one short statement at a time. What the server refuses is thrown as the driver gives it. */
export function keptDatabase(url: string, limitMs: number): Kept<PostgresClient> {
  return new Kept(
    async (signal) => {
      const client = new PostgresClient({
        connectionString: url,
        connectionTimeoutMillis: limitMs,
        query_timeout: limitMs,
        statement_timeout: limitMs,
        keepAlive: true,
        application_name: 'tandem watch',
      });
      // Told by the next statement; unheard, the event would end the process.
      client.on('error', () => undefined);
      const leave = (): void => void client.end().catch(() => undefined);
      signal.addEventListener('abort', leave, { once: true });
      try {
        await client.connect();
      } catch (error) {
        leave();
        throw error;
      } finally {
        signal.removeEventListener('abort', leave);
      }
      return client;
    },
    // Not waited for: an end that hangs would hold it.
    (client) => void client.end().catch(() => undefined),
  );
}

export async function ask<Row extends QueryResultRow>(
  database: Kept<PostgresClient>,
  signal: AbortSignal,
  sql: string,
  values: unknown[] = [],
): Promise<Row[]> {
  return database.use(signal, async (client) => (await client.query<Row>(sql, values)).rows);
}
