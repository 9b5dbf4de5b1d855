import type { PoolClient } from 'pg';
import type { Epoch } from '../../workflows/model/epoch.ts';
import type { Keyring } from '../settings.ts';
import { keyOf, recordKeys, type RecordKeys } from '../vault/keys.ts';
import { encodeRecord, makeRecord, noRows, type UserRecord } from '../vault/record.ts';
import type { Database } from './database.ts';
import { holdFaulty } from './quarantine.ts';
import { refuseEnded } from '../services/effects.ts';
import { lockEpoch } from './restore.ts';
import { rowChanges } from './row-changes.ts';
import { readUsers } from './rows.ts';
import type { UserMerge } from './three-way.ts';
import { lockWrites, replaceUsers } from './writer.ts';

export interface ReconcileRequest {
  database: Database;
  customer: string;
  /** Only users of these; they are served here, and may be changing things. */
  halves: readonly string[];
  /** The move: every transaction first locks its epoch. */
  epoch: Epoch;
  /** SHA-256 of the salvage's document, hex. */
  salvage: string;
  /** Of those who differ; only whom the salvage has a word about is written. */
  merges: AsyncIterable<UserMerge>;
  keys: Keyring;
  /** As many contacts a user may have. */
  limit: number;
  heartbeat: (progress: { users: number; written: number }) => void;
  signal: AbortSignal;
}

/** Numbers of users. */
export interface ReconcileCounts {
  /** About whom the salvage has a word. */
  users: number;
  /** Whose rows were written. */
  written: number;
  /** Whom an earlier run has brought together with this salvage: they stay as they stand. */
  already: number;
  /** Who are not of these halves here: gone from the directory, or at home elsewhere. */
  notHere: number;
  /** Whose rows the database refuses: they keep those they had. */
  refused: number;
  /** Who have more contacts than are allowed: nothing was cut off. */
  overLimit: number;
  /** Whose lists the service could not read: not let in. */
  quarantined: number;
  conflicts: number;
  open: number;
  denyKept: number;
}

export const noReconcileCounts = (): ReconcileCounts => ({
  users: 0,
  written: 0,
  already: 0,
  notHere: 0,
  refused: 0,
  overLimit: 0,
  quarantined: 0,
  conflicts: 0,
  open: 0,
  denyKept: 0,
});

/** Small, so that whoever changes something while it is written waits for a moment only. */
const BATCH_USERS = 100;
/** Below it somebody else holds a table for long, and the users' own changes wait behind us. */
const LOCK_MS = 3000;

/** The service's tables, in the order in which it writes them itself. Their readers are not held up. */
const LOCK = `set local lock_timeout = ${LOCK_MS};
  lock table rosterusers, rostergroups, privacy_list, privacy_list_data, privacy_default_list in share row exclusive mode`;

/** To be called in a transaction that merges rows with what stands at that moment: nobody changes them until it ends. */
export async function lockRows(client: PoolClient): Promise<void> {
  await client.query(LOCK);
}

/** Each statement sees what was committed before it: rows are read after they were locked. */
export const READ_COMMITTED = 'isolation level read committed';

/**
 * Writes what users are to be into the rows of those who are served here, each against what stands in the transaction that
 * writes him. He is written once for a salvage: a second run changes nothing, also not what he has changed himself since.
 * The ledger is left behind, as by any change of a user: the next snapshot reads him.
 */
export async function reconcileUsers(request: ReconcileRequest): Promise<ReconcileCounts> {
  const { database, epoch, customer, keys, signal } = request;
  const all = noReconcileCounts();
  const ids = recordKeys(keyOf(keys, keys.current, 'reconciliation'));
  const write = async (batch: readonly UserMerge[]): Promise<void> => {
    signal.throwIfAborted();
    const done = await database.transaction(async (client) => {
      await lockEpoch(client, database.name, customer, epoch);
      await refuseEnded(client, epoch.move);
      await lockWrites(client, customer);
      await lockRows(client);
      return writeBatch(client, request, batch, ids);
    }, READ_COMMITTED);
    for (const key of Object.keys(all) as (keyof ReconcileCounts)[]) all[key] += done[key];
    request.heartbeat({ users: all.users, written: all.written });
  };
  let batch: UserMerge[] = [];
  for await (const user of request.merges) {
    if (user.salvaged) batch.push(user);
    if (batch.length >= BATCH_USERS) await write(batch.splice(0));
  }
  if (batch.length > 0) await write(batch);
  return all;
}

