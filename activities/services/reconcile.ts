import type { StepResult } from '../../workflows/model/moves.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import type { Reconciliation } from '../../workflows/model/planned-move.ts';
import type { SnapshotCounts } from '../../workflows/model/snapshots.ts';
import { mendMerged } from '../contacts/mend-merged.ts';
import { READ_COMMITTED, reconcileUsers, type ReconcileCounts } from '../contacts/reconcile.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { countMerge, noThreeWayCounts, type ThreeWayCounts, type UserMerge } from '../contacts/three-way.ts';
import { damaged } from '../vault/bytes.ts';
import type { OpenRecords } from '../vault/open.ts';
import { count, noCounts } from '../vault/record.ts';
import { SetHash } from '../vault/set-hash.ts';
import { countsThatDiffer } from '../vault/verify.ts';
import { mergesOf, withBothSides, type BothSides } from './both-sides.ts';
import { doneBefore, noteEffect, refuseOvertaken } from './effects.ts';
import type { PlannedStep } from './planned.ts';
import { NO_REMOVALS } from './reconciliation.ts';
import type { LongWork } from './restore.ts';
import type { OwnSite } from './site.ts';

/** Heartbeats of a reading come after so many users. */
const BEAT_USERS = 500;

const reconciliationOf = ({ plan }: PlannedStep): Reconciliation | null => plan.decisions.planned?.reconcile ?? null;
const NOTHING = 'the destination has nothing of these users that is not here';

/**
 * Opens every byte of what the destination alone has, and of the snapshot from which both sides began: nothing is written
 * over anybody's rows by what cannot be read to its end. Changes nothing but its line in the journal.
 */
export async function salvageContacts(site: OwnSite, input: PlannedStep, work: LongWork): Promise<StepResult> {
  const { key } = input;
  const database = site.database(key.customer);
  const done = await doneBefore(database, input);
  if (done) return done;
  await database.transaction((client) => refuseOvertaken(client, database.name, key));
  const reconcile = reconciliationOf(input);
  const result = reconcile
    ? await withBothSides(site, key.customer, reconcile, work.signal, (sides) => prove(site, key.customer, sides, work))
    : { summary: NOTHING, facts: { users: 0 } };
  return database.connection((client) => noteEffect(client, input, result));
}

async function prove(
  site: OwnSite,
  id: string,
  { salvage, base }: BothSides,
  { heartbeat, signal }: LongWork,
): Promise<StepResult> {
  const { peer } = site.customer(id);
  const { suspect, counts, setHash, epoch, point, packs } = salvage.salvage;
  const beat = (users: number): void => heartbeat({ users });
  await readWhole(salvage, { counts, setHash, where: `salvage of ${id}/${peer} under epoch ${epoch}` }, beat, signal);
  const { manifest } = base;
  const from = manifest && `snapshot ${manifest.seq} of ${manifest.site}`;
  if (manifest) {
    const { counts: of, setHash: set } = manifest;
    await readWhole(
      base,
      { counts: of, setHash: set, where: `${from} in the vault that the plan names` },
      beat,
      signal,
    );
  }
  const bytes = packs.reduce((sum, pack) => sum + pack.bytes, 0);
  const begun = from ? `both sides began with ${from}` : 'both sides began with nothing';
  return {
    summary: `what ${peer} alone has of ${counts.users} users can be read to its end, as of ${point}; ${begun}`,
    facts: {
      users: counts.users,
      contacts: counts.contacts,
      aclItems: counts.aclItems,
      packs: packs.length,
      bytes,
      suspect: suspect !== null,
      baseUsers: manifest?.counts.users ?? 0,
    },
    ...(suspect !== null && { alarms: [`the salvage of ${peer} is suspect: ${suspect}; ${NO_REMOVALS}`] }),
  };
}

