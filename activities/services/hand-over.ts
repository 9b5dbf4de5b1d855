import { setTimeout } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { Claim } from '../../workflows/model/epoch.ts';
import { homeOf } from '../../workflows/model/half.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import { whyNotHandOver, type Drain, type Right } from '../../workflows/model/rights.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { plannedClaim } from './claims.ts';
import { shareCohorts } from './cohorts.ts';
import { noteEffect, readEffect } from './effects.ts';
import { noteGivenAway } from './given-away.ts';
import { lookForLostHandOvers } from './lost-hand-over.ts';
import { nudgeSnapshot } from './nudge.ts';
import { requireServed } from './obeyed.ts';
import { readRights } from './own-rights.ts';
import { releaseReconciled } from './handed-home.ts';
import { appliedAtPeer, followAtPeer, handOverCopied, refuseHeld, rightAtPeer } from './peer-functions.ts';
import type { PlannedStep } from './planned.ts';
import type { OwnSite } from './site.ts';

/** Of the time of an attempt: so long the destination is tried, so that it ends by itself and says why. */
const ATTEMPT_SHARE = 0.8;
/** When the plan does not say. */
const ATTEMPT_MS = 30_000;
const AGAIN_MS = 500;

/**
 * Hands the halves over: this site's own database lets go of them in one transaction, the point of no return, and only then the
 * destination's is given them. Never before they are drained and the destination holds all that was changed here: `not-drained`,
 * `destination-behind`. Between the two nobody serves it; a destination that cannot be told then reads here that it is its own.
 * Safe to repeat, also in a later round.
 */
export async function handOver(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { customer: id, epoch } = input.key;
  const customer = site.customer(id);
  const { to } = input.plan.decisions;
  const halves = halvesOf(input.plan.decisions);
  const database = site.database(id);
  // An attempt before this one may have given it, and this database have lost that: its users have changed things there since.
  await lookForLostHandOvers(database, customer, signal);
  const given = await database.connection((client) => areGiven(client, input, halves));
  // Before anything is let go of: it is there, and under this epoch.
  const claim = await database.connection((client) => plannedClaim(client, id, epoch));
  if (!given && claim) await followAtPeer(customer, claim, signal);
  const found = given ? null : await appliedAtPeer(customer, site.settings.site, signal);
  if (!given) await refuseHeld(customer, site.settings.site, halves, signal);
  const result = await letGo(site, input, halves, found);
  try {
    return await tellAll(site, input, result, { halves, claim }, signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw failure(
      'handed-over',
      `${id}: ${halves.join(' and ')} ${halves.length > 1 ? 'are' : 'is'} ${to}'s from now on; ${failureText(error)}`,
    );
  }
}

/** From here on there is no way back: the destination is told, its service asked, and what is needed no more is let go. */
async function tellAll(
  site: OwnSite,
  input: PlannedStep,
  result: StepResult,
  { halves, claim }: { halves: readonly string[]; claim: Claim | null },
  signal: AbortSignal | undefined,
): Promise<StepResult> {
  const { customer: id, epoch } = input.key;
  const customer = site.customer(id);
  const { to } = input.plan.decisions;
  const database = site.database(id);
  const copiedAt = await database.connection((client) => readHanded(client, input, halves));
  await untilTold(input, signal, async () => {
    if (claim) await followAtPeer(customer, claim, signal);
    // Whoever is in none of these halves there would be served by nobody, or by both sites.
    await shareCohorts(site, customer, homeOf(halves[0] ?? ''), signal);
    for (const half of halves) await handOverCopied(customer, half, epoch, copiedAt, signal);
  });
  for (const half of halves) {
    const right = await rightAtPeer(customer, half, { signal });
    if (right?.site === to && right.epoch === epoch.number && !right.open)
      throw failure('site-closed', `${id}: ${half} is ${to}'s to serve, and ${to} has closed itself`);
  }
  const told = await requireServed(site.settings, customer, halves, signal, to);
  const kept = await releaseReconciled(site, input, signal);
  // A silent one takes its next snapshot by its schedule; until that is covered, this site's own last one stands for them.
  await nudgeSnapshot(site.settings, id);
  return {
    ...result,
    summary: told === '' ? result.summary : `${result.summary}; ${told}`,
    ...(kept !== null && { alarms: [...(result.alarms ?? []), kept] }),
  };
}

/** Whether an earlier attempt or round has let go of them. */
async function areGiven(
  client: Pick<PoolClient, 'query'>,
  { key: { customer, epoch }, plan }: PlannedStep,
  halves: readonly string[],
): Promise<boolean> {
  const rights = await readRights(client, customer, halves);
  return halves.every((half) => isRightOf(rights.get(half), plan.decisions.to, epoch.number));
}

const isRightOf = (right: Right | undefined, site: string, epoch: number): boolean =>
  right?.site === site && right.epoch === epoch;

/** From this transaction on the halves are the destination's, and nobody serves them until that knows. */
async function letGo(
  site: OwnSite,
  input: PlannedStep,
  halves: readonly string[],
  copiedAt: string | null,
): Promise<StepResult> {
  const { customer: id, epoch } = input.key;
  const { to } = input.plan.decisions;
  const own = site.settings.site;
  const database = site.database(id);
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, id, epoch);
    const done = await readEffect(client, input.key);
    if (done) return done;
    const rights = await readRights(client, id, halves, 'for update');
    const drains = await takeDrains(client, input, halves);
    const told = halves.join(' and ');
    const facts = { half: told, users: await countUsers(client, halves), epoch: epoch.number };
    const summary = `${to} serves the ${facts.users} users of ${told} under epoch ${epoch.number}`;
    // In a round before this one.
    if (halves.every((half) => isRightOf(rights.get(half), to, epoch.number)))
      return noteEffect(client, input, { summary, facts: { ...facts, servedAt: new Date().toISOString() } });
    for (const half of halves) {
      const why = whyNotHandOver(rights.get(half) ?? null, drains.get(half) ?? null, copiedAt, {
        site: own,
        epoch: epoch.number,
      });
      refuse(why, { id, own, to, half });
      await noteGivenAway(client, { customer: id, half, epoch: epoch.number, copiedAt });
    }
    await client.query(
      'update tandem.serving set site = $3, epoch = $4, at = clock_timestamp() where customer = $1 and half = any($2)',
      [id, halves, to, epoch.number],
    );
    // The last of what was changed here is applied at the destination: nothing is left to be salvaged.
    await client.query(
      'delete from tandem.salvage where customer = $1 and half = any($2) and epoch = $3 and manifest is null',
      [id, halves, epoch.number],
    );
    const drainedMs = Math.max(0, ...[...drains.values()].map(({ ageMs }) => ageMs));
    return noteEffect(client, input, {
      summary,
      facts: { ...facts, drainedMs, servedAt: new Date().toISOString() },
    });
  });
}

