import { noCounts } from '../vault/record.ts';
import { kinds } from '../vault/record-rows.ts';
import { copyOut } from './copy.ts';
import { DIGEST_BYTES, digestSql, emptyDigest } from './digests.ts';
import { newestAge, readHorizon } from './horizon.ts';
import { readInBatches } from './read-changed.ts';
import type { ReadContext, ReadRequest, ReadUsers } from './reader.ts';
import { countsOf, packCounts, ROW_COUNTS_BYTES, rowCountArray, rowCountFields } from './row-counts.ts';
import { rowQueries } from './rows.ts';
import { tupleFields } from './tuples.ts';
import { Column, Users } from './users.ts';

const ID_BYTES = 16;
/** When more of the users than this may differ, all are digested: these would be by index. */
const FEW = 0.05;
/** So many are always few. */
const ALWAYS_FEW = 2000;

/** What a look needs. */
export interface Look extends Pick<ReadContext, 'client' | 'digests' | 'moment' | 'signal'> {
  request: Pick<ReadRequest, 'customer' | 'site'>;
}

/** How many rows of each kind somebody has. */
type RowCounts = number[];

interface Seen {
  /** Rows of each kind that are not new, of all users. */
  old: RowCounts;
  /** New rows of each kind, by user, served here or not. */
  fresh: Map<string, RowCounts>;
}

const zeros = (): RowCounts => rowQueries.map(() => 0);

/** Reads the users who may differ from the ledger; null where `whoMayDiffer` cannot tell them. */
export async function readNew(context: ReadContext): Promise<ReadUsers | null> {
  const looked = await whoMayDiffer(context);
  return looked && gather(context, looked);
}

/** Users served here who are not as the ledger has them; null where `whoMayDiffer` cannot tell them. */
export async function notAsTaken(look: Look): Promise<Set<string> | null> {
  const looked = await whoMayDiffer(look);
  return looked && new Set([...looked.found].filter(([, now]) => !isAsTaken(now)).map(([name]) => name));
}

interface Looked {
  /** Those who may differ, as they stand. */
  found: Map<string, Now>;
  ledger: Vouched;
  seen: Seen;
}

/**
 * Finds users who may differ from the ledger by rows that are new since its snapshot: rows that are not are counted and not
 * looked into. Every row of then is one of now or is missing: when those who have new rows, or are new, do not miss as many as are
 * missing in all, the users who lost some are looked for by the counts of their rows.
 *
 * Null where rows cannot be told by their transactions, and where too many may differ.
 */
async function whoMayDiffer(look: Look): Promise<Looked | null> {
  const { client, request, moment } = look;
  const horizon = await readHorizon(client, request.customer);
  const age = await newestAge(client, horizon, moment);
  if (horizon === null || age === null) return null;
  const seen = await lookForNew(look, age);
  const ledger = await readVouched(look);
  if (ledger.gone) return null;
  const few = Math.max(ALWAYS_FEW, FEW * ledger.users);
  const names = new Set([...seen.fresh.keys(), ...ledger.unknown]);
  if (names.size > few) return null;
  let found = await digestNow(look, [...names]);
  if (!explains(horizon.all, seen, found, ledger.unknown.length > 0)) {
    const lost = await lookForLost(look);
    for (const name of lost) names.add(name);
    if (names.size > few) return null;
    found = await digestNow(look, [...names]);
  }
  return { found, ledger, seen };
}

/** New rows are grouped by user and all rows only counted: grouping those that are not new would take most of the time. */
async function lookForNew({ client, signal }: Look, age: number): Promise<Seen> {
  const seen: Seen = { old: zeros(), fresh: new Map() };
  const all = rowQueries.length;
  const ofKind = rowQueries.flatMap(({ user, from, alias }, kind) => {
    // An item is as new as the newer of its own row and its list's.
    const rows = from.includes(' join ') ? [alias, user.slice(0, user.indexOf('.'))] : [alias];
    const isNew = rows.map((row) => `age(${row}.xmin) <= ${age}`).join(' or ');
    return [
      `select ${user} as username, ${kind}::bigint as kind, count(*) as n from ${from} where ${isNew} group by 1`,
      `select '', ${all + kind}::bigint, count(*) from ${from}`,
    ];
  });
  await copyOut(client, ofKind.join(' union all '), {
    signal,
    onTuple: (buffer, name, nameEnd) => {
      const [kind = 0, n = 0] = countsOf(tupleFields(buffer, nameEnd, 2)) ?? [];
      if (kind >= all) seen.old[kind - all] = n + (seen.old[kind - all] ?? 0);
      else {
        const username = buffer.toString('utf8', name, nameEnd);
        const counts = seen.fresh.get(username) ?? zeros();
        counts[kind] = n;
        seen.fresh.set(username, counts);
        seen.old[kind] = (seen.old[kind] ?? 0) - n;
      }
    },
  });
  return seen;
}

interface Vouched {
  /** Served here. */
  users: number;
  /** Of each kind, by the ledger. */
  rows: RowCounts;
  /** Users of whom the ledger does not say enough. */
  unknown: string[];
  /** Somebody is in the ledger and served here no more. */
  gone: boolean;
}

