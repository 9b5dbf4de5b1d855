import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { SnapshotCounts, Timestamp } from '../../workflows/model/snapshots.ts';
import type { Keyring } from '../settings.ts';
import type { PackRecord } from '../vault/frames.ts';
import { AROUND_DAMAGE, fromReadable, type Readable } from './damaged-pages.ts';
import type { Database } from './database.ts';
import { digestsOf, type Digests } from './digests.ts';
import { readMoment, type Moment } from './horizon.ts';
import { readHead, type LedgerHead } from './ledger.ts';
import { requireIdentity } from './prepare.ts';
import { readAll } from './read-all.ts';
import { readChanged } from './read-changed.ts';
import { readNew } from './read-new.ts';
import { describeTables } from './tables.ts';
import type { Column, Users } from './users.ts';

/** The world at the moment that a reading shows. */
export interface ReadPoint {
  /** Start of the read transaction by the database's clock; on a replica, the newest transaction it had replayed. */
  point: Timestamp;
  epoch: number;
  /** The id that the database was given when it was prepared. */
  database: string;
  wal: string;
  schema: string;
  postgres: number;
  ownerless: number;
}

export interface ReadRequest {
  database: Database;
  customer: string;
  site: string;
  keys: Keyring;
  /** Users with a home in one of these, whoever serves them; when left out, the users served here. */
  halves?: readonly string[];
  /** Of a disk that was damaged: nothing else of the tables is read, and no digest is made. */
  readable?: Readable;
  /** The reading is ended after this time, so that it never holds back vacuum. ms. */
  maxAgeMs: number;
  signal: AbortSignal;
}

/** Users read in one transaction. Numbers of users are those of `users`. */
export interface ReadUsers {
  users: Users;
  /** The record of each of these users, in the order of their numbers. Its bytes are lent until the next is asked for. */
  records: AsyncIterable<{ user: number; record: PackRecord }>;
  /** What the ledger says of them as users served here; 16 bytes. */
  known: Column;
  knownDigests: Column;
  /** As they stand in the database; 20 bytes. Whole once all records were read. */
  digests: Column;
  /** How many rows these are made of, and what the ledger says of that; as `packCounts` makes them. Whole with the digests. */
  rowCounts: Column;
  knownRowCounts: Column;
  /** Rows of each kind, of all users. Null when the ledger will not have the counts of everybody served here. Whole with the digests. */
  allRows: number[] | null;
  /** How those who differ were found. */
  by: 'digests' | 'new-rows';
  /** Users whom the ledger knows as served here, and who no longer are. */
  gone: { username: string; recordId: Buffer }[];
  /** Of all users served here. Whole once all records were read. */
  counts: SnapshotCounts;
}

/** A read transaction that stands. */
export interface Reading {
  point: ReadPoint;
  /** The snapshot that the ledger's entries of this site agree with; null when they cannot be trusted. */
  head: LedgerHead | null;
  /** Ends when the reading's time is over. */
  signal: AbortSignal;
  /** Where the next reading may begin to look; null when rows cannot be told by that. */
  moment: Moment | null;
  /** Every user served here, in the byte order of the names. */
  all(): Promise<ReadUsers>;
  /** Those whose digest differs from the ledger's. */
  changed(): Promise<ReadUsers>;
  /** The same, without a look into rows that the ledger's snapshot has seen; all are digested where that cannot be told. */
  changedLately(): Promise<ReadUsers>;
}

/** What the ways of reading share. */
export interface ReadContext {
  request: ReadRequest;
  client: PoolClient;
  digests: Digests;
  moment: Moment | null;
  signal: AbortSignal;
}

/** A clock that runs ahead would make recovery points look younger than they are (VAULT, rule 6). */
const CLOCK_TOLERANCE_MS = 120_000;

/**
 * Opens one repeatable-read transaction on the users served here, for as long as `use` runs. `signal` of the reading
 * ends when its time is over. One reading per customer at a time.
 *
 * Fails with `snapshot-running`, `snapshot-too-slow`, `serves-nobody`, `database-wrong`, `database-refused`,
 * `database-unreachable`, `database-damaged`, `clock-wrong`.
 */
export async function readServed<T>(request: ReadRequest, use: (reading: Reading) => Promise<T>): Promise<T> {
  const { database, customer, maxAgeMs, keys } = request;
  const age = AbortSignal.timeout(maxAgeMs);
  const signal = AbortSignal.any([age, request.signal]);
  try {
    return await database.transaction(async (client) => {
      await limitReading(client, maxAgeMs, request.readable !== undefined);
      const point = await openReading(client, request);
      const digests = digestsOf(keys, point.postgres);
      const moment = await readMoment(client);
      const context: ReadContext = { request, client, digests, moment, signal };
      const head = await readHead(client, customer, digests);
      return use({
        point,
        head,
        signal,
        moment,
        all: () => readAll(context),
        changed: () => readChanged(context),
        changedLately: async () => (await readNew(context)) ?? readChanged(context),
      });
    }, READ_ONLY);
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

export const READ_ONLY = 'isolation level repeatable read read only';

/** Limits that hold also without us: a worker that vanished must not leave a transaction open. */
export async function limitReading(client: PoolClient, maxAgeMs: number, aroundDamage = false): Promise<void> {
  for (const limit of ['idle_in_transaction_session_timeout', 'statement_timeout']) {
    await client.query(`set local ${limit} = ${Math.ceil(maxAgeMs)}`);
  }
  // A customer's rows lie all over the tables: reading them one by one, by index, is ten times slower than all at once.
  await client.query('set local enable_nestloop = off');
  await client.query('set local jit = off');
  if (aroundDamage) await client.query(AROUND_DAMAGE);
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
    database: string;
    epoch: string | null;
    ownerless: string;
    closed: boolean;
  }>(
    `select case when pg_is_in_recovery() then coalesce(least(pg_last_xact_replay_timestamp(), now()), now()) else now() end as at,
            case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end::text as wal,
            (select id from tandem.identity)::text as database,
            (select number from tandem.epoch where customer = $1)::text as epoch,
            (select count(*) from ${fromReadable('privacy_list_data d', request.readable)} where d.id is null)::text as ownerless,
            exists (select from tandem.home) and not exists (select from tandem.served) as closed`,
    [customer],
  );
  const [row] = rows;
  if (!row || row.epoch === null) throw failure('database-wrong', `${database.name}: no epoch of ${customer}`);
  // An empty snapshot of a closed site would be the newest one, and cover nobody.
  if (row.closed && !request.halves)
    throw failure('serves-nobody', `${database.name}: serves no user of ${customer} under epoch ${row.epoch}`);
  const aheadMs = row.at.getTime() - Date.now();
  if (aheadMs > CLOCK_TOLERANCE_MS) {
    throw failure('clock-wrong', `${database.name}: its clock is ${Math.round(aheadMs / 1000)} s ahead, limit 120 s`);
  }
  const point = row.at.toISOString();
  const { wal, database: databaseId } = row;
  const numbers = { epoch: Number(row.epoch), ownerless: Number(row.ownerless) };
  return { point, ...numbers, database: databaseId, wal, schema, postgres };
}
