import { setTimeout } from 'node:timers/promises';
import { Pool, type PoolClient, type QueryResultRow } from 'pg';
import { failure, failureKind, type FailureKind } from '../../workflows/model/failures.ts';
import { Slots } from '../mover/slots.ts';
import { PlainFault } from '../plain-fault.ts';

/** SQLSTATE classes that a retry cannot mend, and the few that need words of their own. */
const refusals: Record<string, FailureKind> = {
  '28': 'database-refused', // invalid authorization
  '42': 'database-refused', // insufficient privilege, undefined table or column
  '3D': 'database-refused', // no such database
  '3F': 'database-refused', // no such schema
  '53100': 'disk-full',
  '58030': 'database-damaged', // a file cannot be read
  '58P01': 'database-damaged', // a file is not there
  XX001: 'database-damaged', // a page is not what was written
  XX002: 'database-damaged', // an index
};

/** Turns an error of the driver into a failure that says which database, and whether to try again. */
export function databaseFailure(error: unknown, name: string): Error {
  if (failureKind(error)) return error as Error;
  if (error instanceof PlainFault) return failure(error.kind, `${name}: ${error.message}`);
  if (error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError) return error; // Ours.
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const kind = refusals[code] ?? refusals[code.slice(0, 2)] ?? 'database-unreachable';
  const text =
    error instanceof AggregateError
      ? error.errors.map(String).join('; ')
      : error instanceof Error
        ? error.message
        : String(error);
  return failure(kind, `${name}: ${text || code}`);
}

export interface DatabaseLimits {
  connections: number;
  connectMs: number;
  statementMs: number;
}

/**
 * A process that stands still in the middle of a transaction loses it: whatever small work it was at, its locks must not
 * keep a move waiting. Readings and outside effects, which may take longer, set limits of their own.
 */
const IDLE_MS = 30_000;

/**
 * An idle connection is one less for whoever comes next: many customers may lie on one server, and all of them move in the
 * same night. The driver would keep it for 10 s.
 */
const IDLE_CONNECTION_MS = 1000;

/** SQLSTATE of a server that has no connection left. It soon has one again, and to be busy is not to be broken. */
const TOO_MANY_CONNECTIONS = '53300';
const AGAIN_MS = 100;

const unheard = (): undefined => undefined;
const never = new AbortController().signal;

/** Connections to one database. `name` is what errors call it; the URL holds a password and is never printed. */
export class Database {
  readonly name: string;
  private readonly pool: Pool;
  private readonly connectMs: number;
  /** Whoever waits for one of ours waits for work to end, and not for a server that does not answer. */
  private readonly slots: Slots;
  private readonly waitMs: number;

  constructor(name: string, url: string, limits: DatabaseLimits) {
    this.name = name;
    this.connectMs = limits.connectMs;
    this.slots = new Slots(limits.connections);
    this.waitMs = limits.connectMs + limits.statementMs;
    this.pool = new Pool({
      connectionString: url,
      max: limits.connections,
      connectionTimeoutMillis: limits.connectMs,
      idleTimeoutMillis: IDLE_CONNECTION_MS,
      statement_timeout: limits.statementMs,
      idle_in_transaction_session_timeout: IDLE_MS,
      // The server's limit cannot help when the server is gone without a word: the client needs one of its own.
      query_timeout: limits.statementMs + limits.connectMs,
      keepAlive: true,
      // A worker that is told to end would otherwise wait for its idle connections to grow old.
      allowExitOnIdle: true,
      application_name: 'tandem',
    });
    // An idle connection that breaks is replaced at its next use; unheard, the event would end the process.
    this.pool.on('error', unheard);
  }

  /** Runs `work` on one connection; a connection that failed is not used again. */
  async connection<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const leave = await this.slot();
    let client: PoolClient | undefined;
    let broken = true;
    try {
      client = await this.connect();
      // The same for one that breaks between two statements: the next statement on it fails, and says why.
      client.on('error', unheard);
      const result = await work(client);
      broken = false;
      return result;
    } catch (error) {
      throw databaseFailure(error, this.name);
    } finally {
      // One that broke may say so once more while it is ended: unheard, that would end the process.
      if (!broken) client?.off('error', unheard);
      client?.release(broken);
      leave();
    }
  }

  private async slot(): Promise<() => void> {
    const seconds = this.waitMs / 1000;
    try {
      return await this.slots.take(this.slots.full ? AbortSignal.timeout(this.waitMs) : never);
    } catch {
      throw failure(
        'database-unreachable',
        `${this.name}: none of this process's connections was free for ${seconds} s`,
      );
    }
  }

  /** Waits for a server that is full as long as for one that does not answer. */
  private async connect(): Promise<PoolClient> {
    const until = Date.now() + this.connectMs;
    for (;;) {
      try {
        return await this.pool.connect();
      } catch (error) {
        const full = error instanceof Error && 'code' in error && error.code === TOO_MANY_CONNECTIONS;
        if (!full || Date.now() >= until) throw error;
        // Not all at the same moment.
        await setTimeout(AGAIN_MS * (1 + Math.random()));
      }
    }
  }

  async transaction<T>(work: (client: PoolClient) => Promise<T>, mode = ''): Promise<T> {
    return this.connection(async (client) => {
      await client.query(`begin ${mode}`);
      const result = await work(client);
      await client.query('commit');
      return result; // A failure leaves the transaction to die with its connection.
    });
  }

  async query<Row extends QueryResultRow>(sql: string, values: unknown[] = []): Promise<Row[]> {
    return this.connection(async (client) => (await client.query<Row>(sql, values)).rows);
  }

  async close(): Promise<void> {
    await this.pool.end();
  }
}
