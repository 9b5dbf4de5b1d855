import type { PoolClient } from 'pg';
import type { Epoch } from '../../workflows/model/epoch.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { ApplyCounts } from '../../workflows/model/snapshots.ts';
import { encodeRecord, noRows, type UserRecord } from '../vault/record.ts';
import { batches } from './batches.ts';
import type { Database } from './database.ts';
import { readUsers } from './rows.ts';
import {
  countRecords,
  deleteUsers,
  enterLedger,
  forgetRosterVersions,
  insertUsers,
  type LedgerSource,
} from './writer.ts';

export interface RestoreRequest {
  database: Database;
  records: AsyncIterable<UserRecord>;
  /** The move that restores: every transaction first locks its epoch. Null only for a database that nobody serves from. */
  guard: { customer: string; epoch: Epoch } | null;
  /** Entered in the ledger with every user; null where there is no schema `tandem`. */
  ledger: LedgerSource | null;
  /** Takes these users only: one user, a cohort. */
  filter?: (username: string) => boolean;
  heartbeat: (progress: { users: number; written: number }) => void;
  signal: AbortSignal;
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
});

/**
 * Brings users to the state of their records: a difference, not a reload. Users whose rows are equal are not touched;
 * others are replaced whole. Each batch of users is one transaction that locks the move's epoch first, so a repeated or
 * resumed run finds fewer differences, and one that was overtaken stops with `epoch-superseded`.
 *
 * Users whose home is the snapshot's site, who have rows here and no record, are left as they are and counted as held.
 */
export async function restoreSnapshot(request: RestoreRequest): Promise<ApplyCounts> {
  const { database, guard, ledger, filter } = request;
  const counts = noApplyCounts();
  for await (const batch of batches(filtered(request.records, filter))) {
    request.signal.throwIfAborted();
    const written = await database.transaction(async (client) => {
      if (guard) await lockEpoch(client, database.name, guard.customer, guard.epoch);
      return replaceDifferent(client, batch, ledger);
    });
    addRecords(counts, batch, written);
    request.heartbeat({ users: counts.users, written: counts.written });
  }
  if (ledger && !filter) counts.held = await countUnrecorded(database, ledger);
  return counts;
}

async function* filtered(
  records: AsyncIterable<UserRecord>,
  takes: ((username: string) => boolean) | undefined,
): AsyncGenerator<UserRecord> {
  for await (const record of records) if (!takes || takes(record.username)) yield record;
}

/** Adds a batch that now stands as its records say. */
export function addRecords(counts: ApplyCounts, batch: readonly UserRecord[], written: number): void {
  const rows = countRecords(batch);
  counts.users += rows.users;
  counts.contacts += rows.contacts;
  counts.groups += rows.groups;
  counts.aclItems += rows.aclItems;
  counts.written += written;
}

/** Holds the epoch row against `advance-epoch` until the transaction ends. Another epoch is `epoch-superseded`. */
export async function lockEpoch(client: PoolClient, name: string, customer: string, epoch: Epoch): Promise<void> {
  const { rows } = await client.query<{ number: string; site: string; move: string }>(
    'select number::text, site, move from tandem.epoch where customer = $1 for share',
    [customer],
  );
  const [held] = rows;
  if (held && Number(held.number) === epoch.number && held.site === epoch.site && held.move === epoch.move) return;
  const found = held ? `epoch ${held.number} of move ${held.move} at ${held.site}` : 'no epoch';
  throw failure('epoch-superseded', `${name}: ${found} stands, not ${epoch.number} of move ${epoch.move}`);
}

async function replaceDifferent(
  client: PoolClient,
  batch: readonly UserRecord[],
  ledger: LedgerSource | null,
): Promise<number> {
  const here = await readUsers(
    client,
    batch.map(({ username }) => username),
  );
  const different = batch.filter(
    ({ username, bytes }) => !encodeRecord(username, here.get(username) ?? noRows()).equals(bytes),
  );
  await replaceUsers(client, different);
  if (ledger) await enterLedger(client, batch, ledger);
  return different.length;
}

/** Replaces all rows of the users by those of their records. */
export async function replaceUsers(client: PoolClient, records: readonly UserRecord[]): Promise<void> {
  if (records.length === 0) return;
  const usernames = records.map(({ username }) => username);
  await deleteUsers(client, usernames);
  await insertUsers(client, records);
  await forgetRosterVersions(client, usernames);
}

/** Users of the snapshot's home with rows here, which this snapshot's ledger entries do not explain. */
async function countUnrecorded(database: Database, { snapshot }: LedgerSource): Promise<number> {
  const [row] = await database.query<{ held: string }>(
    `select count(*)::text as held from tandem.home h
      where h.site = $1
        and not exists (select from tandem.ledger l
                         where l.username = h.username and l.served_by = $1 and l.gen = $2 and l.seq = $3)
        and (exists (select from rosterusers r where r.username = h.username)
          or exists (select from rostergroups g where g.username = h.username)
          or exists (select from privacy_list p where p.username = h.username)
          or exists (select from privacy_default_list d where d.username = h.username))`,
    [snapshot.site, snapshot.gen, snapshot.seq],
  );
  return Number(row?.held ?? 0);
}
