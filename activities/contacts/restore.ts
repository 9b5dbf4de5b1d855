import type { PoolClient } from 'pg';
import type { Epoch } from '../../workflows/model/epoch.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { ApplyCounts, SnapshotCounts } from '../../workflows/model/snapshots.ts';
import type { OpenSnapshot } from '../vault/open.ts';
import { encodeRecord, noRows, type UserRecord } from '../vault/record.ts';
import { aclFaults } from './acl.ts';
import { batches } from './batches.ts';
import type { Database } from './database.ts';
import { findDifferences } from './differences.ts';
import { holdRefused, holdUsers, judgeUsers, type Held } from './quarantine.ts';
import { readUsers } from './rows.ts';
import { countRecords, enterLedger, lockWrites, replaceUsers, type LedgerSource, type Replacement } from './writer.ts';

/** What every way of restoring needs. */
interface RestoreWork {
  database: Database;
  /** The move that restores: every transaction first locks its epoch. Null only for a database that nobody serves from. */
  guard: { customer: string; epoch: Epoch } | null;
  /** Entered in the ledger with every user; null where there is no schema `tandem`. */
  ledger: LedgerSource | null;
  heartbeat: (progress: { users: number; written: number }) => void;
  signal: AbortSignal;
}

export interface RestoreRequest extends RestoreWork {
  snapshot: OpenSnapshot;
  ledger: LedgerSource;
  /** Only users of these. */
  halves: readonly string[];
  /** Takes these users only: one user, a cohort. */
  filter?: (username: string) => boolean;
  /** Finds out what would be written, and writes nothing. */
  dryRun?: boolean;
  /** Hears of each user that differs. */
  different?: (record: UserRecord) => void;
  /** Hears of each user of the half, as the differences were found. */
  seen?: (name: Buffer, recorded: boolean, hasRows: boolean) => void;
}

export interface RestoreResult extends ApplyCounts {
  /** Users of the half whom the snapshot does not have. */
  withoutRecord: number;
  /** Users of the snapshot who are not of the half by the directory here. */
  elsewhere: number;
  /** Users whose record is damaged: left as they are here, and in quarantine. */
  unreadable: number;
}

export const noApplyCounts = (): ApplyCounts => ({
  users: 0,
  written: 0,
  contacts: 0,
  groups: 0,
  aclItems: 0,
  removed: 0,
  held: 0,
  conflicts: 0,
  quarantined: 0,
});

/**
 * Brings the users of some halves to the state of a snapshot: a difference, not a reload. Users whom the ledger and their
 * digest show to be equal are not even read; of the others, those whose rows are equal are not touched, and the rest is
 * replaced whole. Each batch of users is one transaction that locks the move's epoch first, so a repeated or resumed run
 * finds fewer differences, and one that was overtaken stops with `epoch-superseded`.
 *
 * Users of the half who have rows here and no record are left as they are, and counted as held. Those whose ACL the
 * service could not read, or whose record is damaged, are put into quarantine.
 */
export async function restoreSnapshot(request: RestoreRequest): Promise<RestoreResult> {
  const { database, snapshot, guard, ledger, signal } = request;
  // Before a byte is fetched: a move that was overtaken has nothing to do here.
  if (guard) await database.transaction((client) => lockEpoch(client, database.name, guard.customer, guard.epoch));
  const found = await findDifferences({
    ...request,
    index: () => snapshot.index(),
    halves: request.halves,
    keys: ledger.keys,
  });
  const counts = noApplyCounts();
  addCounts(counts, found.equal);
  counts.quarantined = found.quarantined;
  const damaged = new Map<string, string>();
  const onDamage = (userKey: Buffer, because: string): void => void damaged.set(userKey.toString('hex'), because);
  await restoreRecords(request, snapshot.records(found.mayDiffer, onDamage), counts);
  signal.throwIfAborted();
  const unreadable = damaged.size > 0 ? await holdUnreadable(request, damaged) : 0;
  // Held users are no failure of the probe: it would prove a move that has brought nobody.
  if (unreadable > 0 && counts.users === 0 && !request.filter)
    throw failure('snapshot-damaged', `snapshot ${snapshot.summary.seq}: none of ${unreadable} records can be read`);
  counts.held = found.unrecorded;
  return { ...counts, withoutRecord: found.withoutRecord, elsewhere: found.elsewhere, unreadable };
}

