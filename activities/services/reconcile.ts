import type { StepResult } from '../../workflows/model/moves.ts';
import { broughtTogether, type BroughtTogether, type Reconciliation } from '../../workflows/model/planned-move.ts';
import type { SnapshotCounts } from '../../workflows/model/snapshots.ts';
import { mendMerged } from '../contacts/mend-merged.ts';
import { noReconcileCounts, READ_COMMITTED, reconcileUsers, type ReconcileCounts } from '../contacts/reconcile.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { countMerge, noThreeWayCounts, type ThreeWayCounts, type UserMerge } from '../contacts/three-way.ts';
import { damaged } from '../vault/bytes.ts';
import type { OpenRecords } from '../vault/open.ts';
import { count, noCounts } from '../vault/record.ts';
import { SetHash } from '../vault/set-hash.ts';
import { countsThatDiffer } from '../vault/verify.ts';
import { mergesOf, withBothSides, type BothSides } from './both-sides.ts';
import { resultOf, sumOf, type Merged } from './brought-together.ts';
import { doneBefore, noteEffect, refuseOvertaken } from './effects.ts';
import { readAnew } from './end-sessions.ts';
import type { PlannedStep } from './planned.ts';
import { NO_REMOVALS } from './reconciliation.ts';
import type { LongWork } from './restore.ts';
import type { OwnSite } from './site.ts';

/** Heartbeats of a reading come after so many users. */
const BEAT_USERS = 500;

const NOTHING = 'the destination has nothing of these users that is not here';

/**
 * Opens every byte of what the destination alone has, and of the snapshots from which both sides began: nothing is written
 * over anybody's rows by what cannot be read to its end. Changes nothing but its line in the journal.
 */
export async function salvageContacts(site: OwnSite, input: PlannedStep, work: LongWork): Promise<StepResult> {
  const { key, plan } = input;
  const database = site.database(key.customer);
  const done = await doneBefore(database, input);
  if (done) return done;
  await database.transaction((client) => refuseOvertaken(client, database.name, key));
  const read = new Set<string>();
  const proofs: Proof[] = [];
  for (const { reconcile } of broughtTogether(plan.decisions))
    proofs.push(
      await withBothSides(site, key.customer, reconcile, work.signal, (sides) =>
        prove(site, key.customer, { sides, of: reconcile, read }, work),
      ),
    );
  return database.connection((client) => noteEffect(client, input, proven(proofs)));
}

interface Proof {
  /** Null: it was read for those before. */
  told: string | null;
  facts: Record<'users' | 'contacts' | 'aclItems' | 'packs' | 'bytes' | 'baseUsers', number>;
  alarms: string[];
}

/** What several are about is read once: who stay are in the same salvage as who move, mostly. */
async function prove(
  site: OwnSite,
  id: string,
  { sides, of, read }: { sides: BothSides; of: Reconciliation; read: Set<string> },
  { heartbeat, signal }: LongWork,
): Promise<Proof> {
  const { salvage, base } = sides;
  const { peer } = site.customer(id);
  const { suspect, counts, setHash, epoch, point, packs } = salvage.salvage;
  const isNew = (document: string): boolean => !read.has(document) && Boolean(read.add(document));
  const beat = (users: number): void => heartbeat({ users });
  const first = isNew(of.salvage.manifest);
  if (first)
    await readWhole(salvage, { counts, setHash, where: `salvage of ${id}/${peer} under epoch ${epoch}` }, beat, signal);
  const { manifest } = base;
  const from = manifest && `snapshot ${manifest.seq} of ${manifest.site}`;
  const begun = manifest !== null && of.base !== null && isNew(of.base.manifest);
  if (begun) {
    const signed = { counts: manifest.counts, setHash: manifest.setHash };
    await readWhole(base, { ...signed, where: `${from} in the vault that the plan names` }, beat, signal);
  }
  const what = first ? `what ${peer} alone has of ${counts.users} users can be read to its end, as of ${point}; ` : '';
  const told = `${what}both sides began with ${from ?? 'nothing'}`;
  return {
    told: first || begun ? told : null,
    facts: {
      users: first ? counts.users : 0,
      contacts: first ? counts.contacts : 0,
      aclItems: first ? counts.aclItems : 0,
      packs: first ? packs.length : 0,
      bytes: first ? packs.reduce((sum, pack) => sum + pack.bytes, 0) : 0,
      baseUsers: begun ? manifest.counts.users : 0,
    },
    alarms: first && suspect !== null ? [`the salvage of ${peer} is suspect: ${suspect}; ${NO_REMOVALS}`] : [],
  };
}