/** What the ledger says of those who are served here. */
async function readVouched({ client, request, digests }: Look): Promise<Vouched> {
  const values = [request.site, digests.tag];
  const known = `l.digest is not null and substring(l.digest for ${digests.tag.length}) = $2 and cardinality(l.rows) = ${rowQueries.length}`;
  const { rows } = await client.query<{ users: string; rows: string[]; gone: boolean; unknown: string[] }>(
    `select count(*)::text as users, array[${rowQueries.map((_, kind) => `coalesce(sum(l.rows[${kind + 1}]), 0)::text`).join(', ')}] as rows,
            coalesce(array_agg(s.username) filter (where (${known}) is not true), '{}') as unknown,
            exists (select from tandem.ledger g where g.served_by = $1
                     and not exists (select from tandem.served t where t.username = g.username)) as gone
       from tandem.served s left join tandem.ledger l on l.username = s.username and l.served_by = $1`,
    values,
  );
  const [{ users, rows: sums, gone, unknown } = { users: '0', rows: [], gone: true, unknown: [] }] = rows;
  return { users: Number(users), rows: sums.map(Number), gone, unknown };
}

/** A user served here, as he stands now, and as the ledger has him. */
interface Now {
  name: Buffer;
  digest: Buffer;
  rows: RowCounts;
  recordId: Buffer | null;
  knownDigest: Buffer | null;
  knownRows: RowCounts | null;
}

/** Of these, those who are served here. */
async function digestNow({ client, request, digests, signal }: Look, names: string[]): Promise<Map<string, Now>> {
  const found = new Map<string, Now>();
  if (names.length === 0) return found;
  const site = client.escapeLiteral(request.site);
  const none = emptyDigest(digests);
  const of = `(array[${names.map((name) => client.escapeLiteral(name)).join(', ')}]::text[])`;
  await client.query('set local enable_nestloop = on');
  await copyOut(
    client,
    `select s.username, d.digest, l.record_id, l.digest, ${rowQueries.map(({ kind }) => `coalesce(d.${kind}, 0)`).join(', ')}, ${rowCountFields('l')}
       from tandem.served s left join (${digestSql(digests, `username = any${of}`)}) d using (username)
       left join tandem.ledger l on l.username = s.username and l.served_by = ${site}
      where s.username = any${of}`,
    {
      signal,
      onTuple: (buffer, name, nameEnd) => {
        const [digest, recordId, knownDigest, ...counts] = tupleFields(buffer, nameEnd, 3 + 2 * rowQueries.length);
        found.set(buffer.toString('utf8', name, nameEnd), {
          name: Buffer.from(buffer.subarray(name, nameEnd)),
          digest: Buffer.from(digest ?? none),
          recordId: recordId ? Buffer.from(recordId) : null,
          knownDigest: knownDigest ? Buffer.from(knownDigest) : null,
          rows: countsOf(counts.slice(0, rowQueries.length)) ?? zeros(),
          knownRows: countsOf(counts.slice(rowQueries.length)),
        });
      },
    },
  );
  await client.query('set local enable_nestloop = off');
  return found;
}

/** Whether these users miss, of what was there, all that is missing: nobody else has lost a row then. */
function explains(all: RowCounts, { old, fresh }: Seen, found: Map<string, Now>, strangers: boolean): boolean {
  if (strangers || [...fresh.keys()].some((name) => !found.has(name))) return false;
  return all.every((then, kind) => {
    let missing = then - (old[kind] ?? 0);
    for (const [name, { rows, knownRows }] of found) {
      const stayed = (rows[kind] ?? 0) - (fresh.get(name)?.[kind] ?? 0);
      missing -= (knownRows?.[kind] ?? 0) - stayed;
    }
    return missing === 0;
  });
}

/** Users who have not as many rows as the ledger counted. */
async function lookForLost({ client, request }: Look): Promise<string[]> {
  const rows = rowQueries.map(
    ({ user, from }, kind) => `select ${user} as username, ${kind} as kind, count(*) as n from ${from} group by 1`,
  );
  const counts = rowQueries.map(({ kind }, n) => `sum(n) filter (where kind = ${n}) as ${kind}`).join(', ');
  const { rows: lost } = await client.query<{ username: string }>(
    `select s.username from tandem.served s
       left join (select username, ${counts} from (${rows.join(' union all ')}) r group by username) d using (username)
       left join tandem.ledger l on l.username = s.username and l.served_by = $1
      where l.rows is distinct from ${rowCountArray('d')}`,
    [request.site],
  );
  return lost.map(({ username }) => username);
}

/** Digest and counts are those of the ledger. */
const isAsTaken = ({ digest, rows, knownDigest, knownRows }: Now): boolean =>
  knownDigest?.equals(digest) === true && knownRows !== null && packCounts(knownRows).equals(packCounts(rows));

function gather(context: ReadContext, { found, ledger, seen }: Looked): ReadUsers {
  const users = new Users();
  const known = new Column(ID_BYTES);
  const digests = new Column(DIGEST_BYTES);
  const rowCounts = new Column(ROW_COUNTS_BYTES);
  const counts = noCounts();
  counts.users = ledger.users;
  for (const [kind, { count }] of kinds.entries()) counts[count] = ledger.rows[kind] ?? 0;
  for (const now of found.values()) {
    for (const [kind, { count }] of kinds.entries())
      counts[count] += (now.rows[kind] ?? 0) - (now.knownRows?.[kind] ?? 0);
    if (isAsTaken(now)) continue;
    const user = users.add(now.name, 0, now.name.length);
    digests.set(user, now.digest);
    rowCounts.set(user, packCounts(now.rows));
    if (now.recordId) known.set(user, now.recordId);
  }
  const allRows = [...seen.fresh.values()].reduce(
    (sum, fresh) => sum.map((n, kind) => n + (fresh[kind] ?? 0)),
    seen.old,
  );
  return {
    users,
    records: readInBatches(context, users),
    known,
    knownDigests: new Column(DIGEST_BYTES),
    digests,
    rowCounts,
    knownRowCounts: new Column(ROW_COUNTS_BYTES),
    allRows,
    by: 'new-rows',
    gone: [],
    counts,
  };
}