/** Users whose record is damaged stay as they are here, and are not let in: nobody knows what they had denied. */
async function holdUnreadable(request: RestoreRequest, damaged: ReadonlyMap<string, string>): Promise<number> {
  const { database, snapshot, guard, halves, filter = () => true } = request;
  const index = await snapshot.index();
  return database.transaction(async (client) => {
    if (guard) await lockEpoch(client, database.name, guard.customer, guard.epoch);
    const { rows } = await client.query<{ username: string }>('select username from tandem.home where site = any($1)', [
      halves,
    ]);
    const held = rows.flatMap(({ username }): Held[] => {
      const user = filter(username) ? index.findName(username) : -1;
      const because = user < 0 ? undefined : damaged.get(index.userKey(user).toString('hex'));
      return because === undefined
        ? []
        : [{ username, recordId: Buffer.from(index.recordId(user)), because: `${UNREADABLE}: ${because}` }];
    });
    if (!request.dryRun) await holdUsers(client, held);
    return held.length;
  });
}

const UNREADABLE = 'its record cannot be read';

/** The same for records from anywhere, each compared with the rows that stand here. Adds to `counts` as it goes. */
export async function restoreRecords(
  work: RestoreWork & Pick<RestoreRequest, 'dryRun' | 'different'>,
  records: AsyncIterable<UserRecord>,
  counts: ApplyCounts,
): Promise<void> {
  const { database, guard, ledger, dryRun = false } = work;
  for await (const batch of batches(records)) {
    work.signal.throwIfAborted();
    const { brought, written, held } = await database.transaction(async (client) => {
      if (guard) {
        await lockEpoch(client, database.name, guard.customer, guard.epoch);
        await lockWrites(client, guard.customer);
      }
      const different = await findDifferent(client, batch);
      for (const { record } of different) work.different?.(record);
      if (dryRun) {
        const faulty = batch.filter((record) => aclFaults(record).length > 0);
        return { brought: batch, written: different.length, held: faulty.length };
      }
      const refused = await replaceUsers(client, different);
      const stand = batch.filter(({ username }) => !refused.has(username));
      const done = { brought: stand, written: different.length - refused.size };
      if (!ledger) return { ...done, held: 0 };
      await enterLedger(client, stand, ledger);
      return { ...done, held: (await judgeUsers(client, stand)) + (await holdRefused(client, batch, refused)) };
    });
    addRecords(counts, brought, written);
    counts.quarantined += held;
    work.heartbeat({ users: counts.users, written: counts.written });
  }
}

/** Adds a batch that now stands as its records say. */
export function addRecords(counts: ApplyCounts, batch: readonly UserRecord[], written: number): void {
  addCounts(counts, countRecords(batch));
  counts.written += written;
}

export function addCounts(counts: ApplyCounts, rows: SnapshotCounts): void {
  counts.users += rows.users;
  counts.contacts += rows.contacts;
  counts.groups += rows.groups;
  counts.aclItems += rows.aclItems;
}

/**
 * Holds the epoch row against `advance-epoch` until the transaction ends. Another epoch is `epoch-superseded`; one that another
 * move has claimed as well is `forked`, until operators have picked which of the two stands.
 */
export async function lockEpoch(client: PoolClient, name: string, customer: string, epoch: Epoch): Promise<void> {
  const { rows } = await client.query<{ number: string; site: string; move: string; forked: boolean }>(
    `select number::text, site, move,
            exists (select from tandem.fork f
                     where f.customer = e.customer and f.number = e.number and f.ended_at is null) as forked
       from tandem.epoch e where customer = $1 for share of e`,
    [customer],
  );
  const [held] = rows;
  if (held && Number(held.number) === epoch.number && held.site === epoch.site && held.move === epoch.move) {
    if (!held.forked) return;
    throw failure('forked', `${name}: epoch ${held.number} was claimed by another move as well as by ${held.move}`);
  }
  const found = held ? `epoch ${held.number} of move ${held.move} at ${held.site}` : 'no epoch';
  throw failure('epoch-superseded', `${name}: ${found} stands, not ${epoch.number} of move ${epoch.move}`);
}

async function findDifferent(client: PoolClient, batch: readonly UserRecord[]): Promise<Replacement[]> {
  const rows = await readUsers(
    client,
    batch.map(({ username }) => username),
  );
  return batch.flatMap((record) => {
    const here = encodeRecord(record.username, rows.get(record.username) ?? noRows());
    return here.equals(record.bytes) ? [] : [{ record, here }];
  });
}
