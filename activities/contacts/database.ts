import { Pool, type PoolClient, type QueryResultRow } from 'pg';
import { failure, failureKind, type FailureKind } from '../../workflows/model/failures.ts';
import { PlainFault } from '../plain-fault.ts';

/** SQLSTATE classes that a retry cannot mend, and the few that need words of their own. */
const refusals: Record<string, FailureKind> = {
  '28': 'database-refused', // invalid authorization
  '42': 'database-refused', // insufficient privilege, undefined table or column
  '3D': 'database-refused', // no such database
  '3F': 'database-refused', // no such schema
  '53100': 'disk-full',
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

const unheard = (): undefined => undefined;

/** Connections to one database. `name` is what errors call it; the URL holds a password and is never printed. */
export class Database {
  readonly name: string;
  private readonly pool: Pool;

  constructor(name: string, url: string, limits: DatabaseLimits) {
    this.name = name;
    this.pool = new Pool({
      connectionString: url,
      max: limits.connections,
      connectionTimeoutMillis: limits.connectMs,
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
    let client: PoolClient | undefined;
    let broken = true;
    try {
      client = await this.pool.connect();
      // The same for one that breaks between two statements: the next statement on it fails, and says why.
      client.on('error', unheard);
      const result = await work(client);
      broken = false;
      return result;
    } catch (error) {
      throw databaseFailure(error, this.name);
    } finally {
      client?.off('error', unheard);
      client?.release(broken);
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
