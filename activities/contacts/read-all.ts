import type { PoolClient } from 'pg';
import { keyOf } from '../vault/keys.ts';
import { ID_BYTES } from '../vault/macs.ts';
import type { BuiltRecords } from '../vault/record-builder.ts';
import type { PackRecord } from '../vault/frames.ts';
import { kinds } from '../vault/record-rows.ts';
import { noCounts } from '../vault/record.ts';
import { OneThread } from './collect.ts';
import { copyOut } from './copy.ts';
import { fromReadable, type Readable } from './damaged-pages.ts';
import { DIGEST_BYTES, digestSql, emptyDigest } from './digests.ts';
import { partingOf } from './gather.ts';
import { readGone } from './ledger.ts';
import { limitReading, READ_ONLY, type ReadContext, type ReadUsers } from './reader.ts';
import { ReadingThreads, type ThreadsStart } from './reading-threads.ts';
import { rowQueries } from './rows.ts';
import { countsOf, packCounts, ROW_COUNTS_BYTES, rowCountFields } from './row-counts.ts';
import { tupleFields } from './tuples.ts';
import { Column, Users } from './users.ts';

/** Below so many bytes of tables, threads would cost more than they save. */
const THREADS_FROM = 32 << 20;
/** Tables are read in pieces of about this size, so that the lanes end together. */
const PIECE_BYTES = 16 << 20;
const MOST_PIECES = 64;
/** PostgreSQL 14 reads a range of pages without the rest. */
const PAGE_RANGES = 140_000;
/** When fewer of the known users than this are served here, the server leaves out the rows of the others. */
const MOSTLY = 0.75;

/** A piece of work for a lane. */
interface Part {
  kind: number;
  sql: string;
}

/** Where rows are brought together. */
interface Gatherer {
  /** COPYs at once. */
  readonly lanes: number;
  begin(start: ThreadsStart): void;
  copy(lane: number, client: PoolClient, sql: string, kind: number, signal: AbortSignal): Promise<void>;
  /** To be called when all rows were copied. Answers how many there were of each kind. */
  end(): Promise<number[]>;
  /** The records of all users, in the order of their numbers. What is given is lent until the next is asked for. */
  parts(): AsyncIterable<BuiltRecords>;
  close(): Promise<void>;
}

/**
 * Reads every user served here, or those of the halves that are asked for. The tables are read as they lie, by connections that share one point in time, and the
 * rows of each user are brought together here: the server sorts nothing. Large tables are read and put into records on
 * threads. The bytes of a record are lent until the next is asked for.
 */
export async function readAll(context: ReadContext): Promise<ReadUsers> {
  const { client, request } = context;

  const tables = await sizeTables(client);
  const bytes = tables.reduce((sum, table) => sum + table.bytes, 0);
  const key = keyOf(request.keys, request.keys.current, 'reading');
  const gatherer: Gatherer = bytes < THREADS_FROM ? new OneThread() : new ReadingThreads();
  try {
    const { users, known, knownDigests, knownRowCounts, homes } = await readNames(context);
    const some = users.length < MOSTLY * homes;
    gatherer.begin({ users, parting: partingOf(users.length, some ? (bytes * users.length) / homes : bytes), key });

    const only = some ? readFrom(client, request) : null;
    await inLanes(context, gatherer, request.readable ? partsLeft(request.readable, only) : planParts(tables, only));

    const counts = { ...noCounts(), users: users.length };
    for (const [kind, rows] of (await gatherer.end()).entries()) counts[kinds[kind]?.count ?? 'contacts'] = rows;

    const gone = await readGone(client, request.site);
    // The server has nothing else to do while the rows are put into packs here.
    const digests = new Column(DIGEST_BYTES);
    const rowCounts = new Column(ROW_COUNTS_BYTES);
    const allRows = rowQueries.map(() => 0);
    const digesting = request.readable
      ? Promise.resolve()
      : readDigests(context, users, { digests, rowCounts, allRows });
    digesting.catch(() => undefined); // It is awaited when the records end.
    return {
      users,
      records: recordsOf(context, gatherer, digesting),
      known,
      knownDigests,
      digests,
      rowCounts,
      knownRowCounts,
      allRows: request.readable ? null : allRows,
      by: 'digests',
      gone,
      counts,
    };
  } catch (error) {
    await gatherer.close();
    throw error;
  }
}

