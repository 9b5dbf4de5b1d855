import { setTimeout } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { Claim } from '../../workflows/model/epoch.ts';
import { halfOf } from '../../workflows/model/plan.ts';
import { whyNotHandOver, type Drain, type Right } from '../../workflows/model/rights.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { plannedClaim } from './claims.ts';
import { noteEffect, readEffect } from './effects.ts';
import { noteGivenAway } from './given-away.ts';
import { nudgeSnapshot } from './nudge.ts';
import { requireServed } from './obeyed.ts';
import { appliedAtPeer, followAtPeer, handOverCopied, releaseAtPeer, rightAtPeer } from './peer-functions.ts';
import type { PlannedStep } from './planned.ts';
import type { OwnSite } from './site.ts';

/** Of the time of an attempt: so long the destination is tried, so that it ends by itself and says why. */
const ATTEMPT_SHARE = 0.8;
/** When the plan does not say. */
const ATTEMPT_MS = 30_000;
const AGAIN_MS = 500;

/**
 * Hands the half over: this site's own database lets go of it in one transaction, the point of no return, and only then the
 * destination's is given it. Never before the half is drained and the destination holds all that was changed here: `not-drained`,
 * `destination-behind`. Between the two nobody serves it; a destination that cannot be told then reads here that it is its own.
 * Safe to repeat, also in a later round.
 */
export async function handOver(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { customer: id, epoch } = input.key;
  const customer = site.customer(id);
  const { to } = input.plan.decisions;
  const half = halfOf(input.plan.decisions);
  const database = site.database(id);
  const given = await database.connection((client) => isGiven(client, input, half));
  // Before anything is let go of: it is there, and under this epoch.
  const claim = await database.connection((client) => plannedClaim(client, id, epoch));
  if (!given && claim) await followAtPeer(customer, claim, signal);
  const found = given ? null : await appliedAtPeer(customer, site.settings.site, signal);
  const result = await letGo(site, input, half, found);
  try {
    return await tellAll(site, input, result, { half, claim }, signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw failure('handed-over', `${id}: ${half} is ${to}'s from now on; ${failureText(error)}`);
  }
}

/** From here on there is no way back: the destination is told, its service asked, and what is needed no more is let go. */
async function tellAll(
  site: OwnSite,
  input: PlannedStep,
  result: StepResult,
  { half, claim }: { half: string; claim: Claim | null },
  signal: AbortSignal | undefined,
): Promise<StepResult> {
  const { customer: id, epoch } = input.key;
  const customer = site.customer(id);
  const { to } = input.plan.decisions;
  const database = site.database(id);
  const copiedAt = await database.connection((client) => readHanded(client, input, half));
  await untilTold(input, signal, async () => {
    if (claim) await followAtPeer(customer, claim, signal);
    await handOverCopied(customer, half, epoch, copiedAt, signal);
  });
  const right = await rightAtPeer(customer, half, { signal });
  if (right?.site === to && right.epoch === epoch.number && !right.open)
    throw failure('site-closed', `${id}: ${half} is ${to}'s to serve, and ${to} has closed itself`);
  const told = await requireServed(site.settings, customer, half, signal, to);
  const kept = await release(site, input, half, signal);
  // A silent one takes its next snapshot by its schedule; until that is covered, this site's own last one stands for them.
  await nudgeSnapshot(site.settings, id);
  return {
    ...result,
    summary: told === '' ? result.summary : `${result.summary}; ${told}`,
    ...(kept !== null && { alarms: [...(result.alarms ?? []), kept] }),
  };
}

/** Users are home, with what both sites had: the destination's salvage is needed no more. Why it is kept, for people; else null. */
async function release(
  site: OwnSite,
  { key, plan }: PlannedStep,
  half: string,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const reconcile = plan.decisions.planned?.reconcile;
  if (!reconcile) return null;
  const customer = site.customer(key.customer);
  const merged = await site.database(key.customer).query(
    `select from tandem.journal where move = $1 and kind = 'step' and key like 'effect/%'
                                  and body::jsonb ->> 'act' = 'reconcile-contacts' limit 1`,
    [key.epoch.move],
  );
  if (merged.length === 0)
    return `what ${customer.peer} alone had of ${half} was not brought together: its salvage is kept there`;
  try {
    await releaseAtPeer(customer, half, reconcile.salvage.epoch, signal);
    return null;
  } catch (error) {
    signal?.throwIfAborted();
    return `the salvage of ${half} is kept at ${customer.peer}: ${failureText(error)}`;
  }
}

/** Whether an earlier attempt or round has let go of it. */
async function isGiven(
  client: Pick<PoolClient, 'query'>,
  { key: { customer, epoch }, plan }: PlannedStep,
  half: string,
): Promise<boolean> {
  const right = await readRight(client, customer, half);
  return right?.site === plan.decisions.to && right.epoch === epoch.number;
}

async function readRight(
  client: Pick<PoolClient, 'query'>,
  customer: string,
  half: string,
  lock = false,
): Promise<Right | null> {
  const { rows } = await client.query<{ site: string; epoch: string }>(
    `select site, epoch::text from tandem.serving where customer = $1 and half = $2${lock ? ' for update' : ''}`,
    [customer, half],
  );
  const [row] = rows;
  return row ? { site: row.site, epoch: Number(row.epoch) } : null;
}

/** From this transaction on the half is the destination's, and nobody serves it until that knows. */
async function letGo(site: OwnSite, input: PlannedStep, half: string, copiedAt: string | null): Promise<StepResult> {
  const { customer: id, epoch } = input.key;
  const { to } = input.plan.decisions;
  const own = site.settings.site;
  const database = site.database(id);
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, id, epoch);
    const done = await readEffect(client, input.key);
    if (done) return done;
    const right = await readRight(client, id, half, true);
    const drain = await takeDrain(client, input, half);
    const facts = { half, users: await countUsers(client, half), epoch: epoch.number };
    const summary = `${to} serves the ${facts.users} users of ${half} under epoch ${epoch.number}`;
    // In a round before this one.
    if (right?.site === to && right.epoch === epoch.number)
      return noteEffect(client, input, { summary, facts: { ...facts, servedAt: new Date().toISOString() } });
    refuse(whyNotHandOver(right, drain, copiedAt, { site: own, epoch: epoch.number }), { id, own, to, half });
    await client.query(
      'update tandem.serving set site = $3, epoch = $4, at = clock_timestamp() where customer = $1 and half = $2',
      [id, half, to, epoch.number],
    );
    await noteGivenAway(client, { customer: id, half, epoch: epoch.number, copiedAt });
    // The last of what was changed here is applied at the destination: nothing is left to be salvaged.
    await client.query(
      'delete from tandem.salvage where customer = $1 and half = $2 and epoch = $3 and manifest is null',
      [id, half, epoch.number],
    );
    const drainedMs = drain?.ageMs ?? 0;
    return noteEffect(client, input, {
      summary,
      facts: { ...facts, drainedMs, servedAt: new Date().toISOString() },
    });
  });
}

