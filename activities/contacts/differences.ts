import type { PoolClient } from 'pg';
import { noCounts } from '../vault/record.ts';
import { kinds } from '../vault/record-rows.ts';
import type { SnapshotIndex } from '../vault/snapshot-index.ts';
import type { Keyring } from '../settings.ts';
import type { SnapshotCounts } from '../../workflows/model/snapshots.ts';
import { ACL_RULES } from './acl.ts';
import { copyOut } from './copy.ts';
import type { Database } from './database.ts';
import { digestSql, digestsHere, emptyDigest } from './digests.ts';
import { limitReading, READ_ONLY } from './reader.ts';
import { rowQueries } from './rows.ts';
import { describeTables } from './tables.ts';
import { tupleFields } from './tuples.ts';

export interface DifferencesRequest {
  database: Database;
  /** Loaded while the database digests its rows. */
  index: () => Promise<SnapshotIndex>;
  keys: Keyring;
  /** Only users of these halves. */
  halves: readonly string[];
  /** Only what a snapshot of this site brought is known to be as it stands in this one. */
  from?: string;
  /** Nobody is let in by what is found here: whose ACL is yet to be judged is equal all the same. */
  unjudged?: boolean;
  /** Only these of them. */
  filter?: (username: string) => boolean;
  /** Hears of each user of these halves whom the snapshot does not have. */
  unknown?: (username: string) => void;
  /** Hears of each user of these halves: whether the snapshot has him, and whether rows stand here. */
  seen?: (name: Buffer, recorded: boolean, hasRows: boolean) => void;
  signal: AbortSignal;
}

/** How users stand here, against a snapshot. Users are numbered as in the snapshot's index. */
export interface Differences {
  /** Whether a user is of these halves, and his rows may differ from his record. */
  mayDiffer: (user: number) => boolean;
  /** Whether a user of the snapshot is of these halves. */
  isHere: (user: number) => boolean;
  /** What stands here and is known to be as the snapshot has it. */
  equal: SnapshotCounts;
  /** Of these users, those who wait in quarantine. */
  quarantined: number;
  /** Users of the snapshot who are of none of these halves by the directory here. */
  elsewhere: number;
  /** Users of these halves whom the snapshot does not have. */
  withoutRecord: number;
  /** Those of them who have rows here. */
  unrecorded: number;
}

const NONE = 0;
const EQUAL = 1;
const OPEN = 2;
/** Far more than a digest of all rows takes. */
const LIMIT_MS = 600_000;

/** His ACL was judged by the rules of today; and no quarantine is about another record of his. */
const JUDGED = `(l.judged = ${ACL_RULES} or coalesce(d.items, 0) = 0) and`;
const NOT_HELD = '(q.username is null or q.record_id = l.record_id)';

const brought = (client: Pick<PoolClient, 'escapeLiteral'>, from: string | undefined): string =>
  from === undefined ? '' : ` and l.served_by = ${client.escapeLiteral(from)}`;

/**
 * Finds the users who may differ from a snapshot without reading a row of the others: where the ledger names the very
 * record that the snapshot holds, and the rows still have the digest that was entered with it, they are equal. One whose
 * ACL is yet to be judged is not: he might be let in with it.
 */
export async function findDifferences(request: DifferencesRequest): Promise<Differences> {
  const { database, keys, halves, from, filter, signal } = request;
  const equal = noCounts();
  let [inHalf, withoutRecord, unrecorded, quarantined] = [0, 0, 0, 0];
  const loading = request.index();
  let index: SnapshotIndex | undefined;
  let states = new Uint8Array();
  const loaded = async (): Promise<void> => {
    index = await loading;
    states = new Uint8Array(index.capacity);
  };
  const preparing = loaded();
  preparing.catch(() => undefined); // It is awaited by the reading, if that begins.
  await database.transaction(async (client) => {
    await describeTables(client, database.name); // A schema that is not known is refused before a row is compared.
    await limitReading(client, LIMIT_MS);
    const counts = rowQueries.map(({ kind }) => `d.${kind}`);
    const digests = await digestsHere(client, keys);
    const none = `'\\x${emptyDigest(digests).toString('hex')}'::bytea`;
    const sql = `select h.username, case when l.digest = coalesce(d.digest, ${none})${brought(client, from)} and ${request.unjudged ? '' : JUDGED} ${NOT_HELD} then l.record_id end, d.username is not null,
          q.username is not null and q.release is null, ${counts.join(', ')}
        from tandem.home h left join tandem.ledger l on l.username = h.username
        left join tandem.quarantine q on q.username = h.username
        left join (${digestSql(digests)}) d on d.username = h.username
       where h.site in (${halves.map((half) => client.escapeLiteral(half)).join(', ') || 'null'})`;
    await copyOut(client, sql, {
      signal,
      ready: preparing,
      onTuple: (buffer, name, nameEnd) => {
        if (!index) return;
        if (filter && !filter(buffer.toString('utf8', name, nameEnd))) return;
        const [recordId, hasRows, waits, ...rows] = tupleFields(buffer, nameEnd, 3 + counts.length);
        const user = index.findName(buffer.subarray(name, nameEnd));
        request.seen?.(buffer.subarray(name, nameEnd), user >= 0, hasRows?.[0] === 1);
        if (user < 0) {
          withoutRecord += 1;
          request.unknown?.(buffer.toString('utf8', name, nameEnd));
          unrecorded += hasRows?.[0] ?? 0;
          return;
        }
        inHalf += 1;
        const same = recordId?.equals(index.recordId(user)) === true;
        states[user] = same ? EQUAL : OPEN;
        if (!same) return;
        equal.users += 1;
        quarantined += waits?.[0] ?? 0;
        for (const [i, { count }] of kinds.entries()) equal[count] += Number(rows[i]?.readBigInt64BE() ?? 0);
      },
    });
  }, READ_ONLY);
  return {
    mayDiffer: (user) => (states[user] ?? NONE) === OPEN,
    isHere: (user) => (states[user] ?? NONE) !== NONE,
    equal,
    quarantined,
    elsewhere: filter ? 0 : (await loading).length - inHalf,
    withoutRecord,
    unrecorded,
  };
}