/** What became of one user, as it is kept for reports. */
interface Outcome {
  user: UserMerge;
  record: UserRecord;
  here: Buffer;
}

async function writeBatch(
  client: PoolClient,
  request: ReconcileRequest,
  batch: readonly UserMerge[],
  ids: RecordKeys,
): Promise<ReconcileCounts> {
  const names = batch.map(({ username }) => username);
  const found = async (sql: string, value: string | readonly string[]): Promise<Set<string>> => {
    const { rows } = await client.query<{ username: string }>(sql, [names, value]);
    return new Set(rows.map(({ username }) => username));
  };
  const done = await found(
    'select username from tandem.reconciled where username = any($1) and salvage = $2',
    request.salvage,
  );
  const mine = await found(
    'select username from tandem.home where username = any($1) and site = any($2) for share',
    request.halves,
  );
  const due = batch.filter(({ username }) => !done.has(username) && mine.has(username));
  const rows = await readUsers(
    client,
    due.map(({ username }) => username),
  );
  const outcomes = due.flatMap(({ username, again }): Outcome[] => {
    const stands = rows.get(username) ?? noRows();
    const user = again(stands);
    if (!user?.rows) return [];
    return [{ user, record: makeRecord(username, user.rows, ids), here: encodeRecord(username, stands) }];
  });
  const writes = outcomes.filter(({ user }) => user.changes);
  const refused = await replaceUsers(client, writes);
  const stand = writes.filter(({ record }) => !refused.has(record.username)).map(({ record }) => record);
  const quarantined = await holdFaulty(client, stand);
  await note(client, request, outcomes, refused);
  const because = (why: string): number =>
    outcomes.filter(({ user }) => user.differences.some((d) => d.why === why)).length;
  return {
    users: batch.length,
    written: stand.length,
    already: batch.filter(({ username }) => done.has(username)).length,
    notHere: batch.filter(({ username }) => !done.has(username) && !mine.has(username)).length,
    refused: refused.size,
    overLimit: outcomes.filter(({ user }) => isOver(user, request.limit)).length,
    quarantined,
    conflicts: because('conflict'),
    open: because('open'),
    denyKept: because('deny-kept'),
  };
}

const isOver = ({ rows }: UserMerge, limit: number): boolean => (rows?.contacts.length ?? 0) > limit;

/** For reports, for the other side of the contacts that were changed, and so that nobody is written twice. */
async function note(
  client: PoolClient,
  { epoch, salvage, limit }: ReconcileRequest,
  outcomes: readonly Outcome[],
  refused: ReadonlyMap<string, string>,
): Promise<void> {
  const documents = outcomes.map(({ user, record, here }) => {
    const { contacts } = rowChanges(here, record.bytes);
    const because = refused.get(user.username);
    const touched = because === undefined ? [...contacts.gone, ...contacts.rows.map(([jid]) => jid)] : [];
    return {
      written: user.changes && because === undefined,
      differences: user.differences,
      touched: [...new Set(touched)],
      ...(isOver(user, limit) && { contacts: user.rows?.contacts.length, limit }),
      ...(because !== undefined && { refused: because }),
    };
  });
  await client.query(
    `insert into tandem.reconciled (salvage, username, move, document)
     select $1, u.username, $2, u.document from unnest($3::text[], $4::jsonb[]) u (username, document)`,
    [
      salvage,
      epoch.move,
      outcomes.map(({ user }) => user.username),
      documents.map((document) => JSON.stringify(document)),
    ],
  );
}

/** Forgets what differed, after so long. That a user was brought together stays: else he would be once more. */
export async function forgetDifferences(database: Database, ms: number): Promise<void> {
  await database.query(
    `update tandem.reconciled set document = jsonb_build_object('written', document -> 'written', 'touched', '[]'::jsonb, 'differences', '[]'::jsonb)
      where at < now() - make_interval(secs => $1) and document -> 'differences' <> '[]'::jsonb`,
    [ms / 1000],
  );
}
