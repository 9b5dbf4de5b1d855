import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { noCounts } from '../vault/record.ts';
import type { SnapshotIndex } from '../vault/snapshot-index.ts';
import { ACL_RULES } from './acl.ts';
import { copyOut } from './copy.ts';
import type { Database } from './database.ts';
import type { Differences } from './differences.ts';
import { limitReading, READ_ONLY } from './reader.ts';
import { tupleFields } from './tuples.ts';

/**
 * So long the ledger's word for rows of a standby copy counts for the moment, once every row was compared with it: the last
 * copy of a planned move is waited for by users who are served nowhere, and digests of two million rows take longer than all
 * else of it.
 */
const TRUST_S = 3600;
/** Below the period of the schedule's runs: those of one planned move need not compare. */
const RECENT_S = 240;
const LIMIT_MS = 60_000;

export interface LedgerRequest {
  database: Database;
  snapshot: SnapshotSummary;
  index: () => Promise<SnapshotIndex>;
  halves: readonly string[];
  signal: AbortSignal;
}

/**
 * How users stand here against a snapshot, by the ledger alone: rows are neither read nor digested, and `equal` counts users
 * only. Null when the copy was not compared row by row within the hour, or somebody was given users to serve since.
 */
export async function differencesByLedger(request: LedgerRequest): Promise<Differences | null> {
  const { database, snapshot, halves, signal } = request;
  if (!(await wasProven(database, snapshot, TRUST_S))) return null;
  const index = await request.index();
  const here = new Uint8Array(index.capacity);
  const differs = new Uint8Array(index.capacity);
  const equal = noCounts();
  let [inHalf, withoutRecord, quarantined] = [0, 0, 0];
  await database.transaction(async (client) => {
    await limitReading(client, LIMIT_MS);
    const sql = `select h.username,
          case when l.served_by = ${client.escapeLiteral(snapshot.site)} and l.judged = ${ACL_RULES} and l.digest is not null
                and (q.username is null or q.record_id = l.record_id) then l.record_id end,
          q.username is not null and q.release is null
        from tandem.home h left join tandem.ledger l on l.username = h.username
        left join tandem.quarantine q on q.username = h.username
       where h.site in (${halves.map((half) => client.escapeLiteral(half)).join(', ') || 'null'})`;
    await copyOut(client, sql, {
      signal,
      onTuple(buffer, name, nameEnd) {
        const user = index.findName(buffer.subarray(name, nameEnd));
        if (user < 0) {
          withoutRecord += 1;
          return;
        }
        const [recordId, waits] = tupleFields(buffer, nameEnd, 2);
        inHalf += 1;
        here[user] = 1;
        if (recordId?.equals(index.recordId(user)) === true) {
          equal.users += 1;
          quarantined += waits?.[0] ?? 0;
        } else differs[user] = 1;
      },
    });
  }, READ_ONLY);
  return {
    mayDiffer: (user) => differs[user] === 1,
    isHere: (user) => here[user] === 1,
    equal,
    quarantined,
    elsewhere: index.length - inHalf,
    withoutRecord,
    unrecorded: 0,
  };
}

/** Whether every row of the copy was compared so lately that it need not be done once more; people may be waiting for the next copy. */
export const provenLately = (database: Database, snapshot: SnapshotSummary): Promise<boolean> =>
  wasProven(database, snapshot, RECENT_S);

async function wasProven(database: Database, { customer, site }: SnapshotSummary, seconds: number): Promise<boolean> {
  const proven = await database.query(
    `select from tandem.applied where customer = $1 and site = $2 and proven_at > now() - make_interval(secs => $3)`,
    [customer, site, seconds],
  );
  return proven.length > 0;
}
