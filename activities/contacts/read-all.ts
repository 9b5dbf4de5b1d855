import type { PoolClient } from 'pg';
import { keyOf, recordKeys } from '../vault/keys.ts';
import { RecordBuilder } from '../vault/record-builder.ts';
import { kinds } from '../vault/record-rows.ts';
import { noCounts, type UserRecord } from '../vault/record.ts';
import { copyOut } from './copy.ts';
import { DIGEST_BYTES, digestSql, emptyDigest } from './digests.ts';
import { Gathering } from './gather.ts';
import { readGone } from './ledger.ts';
import { limitReading, READ_ONLY, type ReadContext, type ReadUsers } from './reader.ts';
import { rowQueries, type RowQuery } from './rows.ts';
import { tupleFields } from './tuples.ts';
import { Column, Users } from './users.ts';

/** A table larger than this is read in two parts at once. */
const SPLIT_BYTES = 16 << 20;
/** When fewer of the known users than this are served here, the server leaves out the rows of the others. */
const MOSTLY = 0.75;
const ID_BYTES = 16;

/** A piece of work for a lane. */
interface Part {
  kind: number;
  query: RowQuery;
  where: string;
}

/**
 * Reads every user served here. The tables are read as they lie, by two connections that share one point in time, and
 * the rows of each user are brought together here: the server sorts nothing.
 */
export async function readAll(context: ReadContext): Promise<ReadUsers> {
  const { client, request } = context;
  const { users, known, knownDigests, homes } = await readNames(context);
  const some = users.length < MOSTLY * homes;
  const { parts, bytes } = await planParts(client, some);
  const gathering = new Gathering(users.length, some ? (bytes * users.length) / homes : bytes);
  const counts = { ...noCounts(), users: users.length };
  try {
    await inTwoLanes(context, parts, (on, { kind, query, where }, signal) =>
      copyOut(on, `select ${query.user}, ${query.columns} from ${query.from} where ${where}`, {
        signal,
        onTuple: (buffer, name, nameEnd, end) => {
          const user = users.find(buffer, name, nameEnd);
          const count = kinds[kind]?.count;
          if (user < 0 || !count) return;
          counts[count] += 1;
          gathering.add(user, kind, buffer, nameEnd, end);
        },
        settle: () => gathering.settle(),
      }),
    );
    const gone = await readGone(client, request.site);
    // The server has nothing else to do while the rows are put into packs here.
    const digests = new Column(DIGEST_BYTES);
    const digesting = readDigests(context, users, digests);
    digesting.catch(() => undefined); // It is awaited when the records end.
    const records = gathered(context, users, gathering, digesting);
    return { users, records, known, knownDigests, digests, gone, counts };
  } catch (error) {
    await gathering.close();
    throw error;
  }
}

/** Users served here in the byte order of their names, and what the ledger says of those it knows as served here. */
async function readNames({ client, request, signal }: ReadContext): Promise<{
  users: Users;
  known: Column;
  knownDigests: Column;
  homes: number;
}> {
  const users = new Users();
  const known = new Column(ID_BYTES);
  const knownDigests = new Column(DIGEST_BYTES);
  const sql = `select s.username, l.record_id, l.digest from tandem.served s
    left join tandem.ledger l on l.username = s.username and l.served_by = ${client.escapeLiteral(request.site)}
    order by s.username collate "C"`;
  await copyOut(client, sql, {
    signal,
    onTuple: (buffer, name, nameEnd) => {
      const user = users.add(buffer, name, nameEnd);
      const [recordId, digest] = tupleFields(buffer, nameEnd, 2);
      if (recordId) known.set(user, recordId);
      if (digest) knownDigests.set(user, digest);
    },
  });
  const { rows } = await client.query<{ homes: string }>('select count(*)::text as homes from tandem.home');
  return { users, known, knownDigests, homes: Number(rows[0]?.homes ?? 0) };
}

/** Parts of about equal size, largest first; `some`: only rows of users served here. `bytes`: about what all rows have. */
async function planParts(client: PoolClient, some: boolean): Promise<{ parts: Part[]; bytes: number }> {
  const { rows } = await client.query<{ bytes: string; pages: string }>(
    `select pg_relation_size(t::regclass)::text as bytes, (pg_relation_size(t::regclass) / current_setting('block_size')::int)::text as pages
       from unnest($1::text[]) with ordinality u (t, n) order by n`,
    [rowQueries.map(({ table }) => table)],
  );
  const parts: (Part & { size: number })[] = [];
  for (const [kind, query] of rowQueries.entries()) {
    const size = Number(rows[kind]?.bytes ?? 0);
    const middle = Math.floor(Number(rows[kind]?.pages ?? 0) / 2);
    const served = some ? ` and exists (select from tandem.served s where s.username = ${query.user})` : '';
    const halves = [`${query.alias}.ctid < '(${middle},0)'`, `${query.alias}.ctid >= '(${middle},0)'`];
    for (const half of size > SPLIT_BYTES ? halves : ['true']) {
      parts.push({ kind, query, where: half + served, size: size > SPLIT_BYTES ? size / 2 : size });
    }
  }
  return {
    parts: parts.toSorted((a, b) => b.size - a.size),
    bytes: rows.reduce((sum, row) => sum + Number(row.bytes), 0),
  };
}

/** Works through the parts on this connection and on a second one, which sees the same point in time. */
async function inTwoLanes(
  { client, request, signal }: ReadContext,
  parts: readonly Part[],
  work: (on: PoolClient, part: Part, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const waiting = [...parts];
  const other = new AbortController();
  const both = AbortSignal.any([signal, other.signal]);
  const lane = async (on: PoolClient): Promise<void> => {
    try {
      for (let part = waiting.shift(); part; part = waiting.shift()) await work(on, part, both);
    } catch (error) {
      other.abort(error); // One lane without the other is worth nothing.
      throw error;
    }
  };
  const { rows } = await client.query<{ snapshot: string }>('select pg_export_snapshot() as snapshot');
  const second = request.database.transaction(async (on) => {
    await on.query(`set transaction snapshot ${on.escapeLiteral(rows[0]?.snapshot ?? '')}`);
    await limitReading(on, request.maxAgeMs);
    await lane(on);
  }, READ_ONLY);
  const ends = await Promise.allSettled([lane(client), second]);
  signal.throwIfAborted();
  for (const end of ends) if (end.status === 'rejected') throw other.signal.reason ?? end.reason;
}

async function readDigests({ client, digests, signal }: ReadContext, users: Users, into: Column): Promise<void> {
  const none = emptyDigest(digests);
  for (let user = 0; user < users.length; user += 1) into.set(user, none);
  await copyOut(client, `select username, digest from (${digestSql(digests)}) d`, {
    signal,
    onTuple: (buffer, name, nameEnd, end) => {
      const user = users.find(buffer, name, nameEnd);
      if (user >= 0) into.set(user, buffer.subarray(nameEnd + 4, end));
    },
  });
}

async function* gathered(
  { request, signal }: ReadContext,
  users: Users,
  gathering: Gathering,
  digesting: Promise<void>,
): AsyncGenerator<{ user: number; record: UserRecord }> {
  const builder = new RecordBuilder(recordKeys(keyOf(request.keys, request.keys.current, 'reading')));
  try {
    for await (const { user, rows, starts, ends } of gathering.byUser()) {
      signal.throwIfAborted();
      yield { user, record: builder.build(users.name(user), rows, starts, ends) };
    }
    await digesting;
  } finally {
    await gathering.close();
  }
}