/** Reads every record, one frame at a time, and compares with what was signed. */
async function readWhole(
  records: OpenRecords,
  { counts, setHash, where }: { counts: SnapshotCounts; setHash: string; where: string },
  beat: (users: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const index = await records.index();
  const set = new SetHash();
  for (const user of index.numbers()) set.add(index.userKey(user), index.recordId(user));
  if (set.toString() !== setHash) throw damaged(where, 'its users are not those that were signed');
  const counted = noCounts();
  for await (const { bytes } of records.records()) {
    count(counted, bytes);
    if (counted.users % BEAT_USERS !== 0) continue;
    signal.throwIfAborted();
    beat(counted.users);
  }
  const differs = countsThatDiffer(counts, counted);
  if (differs.length > 0) throw damaged(where, `counts differ from what was signed: ${differs.join(', ')}`);
}

/**
 * Merges what the destination alone has into the rows of its users, who are served here meanwhile: each against what stands
 * when he is written, and once for a salvage. Then the other side of the contacts that it changed is brought to agree, in the
 * transaction that says that it is done. A repeat goes on with those who are left.
 */
export async function reconcileContacts(site: OwnSite, input: PlannedStep, work: LongWork): Promise<StepResult> {
  const { key, plan } = input;
  const { id, keys, limits, domain } = site.customer(key.customer);
  const database = site.database(id);
  const done = await doneBefore(database, input);
  if (done) return done;
  const guard = (client: Parameters<typeof lockEpoch>[0]): Promise<void> =>
    lockEpoch(client, database.name, id, key.epoch);
  await database.transaction(guard);
  const reconcile = reconciliationOf(input);
  if (!reconcile)
    return database.transaction(async (client) => {
      await guard(client);
      return noteEffect(client, input, { summary: NOTHING, facts: { users: 0, written: 0 } });
    });
  const halves = halvesOf(plan.decisions);
  const salvage = reconcile.salvage.manifest;
  const { counts, told } = await withBothSides(site, id, reconcile, work.signal, async (sides) => ({
    counts: await reconcileUsers({
      ...work,
      database,
      customer: id,
      halves,
      epoch: key.epoch,
      salvage,
      keys,
      limit: limits.contacts,
      merges: mergesOf(site, id, halves, reconcile, sides, work),
    }),
    told: sides.salvage.salvage.suspect,
  }));
  return database.transaction(async (client) => {
    await guard(client);
    const mending = { customer: id, domain, lost: halves, limit: limits.contacts, ...work };
    const pairs = await mendMerged(client, mending, salvage);
    return noteEffect(client, input, resultOf(counts, pairs, told));
  }, READ_COMMITTED);
}

function resultOf(
  counts: ReconcileCounts,
  pairs: Awaited<ReturnType<typeof mendMerged>>,
  suspect: string | null,
): StepResult {
  const { users, written, already, notHere, refused, overLimit, quarantined, conflicts, open, denyKept } = counts;
  const told: [number, string][] = [
    [already, 'were brought together before, and stay as they stand'],
    [conflicts, 'had something that both sides changed, and stand by the rule'],
    [open, 'have something to be decided, and stand as they did here'],
    [denyKept, 'are denied something that one side had taken back'],
    [overLimit, 'have more contacts than are allowed; none was cut off'],
    [notHere, 'are not of these halves here any more, and were passed over'],
    [pairs.mended, 'contacts were brought to what the other side says'],
    [pairs.blocked + pairs.full, 'contacts stay less than the other side says, because of a block or a full list'],
  ];
  const alarms = [
    ...(suspect === null ? [] : [`the salvage is suspect: ${suspect}; ${NO_REMOVALS}`]),
    ...(refused === 0 ? [] : [`the database refuses the rows of ${refused} users: they keep those they had`]),
    ...(quarantined === 0 ? [] : [`${quarantined} users are in quarantine: their lists cannot be read`]),
  ];
  return {
    summary: `${users} users had changes at the destination; ${written} were written here${told.flatMap(([n, text]) => (n > 0 ? [`; ${n} ${text}`] : [])).join('')}`,
    facts: {
      ...counts,
      pairsMended: pairs.mended,
      pairsBlocked: pairs.blocked,
      pairsOverLimit: pairs.full,
      suspect: suspect !== null,
    },
    ...(alarms.length > 0 && { alarms }),
  };
}

/** One user who is not the same in all three, for a preview. His name is personal data: for the operator's own eyes. */
export interface PreviewedUser {
  username: string;
  /** His rows here would be written. */
  changes: boolean;
  /** How many of his differences are settled how. */
  because: Partial<Record<UserMerge['differences'][number]['why'], number>>;
}

/** What a reconciliation would do by how things stand now: hears of each user, and answers the counts. Changes nothing. */
export async function previewReconciliation(
  site: OwnSite,
  customer: string,
  halves: readonly string[],
  reconcile: Reconciliation,
  hear: (user: PreviewedUser) => void,
  work: LongWork,
): Promise<ThreeWayCounts & { suspect: string | null }> {
  const counts = noThreeWayCounts();
  return withBothSides(site, customer, reconcile, work.signal, async (sides) => {
    for await (const user of mergesOf(site, customer, halves, reconcile, sides, work)) {
      countMerge(counts, user);
      const { username, changes, differences } = user;
      const because: PreviewedUser['because'] = {};
      for (const { why } of differences) because[why] = (because[why] ?? 0) + 1;
      hear({ username, changes, because });
    }
    return { ...counts, suspect: sides.salvage.salvage.suspect };
  });
}

/** A user as a reconciliation has left him, and what differed; for the operator's own eyes. */
export interface ReconciledUser {
  username: string;
  move: string;
  at: string;
  written: boolean;
  differences: UserMerge['differences'];
}

/** What became of one user of a customer, or of all of a move, in the order of their names. */
export async function readReconciled(
  site: OwnSite,
  customer: string,
  { move = null, username = null }: { move?: string | null; username?: string | null },
): Promise<ReconciledUser[]> {
  const rows = await site.database(customer).query<Omit<ReconciledUser, 'at'> & { at: Date }>(
    `select username, move, at, (document ->> 'written')::boolean as written, document -> 'differences' as differences
       from tandem.reconciled where ($1::text is null or move = $1) and ($2::text is null or username = $2)
      order by username collate "C", at`,
    [move, username],
  );
  return rows.map(({ at, ...rest }) => ({ ...rest, at: at.toISOString() }));
}
