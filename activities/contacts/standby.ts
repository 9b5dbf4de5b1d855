import { setTimeout } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import type { ApplyCounts, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import type { Keyring } from '../settings.ts';
import { keyOf, recordKeys, type RecordKeys } from '../vault/keys.ts';
import type { OpenSnapshot } from '../vault/open.ts';
import { hasRows, makeRecord, noRows, type UserRecord } from '../vault/record.ts';
import type { SnapshotIndex } from '../vault/snapshot-index.ts';
import { alone } from './alone.ts';
import { noteApplied, noteProven } from './applied.ts';
import { batches } from './batches.ts';
import { saveConflicts } from './conflicts.ts';
import type { Database } from './database.ts';
import { findDifferences, type Differences } from './differences.ts';
import { differencesByLedger, provenLately } from './ledger-differences.ts';
import { asBrought, forgetMended, readMended } from './mended.ts';
import { requireIdentity } from './prepare.ts';
import { holdRefused, judgeUsers } from './quarantine.ts';
import { addCounts, addRecords, noApplyCounts } from './restore.ts';
import { readUsers } from './rows.ts';
import { anyOrphans, lockRights, servedThere } from './standby-rights.ts';
import { deleteUsers, enterLedger, forgetRosterVersions, lockWrites, replaceUsers } from './writer.ts';

export interface StandbyRequest {
  database: Database;
  /** This site. */
  site: string;
  snapshot: OpenSnapshot;
  keys: Keyring;
  heartbeat: (progress: { users: number; written: number }) => void;
  signal: AbortSignal;
}

interface LedgerEntry {
  served_by: string;
  seq: number;
  epoch: number;
  recordId: Buffer;
}

/** How often one looks whether another run has compared. */
const TURN_MS = 300;

/** What becomes of one user of the snapshot. */
type Verdict = 'held' | 'equal' | 'write' | 'write-over-conflict';

/**
 * Brings the dormant copy of the users served at the snapshot's site up to it, by the standby rule of the vault: under
 * locks of epoch and serving rows, a user is written only when the epoch is current, he is served there, and the
 * snapshot is newer than what the ledger says. Rows without a ledger entry are held, unless this site served them before and
 * has salvaged them. A local version that the ledger does not explain is saved as a conflict first. Repeatable: what was
 * applied is found equal. Within the hour after every row was compared it counts as applied by the ledger's word, before they
 * are compared again; within four minutes they are not. One run at a time compares: the others go by what it
 * has found. It is the newest one applied only when the copy holds all of it.
 *
 * Fails with `epoch-superseded` when a newer epoch is known here than the snapshot's, and with `salvage-due` while rows that
 * this site changed under an older epoch lie nowhere else.
 */
export async function applyStandby(request: StandbyRequest): Promise<ApplyCounts> {
  const { database, snapshot: opened, keys, signal } = request;
  const { summary: snapshot } = opened;
  const counts = noApplyCounts();
  const { halves, orphans } = await database.transaction(async (client) => {
    await requireIdentity(client, snapshot.customer, request.site);
    const rights = await lockRights(client, database.name, snapshot);
    return { ...rights, orphans: await anyOrphans(client, snapshot.customer, rights.halves) };
  });
  const by = { database, index: () => opened.index(), halves, signal };
  const late = noApplyCounts();
  const apply = async (found: Differences, into: ApplyCounts, proven: boolean): Promise<void> => {
    addCounts(into, found.equal);
    into.quarantined = found.quarantined;
    into.held = found.elsewhere;
    const held = new Map(found.elsewhere > 0 ? [['', found.elsewhere]] : []);
    for await (const batch of batches(opened.records(found.mayDiffer))) {
      signal.throwIfAborted();
      for (const half of await applyBatch(request, batch, into)) held.set(half, (held.get(half) ?? 0) + 1);
      request.heartbeat({ users: into.users, written: into.written });
    }
    await removeGone(request, await opened.index(), into);
    // It may be of users of whom nothing was brought here: it is offered again, until this site knows who serves them.
    if (orphans && found.elsewhere > 0) return;
    await database.transaction(async (client) => {
      const now = await lockRights(client, database.name, snapshot);
      // Somebody came to be of another half meanwhile, and may have been passed over: it is offered again.
      if (now.halves.toSorted().join() !== halves.toSorted().join()) return;
      await noteApplied(client, snapshot, opened.manifest.database, held);
      if (proven) await noteProven(client, snapshot, held);
    });
  };
  const compare = async (): Promise<void> =>
    apply(await findDifferences({ ...by, keys, from: snapshot.site }), counts, true);
  for (;;) {
    // Users may be waiting for it, served nowhere: what the ledger tells comes first, and every row is compared after it.
    const byLedger = await differencesByLedger({ ...by, snapshot });
    if (byLedger) {
      const lately = await provenLately(database, snapshot);
      await apply(byLedger, lately ? counts : late, false);
      if (lately) return counts;
    }
    // Who came here from elsewhere is looked at once: from now on the ledger has him from there.
    if (await alone(database, snapshot, compare)) break;
    // Another run compares them now, for both.
    if (byLedger) return late;
    request.heartbeat({ users: 0, written: 0 });
    await setTimeout(TURN_MS, undefined, { signal });
  }
  for (const done of ['written', 'conflicts', 'removed'] as const) counts[done] += late[done];
  return counts;
}

/** Answers the half of each user who was held, '' where it is not known. */
async function applyBatch(request: StandbyRequest, batch: UserRecord[], counts: ApplyCounts): Promise<string[]> {
  const { database, keys } = request;
  const snapshot = request.snapshot.summary;
  const ring = ringKeys(keys);
  const names = batch.map(({ username }) => username);
  const verdicts = await database.transaction(async (client) => {
    const { halves, salvaged } = await lockRights(client, database.name, request.snapshot.summary);
    await lockWrites(client, snapshot.customer);
    const served = await servedThere(client, names, halves);
    const ledger = await readLedger(client, names);
    const rows = await readUsers(client, names);
    const mended = await readMended(client, names);
    const judged = batch.map((record) => {
      const local = makeRecord(record.username, rows.get(record.username) ?? noRows(), ring[0]);
      const changes = mended.get(record.username);
      const brought = changes ? makeRecord(record.username, asBrought(local.rows, changes), ring[0]) : local;
      const entry = ledger.get(record.username);
      const half = served.get(record.username);
      const here = { local, brought, kept: half !== undefined && salvaged.includes(half) };
      const verdict = half === undefined ? 'held' : judge(record, here, entry, snapshot, ring);
      return { record, local, verdict, half: half ?? '' };
    });
    const conflicts = judged.filter(({ verdict }) => verdict === 'write-over-conflict').map(({ local }) => local);
    await saveConflicts(client, { ...request, snapshot }, conflicts);
    const written = judged
      .filter(({ verdict }) => verdict.startsWith('write'))
      .map(({ record, local }) => ({ record, here: local.bytes }));
    const refused = await replaceUsers(client, written);
    const settled = judged
      .filter(({ record, verdict }) => verdict !== 'held' && !refused.has(record.username))
      .map(({ record }) => record);
    await enterLedger(client, settled, { snapshot, epoch: snapshot.epoch, keys });
    const quarantined = (await judgeUsers(client, settled)) + (await holdRefused(client, batch, refused));
    return {
      settled,
      refused: refused.size,
      written: written.length - refused.size,
      conflicts: conflicts.length,
      quarantined,
      held: judged.filter(({ verdict }) => verdict === 'held').map(({ half }) => half),
    };
  });
  addRecords(counts, verdicts.settled, verdicts.written);
  counts.held += batch.length - verdicts.settled.length - verdicts.refused;
  counts.conflicts += verdicts.conflicts;
  counts.quarantined += verdicts.quarantined;
  return verdicts.held;
}

function judge(
  record: UserRecord,
  { local, brought, kept }: { local: UserRecord; brought: UserRecord; kept: boolean },
  entry: LedgerEntry | undefined,
  snapshot: SnapshotSummary,
  ring: RecordKeys[],
): Verdict {
  // Numbers of different sites cannot be compared; their epochs can.
  if (entry && (entry.served_by === snapshot.site ? entry.seq > snapshot.seq : entry.epoch > snapshot.epoch)) {
    return 'held';
  }
  if (local.bytes.equals(record.bytes)) return 'equal';
  if (!entry && !hasRows(local.bytes)) return 'write';
  if (!entry) return kept ? 'write-over-conflict' : 'held';
  return explains(entry, brought, ring) ? 'write' : 'write-over-conflict';
}

/** Whether the ledger's entry is about these rows, under any key of the ring: a key may have been changed since. */
function explains(entry: LedgerEntry, local: UserRecord, ring: RecordKeys[]): boolean {
  return ring.some(({ recordId }) => recordId(local.bytes).equals(entry.recordId));
}

/** The current key's first. */
function ringKeys(keys: Keyring): [RecordKeys, ...RecordKeys[]] {
  const others = [...keys.ring].filter(([id]) => id !== keys.current).map(([, key]) => recordKeys(key));
  return [recordKeys(keyOf(keys, keys.current, 'standby copy')), ...others];
}

async function readLedger(client: PoolClient, names: string[]): Promise<Map<string, LedgerEntry>> {
  const { rows } = await client.query<{
    username: string;
    served_by: string;
    seq: string;
    epoch: string;
    record_id: Buffer;
  }>('select username, served_by, seq::text, epoch::text, record_id from tandem.ledger where username = any($1)', [
    names,
  ]);
  return new Map(
    rows.map((r) => [
      r.username,
      { served_by: r.served_by, seq: Number(r.seq), epoch: Number(r.epoch), recordId: r.record_id },
    ]),
  );
}

const REMOVE_USERS = 500;

/** Removes users who are in the ledger under that site, absent from the snapshot, and gone from the directory. */
async function removeGone(request: StandbyRequest, index: SnapshotIndex, counts: ApplyCounts): Promise<void> {
  const { database } = request;
  const snapshot = request.snapshot.summary;
  const rows = await database.query<{ username: string }>(
    `select l.username from tandem.ledger l
      where l.served_by = $1 and l.seq < $2 and not exists (select from tandem.home h where h.username = l.username)`,
    [snapshot.site, snapshot.seq],
  );
  const gone = rows.map(({ username }) => username).filter((username) => index.findName(username) < 0);
  for (let first = 0; first < gone.length; first += REMOVE_USERS) {
    request.signal.throwIfAborted();
    await removeUsers(request, gone.slice(first, first + REMOVE_USERS), counts);
    request.heartbeat({ users: counts.users, written: counts.written });
  }
}

async function removeUsers(request: StandbyRequest, names: string[], counts: ApplyCounts): Promise<void> {
  const { database, keys } = request;
  const ring = ringKeys(keys);
  await database.transaction(async (client) => {
    await lockRights(client, database.name, request.snapshot.summary);
    await lockWrites(client, request.snapshot.summary.customer);
    const ledger = await readLedger(client, names);
    const here = await readUsers(client, names);
    const changed = names
      .map((name) => makeRecord(name, here.get(name) ?? noRows(), ring[0]))
      .filter((local) => {
        const entry = ledger.get(local.username);
        return entry && hasRows(local.bytes) && !explains(entry, local, ring);
      });
    await saveConflicts(client, { ...request, snapshot: request.snapshot.summary }, changed);
    counts.conflicts += changed.length;
    await deleteUsers(client, names);
    await forgetRosterVersions(client, names);
    await client.query('delete from tandem.ledger where username = any($1)', [names]);
    await client.query('delete from tandem.quarantine where username = any($1)', [names]);
    await forgetMended(client, names);
  });
  counts.removed += names.length;
}