function proven(proofs: readonly Proof[]): StepResult {
  if (proofs.length === 0) return { summary: NOTHING, facts: { users: 0 } };
  const alarms = proofs.flatMap((proof) => proof.alarms);
  const none = { users: 0, contacts: 0, aclItems: 0, packs: 0, bytes: 0, baseUsers: 0 };
  return {
    summary: proofs.flatMap(({ told }) => told ?? []).join('; '),
    facts: {
      ...sumOf(
        proofs.map(({ facts }) => facts),
        none,
      ),
      suspect: alarms.length > 0,
    },
    ...(alarms.length > 0 && { alarms }),
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
 * transaction that says that it is done. A repeat goes on with those who are left. Whoever stays, and was written while he was signed in,
 * is told to come back.
 */
export async function reconcileContacts(site: OwnSite, input: PlannedStep, work: LongWork): Promise<StepResult> {
  const result = await bringTogether(site, input, work);
  const halves = input.plan.decisions.planned?.stayed?.flatMap((one) => one.halves) ?? [];
  return halves.length > 0 ? readAnew(site, input, { halves, result }, work.signal) : result;
}

async function bringTogether(site: OwnSite, input: PlannedStep, work: LongWork): Promise<StepResult> {
  const { key, plan } = input;
  const { id, limits, domain } = site.customer(key.customer);
  const database = site.database(id);
  const done = await doneBefore(database, input);
  if (done) return done;
  const guard = (client: Parameters<typeof lockEpoch>[0]): Promise<void> =>
    lockEpoch(client, database.name, id, key.epoch);
  await database.transaction(guard);
  const all = broughtTogether(plan.decisions);
  if (all.length === 0)
    return database.transaction(async (client) => {
      await guard(client);
      return noteEffect(client, input, { summary: NOTHING, facts: { users: 0, written: 0 } });
    });
  const merged = await mergeAll(site, input, all, work);
  return database.transaction(async (client) => {
    await guard(client);
    // All of them first: of two who were both served by both sites neither says alone what stands.
    const lost = all.flatMap(({ halves }) => halves);
    const mending = { customer: id, domain, lost, limit: limits.contacts, ...work };
    const pairs = [];
    for (const salvage of new Set(all.map(({ reconcile }) => reconcile.salvage.manifest)))
      pairs.push(await mendMerged(client, mending, salvage));
    return noteEffect(client, input, resultOf(merged, sumOf(pairs, { mended: 0, blocked: 0, full: 0 })));
  }, READ_COMMITTED);
}

async function mergeAll(
  site: OwnSite,
  { key, plan }: PlannedStep,
  all: readonly BroughtTogether[],
  work: LongWork,
): Promise<Merged> {
  const { id, keys, limits } = site.customer(key.customer);
  const stayed = plan.decisions.planned?.stayed ?? [];
  const counts: ReconcileCounts[] = [];
  const suspects = new Map<string, string>();
  let stay = 0;
  for (const one of all) {
    const { halves, reconcile } = one;
    const salvage = reconcile.salvage.manifest;
    const of = await withBothSides(site, id, reconcile, work.signal, async (sides) => {
      const { suspect } = sides.salvage.salvage;
      if (suspect !== null) suspects.set(salvage, suspect);
      return reconcileUsers({
        ...work,
        database: site.database(id),
        customer: id,
        halves,
        epoch: key.epoch,
        salvage,
        keys,
        limit: limits.contacts,
        merges: mergesOf(site, id, halves, reconcile, sides, work),
      });
    });
    counts.push(of);
    if (stayed.includes(one)) stay += of.users;
  }
  return { counts: sumOf(counts, noReconcileCounts()), stay, suspects: [...suspects.values()] };
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
  all: readonly BroughtTogether[],
  hear: (user: PreviewedUser) => void,
  work: LongWork,
): Promise<ThreeWayCounts & { suspect: string | null }> {
  const counts = noThreeWayCounts();
  const suspects = new Set<string>();
  for (const { halves, reconcile } of all)
    await withBothSides(site, customer, reconcile, work.signal, async (sides) => {
      const { suspect } = sides.salvage.salvage;
      if (suspect !== null) suspects.add(suspect);
      for await (const user of mergesOf(site, customer, halves, reconcile, sides, work)) {
        countMerge(counts, user);
        const { username, changes, differences } = user;
        const because: PreviewedUser['because'] = {};
        for (const { why } of differences) because[why] = (because[why] ?? 0) + 1;
        hear({ username, changes, because });
      }
    });
  return { ...counts, suspect: suspects.size === 0 ? null : [...suspects].join('; ') };
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