/** Those users in the byte order of their names, and what the ledger says of those it knows as served here. */
async function readNames({ client, request, signal }: ReadContext): Promise<{
  users: Users;
  known: Column;
  knownDigests: Column;
  knownRowCounts: Column;
  homes: number;
}> {
  const users = new Users();
  const known = new Column(ID_BYTES);
  const knownDigests = new Column(DIGEST_BYTES);
  const knownRowCounts = new Column(ROW_COUNTS_BYTES);
  const sql = `select s.username, l.record_id, l.digest, ${rowCountFields('l')} from ${readFrom(client, request)} s
    left join tandem.ledger l on l.username = s.username and l.served_by = ${client.escapeLiteral(request.site)}
    order by s.username collate "C"`;
  await copyOut(client, sql, {
    signal,
    onTuple: (buffer, name, nameEnd) => {
      const user = users.add(buffer, name, nameEnd);
      const [recordId, digest, ...rows] = tupleFields(buffer, nameEnd, 2 + rowQueries.length);
      const counts = countsOf(rows);
      if (counts) knownRowCounts.set(user, packCounts(counts));
      if (recordId) known.set(user, recordId);
      if (digest) knownDigests.set(user, digest);
    },
  });
  const { rows } = await client.query<{ homes: string }>('select count(*)::text as homes from tandem.home');
  return { users, known, knownDigests, knownRowCounts, homes: Number(rows[0]?.homes ?? 0) };
}

interface Table {
  bytes: number;
  pages: number;
  /** Pieces that it can be read in at once. */
  pieces: number;
}

async function sizeTables(client: PoolClient): Promise<Table[]> {
  const { rows } = await client.query<{ bytes: string; pages: string; version: string }>(
    `select pg_table_size(t::regclass)::text as bytes, current_setting('server_version_num') as version,
            (pg_relation_size(t::regclass) / current_setting('block_size')::int)::text as pages
       from unnest($1::text[]) with ordinality u (t, n) order by n`,
    [rowQueries.map(({ table }) => table)],
  );
  return rows.map(({ bytes, pages, version }) => {
    // Older servers step through a whole table to find the rows of some of its pages.
    const most = Number(version) < PAGE_RANGES ? 2 : MOST_PIECES;
    const pieces = Math.max(1, Math.min(most, Math.floor(Number(bytes) / PIECE_BYTES)));
    return { bytes: Number(bytes), pages: Number(pages), pieces };
  });
}

/** The users that are read. */
function readFrom(client: PoolClient, { halves }: ReadContext['request']): string {
  if (!halves) return 'tandem.served';
  return `(select username from tandem.home where site in (${halves.map((half) => client.escapeLiteral(half)).join(', ')}))`;
}

/** Pieces of tables, largest first; `only`: rows of these users, and no others. */
function planParts(tables: readonly Table[], only: string | null): Part[] {
  const parts: (Part & { size: number })[] = [];
  for (const [kind, query] of rowQueries.entries()) {
    const { bytes, pages, pieces } = tables[kind] ?? { bytes: 0, pages: 0, pieces: 1 };
    const served = only === null ? '' : ` and exists (select from ${only} s where s.username = ${query.user})`;
    for (let piece = 0; piece < pieces; piece += 1) {
      const page = (n: number): number => Math.floor((n * pages) / pieces);
      const from = piece === 0 ? 'true' : `${query.alias}.ctid >= '(${page(piece)},0)'`;
      // The last one has no end: the table may have grown.
      const to = piece === pieces - 1 ? '' : ` and ${query.alias}.ctid < '(${page(piece + 1)},0)'`;
      const sql = `select ${query.user}, ${query.columns} from ${query.from} where ${from}${to}${served}`;
      parts.push({ kind, sql, size: bytes / pieces });
    }
  }
  return parts.toSorted((a, b) => b.size - a.size);
}