/** What the destination held when this site let go of the half. */
async function readHanded(
  client: Pick<PoolClient, 'query'>,
  { key: { customer, epoch } }: PlannedStep,
  half: string,
): Promise<string> {
  const { rows } = await client.query<{ at: Date }>(
    'select copied_at as at from tandem.handed where customer = $1 and half = $2 and epoch = $3',
    [customer, half, epoch.number],
  );
  const [row] = rows;
  if (!row)
    throw failure('database-wrong', `${customer}: nothing was handed over of ${half} under epoch ${epoch.number}`);
  return row.at.toISOString();
}

/** It goes with the right, or stays when the transaction fails. */
async function takeDrain(
  client: PoolClient,
  { key: { customer, epoch } }: PlannedStep,
  half: string,
): Promise<(Drain & { ageMs: number }) | null> {
  const { rows } = await client.query<{ epoch: string; obeyedAt: Date | null; ageMs: number }>(
    `delete from tandem.drained where customer = $1 and half = $2 and move = $3
     returning epoch::text, obeyed_at as "obeyedAt", (extract(epoch from clock_timestamp() - at) * 1000)::int as "ageMs"`,
    [customer, half, epoch.move],
  );
  const [row] = rows;
  return row ? { epoch: Number(row.epoch), obeyedAt: row.obeyedAt?.toISOString() ?? null, ageMs: row.ageMs } : null;
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

async function countUsers(client: PoolClient, half: string): Promise<number> {
  const { rows } = await client.query<{ n: number }>('select count(*)::int as n from tandem.home where site = $1', [
    half,
  ]);
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

/** For `done`, by the destination's own database: whether it serves the half under this move's epoch. */
export async function handedOver(
  site: OwnSite,
  { key, plan }: PlannedStep,
  signal: AbortSignal,
): Promise<{ seen: boolean; summary: string }> {
  const half = halfOf(plan.decisions);
  const { to } = plan.decisions;
  const right = await rightAtPeer(site.customer(key.customer), half, { signal });
  const seen = right?.site === to && right.epoch === key.epoch.number && right.open;
  const told = right ? `${right.site} may serve them under epoch ${right.epoch}` : 'nobody may serve them there';
  return { seen, summary: `users of ${half}: ${told}${right?.open === false ? ', and does not' : ''}` };
}
