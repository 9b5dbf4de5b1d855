import { setTimeout } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { Receipt, SnapshotSummary, Timestamp } from '../../workflows/model/snapshots.ts';
import { peerQuery, within, withPeerVault } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import { readReceipt } from '../vault/catalog.ts';
import { readManifest } from '../vault/open.ts';
import { takeSnapshot } from '../vault/snapshot.ts';
import { refuseHeld } from './peer-functions.ts';
import { doneBefore, noteEffect, refuseOvertaken } from './effects.ts';
import type { PlannedStep } from './planned.ts';
import type { LongWork } from './restore.ts';
import type { OwnSite } from './site.ts';

/** What a question to the destination may take. */
const PEER_MS = 3000;
/** How often its database is asked whether it has the copy: users may be waiting for it. */
const ASK_MS = 100;
/** A trigger may be lost, and a run that was under way may have looked too early. */
const NUDGE_MS = 3000;
/** Another snapshot of the customer is under way: its turn comes first. */
const TURN_MS = 200;
/** Of the step's time: what is left to tell why. */
const TELL_MS = 5000;
/** When the plan does not say. */
const USUAL_MS = 600_000;

/** Asks the destination to look, once more when it was asked before. Its module is large, and loaded while the database reads. */
export type Nudge = (again: boolean) => Promise<{ nudged: boolean; because: string }>;

/**
 * Takes a snapshot of what has changed here, and waits until the destination's standby copy holds it, or a newer one: by what
 * its database says, and that for every user of the half. `destination-behind` tells how far it has come. The next attempt takes another one; only what changed
 * since the last is read and sent.
 */