/** What of the tables can be read, a piece each. */
function partsLeft(readable: Readable, only: string | null): Part[] {
  return rowQueries.map(({ user, columns, from }, kind) => {
    const served = only === null ? '' : ` where exists (select from ${only} s where s.username = ${user})`;
    return { kind, sql: `select ${user}, ${columns} from ${fromReadable(from, readable)}${served}` };
  });
}

/** Works through the parts on this connection and on others, which see the same point in time. */
async function inLanes({ client, request, signal }: ReadContext, gatherer: Gatherer, parts: Part[]): Promise<void> {
  const other = new AbortController();
  const all = AbortSignal.any([signal, other.signal]);
  const lane = async (number: number, on: PoolClient): Promise<void> => {
    try {
      for (let part = parts.shift(); part; part = parts.shift()) {
        await gatherer.copy(number, on, part.sql, part.kind, all);
      }
    } catch (error) {
      other.abort(error); // One lane without the others is worth nothing.
      throw error;
    }
  };
  const { rows } = await client.query<{ snapshot: string }>('select pg_export_snapshot() as snapshot');
  const others = Array.from({ length: gatherer.lanes - 1 }, (_, i) =>
    request.database.transaction(async (on) => {
      await on.query(`set transaction snapshot ${on.escapeLiteral(rows[0]?.snapshot ?? '')}`);
      await limitReading(on, request.maxAgeMs, request.readable !== undefined);
      await lane(i + 1, on);
    }, READ_ONLY),
  );
  const ends = await Promise.allSettled([lane(0, client), ...others]);
  signal.throwIfAborted();
  for (const end of ends) if (end.status === 'rejected') throw other.signal.reason ?? end.reason;
}

async function readDigests(
  { client, digests, signal }: ReadContext,
  users: Users,
  into: { digests: Column; rowCounts: Column; allRows: number[] },
): Promise<void> {
  const none = emptyDigest(digests);
  const noRows = packCounts(rowQueries.map(() => 0));
  for (let user = 0; user < users.length; user += 1) {
    into.digests.set(user, none);
    into.rowCounts.set(user, noRows);
  }
  const columns = rowQueries.map(({ kind }) => kind).join(', ');
  await copyOut(client, `select username, digest, ${columns} from (${digestSql(digests)}) d`, {
    signal,
    onTuple: (buffer, name, nameEnd) => {
      const user = users.find(buffer, name, nameEnd);
      const [digest, ...rows] = tupleFields(buffer, nameEnd, 1 + rowQueries.length);
      const counts = countsOf(rows) ?? [];
      for (const [kind, count] of counts.entries()) into.allRows[kind] = (into.allRows[kind] ?? 0) + count;
      if (user < 0 || !digest) return;
      into.digests.set(user, digest);
      into.rowCounts.set(user, packCounts(counts));
    },
  });
}

async function* recordsOf(
  { signal }: ReadContext,
  gatherer: Gatherer,
  digesting: Promise<void>,
): AsyncGenerator<{ user: number; record: PackRecord }> {
  try {
    let user = 0;
    for await (const { bytes, places, userKeys, recordIds } of gatherer.parts()) {
      signal.throwIfAborted();
      const room = Buffer.from(bytes.buffer);
      for (let n = 0; 2 * n < places.length; n += 1) {
        const idOf = (ids: Uint8Array<ArrayBuffer>): Buffer => Buffer.from(ids.buffer, n * ID_BYTES, ID_BYTES);
        const record = room.subarray(places[2 * n], places[2 * n + 1]);
        yield { user, record: { userKey: idOf(userKeys), recordId: idOf(recordIds), bytes: record } };
        user += 1;
      }
    }

    await digesting;
  } finally {
    await gatherer.close();
  }
}
