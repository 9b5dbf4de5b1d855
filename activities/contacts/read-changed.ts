import type { SnapshotCounts } from '../../workflows/model/snapshots.ts';
import { packRecord, type PackRecord } from '../vault/frames.ts';
import { keyOf, recordKeys } from '../vault/keys.ts';
import { kinds } from '../vault/record-rows.ts';
import { makeRecord, noCounts, noRows } from '../vault/record.ts';
import { copyOut } from './copy.ts';
import { DIGEST_BYTES, digestSql, emptyDigest } from './digests.ts';
import { readGone } from './ledger.ts';
import type { ReadContext, ReadUsers } from './reader.ts';
import { readUsers, rowQueries } from './rows.ts';
import { countsOf, packCounts, ROW_COUNTS_BYTES, rowCountArray } from './row-counts.ts';
import { tupleFields } from './tuples.ts';
import { Column, Users } from './users.ts';

/** Users whose rows are read in one statement. */
const BATCH_USERS = 500;
const ID_BYTES = 16;

/** Reads the users whose digest is not the one in the ledger: the server reads all rows, and sends a few. */
export async function readChanged(context: ReadContext): Promise<ReadUsers> {
  const { client, request, signal, digests } = context;
  const users = new Users();
  const known = new Column(ID_BYTES);
  const column = new Column(DIGEST_BYTES);
  // Two answers from one look at the rows; it lives as long as this transaction, which writes nothing that lasts.
  const site = client.escapeLiteral(request.site);
  const none = `'\\x${emptyDigest(digests).toString('hex')}'::bytea`;
  const rows = rowQueries.map(({ kind }) => `d.${kind}`).join(', ');
  const all = `with e as materialized (${digestSql(digests)}), d as materialized (
      select s.username, coalesce(d.digest, ${none}) as digest, l.record_id, l.digest as known,
             (l.digest = coalesce(d.digest, ${none})) is true and l.rows is distinct from ${rowCountArray('d')} as uncounted, ${rows}
        from tandem.served s left join e d using (username)
        left join tandem.ledger l on l.username = s.username and l.served_by = ${site})`;
  const sums = rowQueries.map(({ kind }) => `coalesce(sum(${kind}), 0)::text`).join(', ');
  const counts = noCounts();
  const rowCounts = new Column(ROW_COUNTS_BYTES);
  let allRows: number[] | null = null;
  await copyOut(
    client,
    `${all} select '' as username, null::bytea, null::bytea,
            array_to_string(array[count(*)::text, ${sums}, count(*) filter (where uncounted)::text] || (select array[${sums}] from e), ' '),
            ${rowQueries.map(() => 'null::bigint').join(', ')} from d
     union all
     select d.username, d.digest, d.record_id, null, ${rowQueries.map(({ kind }) => `coalesce(d.${kind}, 0)`).join(', ')}
       from d where d.known is distinct from d.digest`,
    {
      signal,
      onTuple: (buffer, name, nameEnd) => {
        const [digest, recordId, totals, ...rowsOf] = tupleFields(buffer, nameEnd, 3 + rowQueries.length);
        if (totals) {
          const sum = totals.toString('latin1').split(' ').map(Number);
          setCounts(counts, sum);
          // An entry whose digest is right and whose counts are not stays as it is until every user is read.
          if (sum[1 + rowQueries.length] === 0) allRows = sum.slice(2 + rowQueries.length);
        }
        if (!digest) return;
        const user = users.add(buffer, name, nameEnd);
        column.set(user, digest);
        rowCounts.set(user, packCounts(countsOf(rowsOf) ?? []));
        if (recordId) known.set(user, recordId);
      },
    },
  );
  const gone = await readGone(client, request.site);
  return {
    users,
    records: readInBatches(context, users),
    known,
    knownDigests: new Column(DIGEST_BYTES), // Other ones, or they would not have been read.
    digests: column,
    rowCounts,
    knownRowCounts: new Column(ROW_COUNTS_BYTES),
    allRows,
    by: 'digests',
    gone,
    counts,
  };
}

function setCounts(counts: SnapshotCounts, [users = 0, ...rows]: number[]): void {
  counts.users = users;
  for (const [i, { count }] of kinds.entries()) counts[count] = rows[i] ?? 0;
}

export async function* readInBatches(
  { client, request, signal }: ReadContext,
  users: Users,
): AsyncGenerator<{ user: number; record: PackRecord }> {
  const keys = recordKeys(keyOf(request.keys, request.keys.current, 'reading'));
  // A few users are found by index; limits of the reading as a whole would have every table read for each batch.
  await client.query('set local enable_nestloop = on');
  for (let first = 0; first < users.length; first += BATCH_USERS) {
    signal.throwIfAborted();
    const length = Math.min(BATCH_USERS, users.length - first);
    const names = Array.from({ length }, (_, i) => users.name(first + i).toString('utf8'));
    const found = await readUsers(client, names);
    for (const [i, name] of names.entries()) {
      yield { user: first + i, record: packRecord(makeRecord(name, found.get(name) ?? noRows(), keys), keys) };
    }
  }
}
