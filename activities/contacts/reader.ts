import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { SnapshotCounts, Timestamp } from '../../workflows/model/snapshots.ts';
import type { RecordKeys } from '../vault/keys.ts';
import { count, makeRecord, noCounts, noRows, type Row, type UserRecord } from '../vault/record.ts';
import type { Database } from './database.ts';
import { asText, rowQueries, type RowQuery } from './rows.ts';
import { requireIdentity } from './prepare.ts';
import { describeTables } from './tables.ts';

/** The world at the moment that a reading shows. */
export interface ReadPoint {
  /** Start of the read transaction by the database's clock; on a replica, the newest transaction it had replayed. */
  point: Timestamp;
  epoch: number;
  wal: string;
  schema: string;
  postgres: number;
  ownerless: number;
}

export interface ReadRequest {
  database: Database;
  customer: string;
  site: string;
  keys: RecordKeys;
  /** The reading is ended after this time, so that it never holds back vacuum. ms. */
  maxAgeMs: number;
  signal: AbortSignal;
}

/** Rows taken from the server at a time, of each kind. Bounds memory. */
const FETCH_ROWS = 5000;
/** A clock that runs ahead would make recovery points look younger than they are (VAULT, rule 6). */
const CLOCK_TOLERANCE_MS = 120_000;
const USERS = 'tandem.served u';

/**
 * Reads all users served here in one repeatable-read transaction and hands them to `use` in the byte order of their
 * names, each once, also those without rows. `signal` of the reading ends when its time is over. One reading per
 * customer at a time.
 *
 * Fails with `snapshot-running`, `snapshot-too-slow`, `database-wrong`, `database-refused`, `database-unreachable`,
 * `clock-wrong`.
 */
export async function readServed<T>(
  request: ReadRequest,
  use: (
    point: ReadPoint,
    records: AsyncIterable<UserRecord>,
    counts: SnapshotCounts,
    signal: AbortSignal,
  ) => Promise<T>,
): Promise<T> {
  const { database, customer, maxAgeMs } = request;
  const age = AbortSignal.timeout(maxAgeMs);
  const signal = AbortSignal.any([age, request.signal]);
  try {
    return await database.transaction(async (client) => {
      // Also without us: a worker that vanished must not leave a transaction open.
      for (const limit of ['idle_in_transaction_session_timeout', 'statement_timeout']) {
        await client.query(`set local ${limit} = ${Math.ceil(maxAgeMs)}`);
      }
      const point = await openReading(client, request);
      const counts = noCounts();
      return use(point, mergeUsers(client, request, counts, signal), counts, signal);
    }, 'isolation level repeatable read read only');
  } catch (error) {
    request.signal.throwIfAborted();
    if (age.aborted) {
      throw failure(
        'snapshot-too-slow',
        `${database.name}: reading and storing ${customer} took longer than ${Math.round(maxAgeMs / 1000)} s`,
      );
    }
    throw error;
  }
}

async function openReading(client: PoolClient, request: ReadRequest): Promise<ReadPoint> {
  const { database, customer, site } = request;
  const { rows: locks } = await client.query<{ free: boolean }>(
    `select pg_try_advisory_xact_lock(hashtextextended('tandem snapshot ' || $1, 0)) as free`,
    [customer],
  );
  if (!locks[0]?.free) throw failure('snapshot-running', `${database.name}: a snapshot of ${customer} is being taken`);
  await requireIdentity(client, customer, site);
  const { schema, postgres } = await describeTables(client, database.name);
  const { rows } = await client.query<{
    at: Date;
    wal: string;
    epoch: string | null;
    ownerless: string;
    closed: boolean;
  }>(
    `select case when pg_is_in_recovery() then coalesce(least(pg_last_xact_replay_timestamp(), now()), now()) else now() end as at,
            case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end::text as wal,
            (select number from tandem.epoch where customer = $1)::text as epoch,
            (select count(*) from privacy_list_data where id is null)::text as ownerless,
            exists (select from tandem.home) and not exists (select from tandem.served) as closed`,
    [customer],
  );
  const [row] = rows;
  if (!row || row.epoch === null) throw failure('database-wrong', `${database.name}: no epoch of ${customer}`);
  // An empty snapshot of a closed site would be the newest one, and cover nobody.
  if (row.closed)
    throw failure('serves-nobody', `${database.name}: serves no user of ${customer} under epoch ${row.epoch}`);
  const aheadMs = row.at.getTime() - Date.now();
  if (aheadMs > CLOCK_TOLERANCE_MS) {
    throw failure('clock-wrong', `${database.name}: its clock is ${Math.round(aheadMs / 1000)} s ahead, limit 120 s`);
  }
  const point = row.at.toISOString();
  return { point, epoch: Number(row.epoch), wal: row.wal, schema, postgres, ownerless: Number(row.ownerless) };
}

/** Joins the sorted answers of one cursor per row kind to the sorted list of users. */
async function* mergeUsers(
  client: PoolClient,
  request: ReadRequest,
  counts: SnapshotCounts,
  signal: AbortSignal,
): AsyncGenerator<UserRecord> {
  const users = await Cursor.open(
    client,
    'users',
    `select u.username from ${USERS} order by u.username collate "C"`,
    signal,
  );
  const kinds: { query: RowQuery; cursor: Cursor }[] = [];
  for (const query of rowQueries) {
    const sql = `${query.sql(USERS)} order by u.username collate "C"`;
    kinds.push({ query, cursor: await Cursor.open(client, query.kind, sql, signal) });
  }
  for (;;) {
    const username = (await users.next())?.[0];
    if (username === undefined || username === null) break;
    const rows = noRows();
    for (const { query, cursor } of kinds) {
      for (let row = await cursor.peek(); row?.[0] === username; row = await cursor.peek()) {
        rows[query.kind].push(query.row(row));
        cursor.skip();
      }
    }
    count(counts, rows);
    yield makeRecord(username, rows, request.keys);
  }
  for (const { query, cursor } of kinds) {
    if (await cursor.peek()) {
      throw failure(
        'database-refused',
        `${request.database.name}: rows of kind ${query.kind} in another order than asked`,
      );
    }
  }
}

/** A server-side cursor, read in bounded steps. */
class Cursor {
  private readonly client: PoolClient;
  private readonly name: string;
  private readonly signal: AbortSignal;
  private rows: Row[] = [];
  private at = 0;
  private done = false;

  private constructor(client: PoolClient, name: string, signal: AbortSignal) {
    this.client = client;
    this.name = name;
    this.signal = signal;
  }

  static async open(client: PoolClient, name: string, sql: string, signal: AbortSignal): Promise<Cursor> {
    await client.query(`declare ${name} no scroll cursor for ${sql}`);
    return new Cursor(client, name, signal);
  }

  /** The row at hand, without taking it. */
  async peek(): Promise<Row | undefined> {
    if (this.at === this.rows.length && !this.done) await this.fetch();
    return this.rows[this.at];
  }

  skip(): void {
    this.at += 1;
  }

  async next(): Promise<Row | undefined> {
    const row = await this.peek();
    this.skip();
    return row;
  }

  private async fetch(): Promise<void> {
    this.signal.throwIfAborted();
    const text = `fetch ${FETCH_ROWS} from ${this.name}`;
    this.rows = (await this.client.query<Row>({ text, rowMode: 'array', types: asText })).rows;
    this.at = 0;
    this.done = this.rows.length < FETCH_ROWS;
  }
}