/** What the destination held when this site let go of the halves, in one transaction. */
async function readHanded(
  client: Pick<PoolClient, 'query'>,
  { key: { customer, epoch } }: PlannedStep,
  halves: readonly string[],
): Promise<string> {
  const { rows } = await client.query<{ at: Date }>(
    'select copied_at as at from tandem.handed where customer = $1 and half = any($2) and epoch = $3 order by 1 desc',
    [customer, halves, epoch.number],
  );
  const [row] = rows;
  if (!row || rows.length !== halves.length)
    throw failure(
      'database-wrong',
      `${customer}: not all of ${halves.join(' and ')} was handed over under epoch ${epoch.number}`,
    );
  return row.at.toISOString();
}

/** They go with the right, or stay when the transaction fails. */
async function takeDrains(
  client: PoolClient,
  { key: { customer, epoch } }: PlannedStep,
  halves: readonly string[],
): Promise<ReadonlyMap<string, Drain & { ageMs: number }>> {
  const { rows } = await client.query<{ half: string; epoch: string; obeyedAt: Date | null; ageMs: number }>(
    `delete from tandem.drained where customer = $1 and half = any($2) and move = $3
     returning half, epoch::text, obeyed_at as "obeyedAt", (extract(epoch from clock_timestamp() - at) * 1000)::int as "ageMs"`,
    [customer, halves, epoch.move],
  );
  return new Map(
    rows.map(({ half, epoch: number, obeyedAt, ageMs }) => [
      half,
      { epoch: Number(number), obeyedAt: obeyedAt?.toISOString() ?? null, ageMs },
    ]),
  );
}

function refuse(
  why: ReturnType<typeof whyNotHandOver>,
  { id, own, to, half }: { id: string; own: string; to: string; half: string },
): void {
  if (why === null) return;
  if (why === 'not-its-own')
    throw failure('epoch-superseded', `${id}: ${own} has no right to ${half} under the epoch of this move`);
  if (why === 'not-drained')
    throw failure('not-drained', `${id}: ${own} has not drained ${half} in this move, or it was undone`);
  throw failure('destination-behind', `${id}: ${to} does not hold a snapshot of ${own} from after ${half} was drained`);
}

async function countUsers(client: PoolClient, halves: readonly string[]): Promise<number> {
  const { rows } = await client.query<{ n: number }>(
    'select count(*)::int as n from tandem.home where site = any($1)',
    [halves],
  );
  return rows[0]?.n ?? 0;
}

/** Again and again: nobody serves these users until it has come through. */
async function untilTold(
  input: PlannedStep,
  signal: AbortSignal | undefined,
  tell: () => Promise<void>,
): Promise<void> {
  const step = input.plan.decisions.steps.find(({ id }) => id === input.key.step);
  const end = performance.now() + ATTEMPT_SHARE * (step?.timeoutMs ?? ATTEMPT_MS);
  for (;;) {
    try {
      return await tell();
    } catch (error) {
      if (failureKind(error) !== 'destination-unreachable' || performance.now() + AGAIN_MS > end) throw error;
      await setTimeout(AGAIN_MS, undefined, signal && { signal });
    }
  }
}