export async function copyAhead(
  site: OwnSite,
  input: PlannedStep,
  work: LongWork,
  nudge: Nudge = (again) => nudgePeer(site, input.key.customer, again),
): Promise<StepResult> {
  const { key, plan } = input;
  const customer = site.customer(key.customer);
  const database = site.database(customer.id);
  const done = await doneBefore(database, input);
  if (done) return done;
  const begun = performance.now();
  const waitedFor = await database.transaction(async (client) => {
    await refuseOvertaken(client, database.name, key);
    return isDrained(client, input);
  });
  const { timeoutMs = USUAL_MS } = plan.decisions.steps.find(({ id }) => id === key.step) ?? {};
  const until = begun + Math.max(timeoutMs - TELL_MS, timeoutMs / 2);
  const taken = await takeInTurn(site, customer, { until, read: waitedFor ? 'new-rows' : 'changes' }, work);
  const takenMs = Math.round(performance.now() - begun);
  const nudges = await waitApplied(site, customer, taken, { until, nudge, halves: halvesOf(plan.decisions), ...work });
  const waitedMs = Math.round(performance.now() - begun) - takenMs;
  const { seq, gen, point, counts } = taken;
  return database.connection((client) =>
    noteEffect(client, input, {
      summary: `${customer.peer} holds snapshot ${seq} of ${site.settings.site}, as of ${point}: taken in ${seconds(takenMs)}, there ${seconds(waitedMs)} later`,
      facts: { gen, seq, point, users: counts.users, contacts: counts.contacts, takenMs, waitedMs, nudges },
    }),
  );
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

async function nudgePeer(site: OwnSite, customer: string, again: boolean): ReturnType<Nudge> {
  const { nudgeStandby } = await import('./nudge.ts');
  return nudgeStandby(site.settings, customer, again);
}

/** Whether nobody is served while this copy is waited for: the one before it has looked into every row. */
async function isDrained(client: PoolClient, { key: { customer, epoch }, plan }: PlannedStep): Promise<boolean> {
  const { rows } = await client.query(
    'select from tandem.drained where customer = $1 and half = any($2) and move = $3 and obeyed_at is not null',
    [customer, halvesOf(plan.decisions), epoch.move],
  );
  return rows.length > 0;
}

/** By the code and the lock of the schedule's: one at a time, whoever asked for it. */
async function takeInTurn(
  site: OwnSite,
  { id, keys, snapshots }: CustomerSettings,
  { until, read }: { until: number; read: 'changes' | 'new-rows' },
  { heartbeat, signal }: LongWork,
): Promise<SnapshotSummary> {
  const { site: own, signingKey, publicKeys } = site.settings;
  const database = site.database(id);
  const who = { customer: id, site: own, keys, signingKey, publicKeys };
  for (;;) {
    try {
      const limits = { read, maxAgeMs: snapshots.budgetMs, heartbeat, signal };
      return await takeSnapshot({ vault: site.vault, database, ...who, ...limits });
    } catch (error) {
      signal.throwIfAborted();
      const kind = failureKind(error);
      const passes = kind === 'snapshot-running' || kind === 'snapshot-superseded';
      if (!passes || performance.now() >= until) throw error;
      heartbeat({ users: 0 });
      await setTimeout(TURN_MS, undefined, { signal });
    }
  }
}

interface Waiting extends LongWork {
  until: number;
  nudge: Nudge;
  halves: readonly string[];
}

/** Answers how often the destination had to be told. */
async function waitApplied(
  site: OwnSite,
  customer: CustomerSettings,
  taken: SnapshotSummary,
  { until, nudge, halves, heartbeat, signal }: Waiting,
): Promise<number> {
  let [nudges, next] = [0, 0];
  let silent = '';
  let told = '';
  while (performance.now() < until) {
    signal.throwIfAborted();
    const asks = performance.now() >= next;
    if (asks) {
      next = performance.now() + NUDGE_MS;
      nudges += 1;
      // Not waited for: the copy may be there before the answer is.
      void nudge(nudges > 1).then(
        ({ nudged, because }) => (told = nudged ? '' : because),
        (error: unknown) => (told = failureText(error)),
      );
    }
    try {
      const point = await appliedPoint(customer, site.settings.site, signal);
      silent = '';
      if (point !== null && Date.parse(point) >= Date.parse(taken.point)) {
        await refuseHeld(customer, site.settings.site, halves, signal);
        return nudges;
      }
      if (asks && nudges > 1) await refuseSuspect(site, customer, taken, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (failureKind(error) === 'destination-behind') throw error;
      silent = failureText(error);
    }
    heartbeat({ nudges });
    await setTimeout(ASK_MS, undefined, { signal });
  }
  const stage = silent === '' ? await howFar(site, customer, taken, signal) : { stage: 'silent', told: silent };
  throw failure(
    'destination-behind',
    `${customer.peer}: it does not hold snapshot ${taken.seq} of ${site.settings.site} in time: ${stage.told}${told === '' ? '' : `; not told: ${told}`}`,
    { stage: stage.stage },
  );
}

/** Only a person's word helps such a one on, and users may be served nowhere meanwhile. */
async function refuseSuspect(
  site: OwnSite,
  customer: CustomerSettings,
  taken: SnapshotSummary,
  signal: AbortSignal,
): Promise<void> {
  const { stage, told } = await howFar(site, customer, taken, signal);
  if (stage !== 'suspect') return;
  throw failure(
    'destination-behind',
    `${customer.peer}: it does not apply snapshot ${taken.seq} of ${site.settings.site}: ${told}; \`tandem snapshot accept\` has it applied`,
    { stage },
  );
}

/** Of the newest snapshot of this site that the destination's standby copy holds whole; null when there is none. */
async function appliedPoint(
  { id, peer, peerDatabaseUrl }: CustomerSettings,
  own: string,
  signal: AbortSignal,
): Promise<Timestamp | null> {
  const sql = 'select point from tandem.observe_applied() where customer = $1 and site = $2';
  const rows = await within(
    PEER_MS,
    `database of ${id} at ${peer}`,
    (limit) => peerQuery<{ point: Date | null }>(peerDatabaseUrl, PEER_MS, sql, [id, own], limit),
    signal,
  );
  return rows[0]?.point?.toISOString() ?? null;
}

/** Which of pull, verify and apply it has not done, by what its vault shows. */
export async function howFar(
  site: OwnSite,
  { id, peer }: CustomerSettings,
  taken: SnapshotSummary,
  signal: AbortSignal,
): Promise<{ stage: 'pull' | 'verify' | 'suspect' | 'apply' | 'unknown'; told: string }> {
  const access = site.settings.peerVaults.get(peer);
  if (!access) return { stage: 'unknown', told: `no credentials for its vault are configured` };
  const { publicKeys, site: own } = site.settings;
  const look = (limit: AbortSignal): Promise<{ held: boolean; receipt: Receipt | null }> =>
    withPeerVault(access, async (vault) => {
      const at = { vault, publicKeys, signal: limit };
      const held = (await readManifest({ ...at, id: taken })) !== null;
      const receipt = held ? await readReceipt({ ...at, customer: id, site: own }, peer, taken) : null;
      return { held, receipt };
    });
  try {
    const { held, receipt } = await within(PEER_MS, `vault of ${peer}`, look, signal);
    if (!held) return { stage: 'pull', told: 'its vault has not pulled it' };
    if (!receipt) return { stage: 'verify', told: 'its vault holds it, and no receipt: it is not verified there' };
    if (receipt.suspect !== undefined) return { stage: 'suspect', told: `it is suspect there: ${receipt.suspect}` };
    return { stage: 'apply', told: 'it is verified there, and not applied to the standby copy' };
  } catch (error) {
    signal.throwIfAborted();
    return { stage: 'unknown', told: failureText(error) };
  }
}
