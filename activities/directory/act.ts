import { failure, failureText } from '../../workflows/model/failures.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { duration } from '../../workflows/model/rto.ts';
import { ageMs } from '../../workflows/model/snapshots.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { doneBefore, noteEffect } from '../services/effects.ts';
import type { PlannedStep } from '../services/planned.ts';
import type { OwnSite } from '../services/site.ts';
import { directoryState, tellHeld, tellState, type DirectoryState } from './answer.ts';
import { followDirectory, isDirectoryFault } from './follow.ts';

/** A move does not wait longer for the customer's directory: the last good answer is there. */
const MOVE_LIMIT_MS = 60_000;
/** Of the time of an attempt; the rest is for taking what came. */
const READING_SHARE = 0.5;

/**
 * The act `apply-entitlements`: asks the directory at this site before anybody is served, so that what was disabled while a
 * site was dark is disabled when it opens. Without an answer, or with one that would disable too many, the last good one
 * stays in force, and its age is told. Where there never was one nobody knows who is entitled: `directory-unreachable`.
 */
export async function applyEntitlements(site: OwnSite, input: PlannedStep, signal: AbortSignal): Promise<StepResult> {
  const { key, plan } = input;
  const customer = site.customer(key.customer);
  const database = site.database(customer.id);
  const done = await doneBefore(database, input);
  if (done) return done;
  await database.transaction((client) => lockEpoch(client, database.name, customer.id, key.epoch));
  const result = customer.directory
    ? await askedNow(site, input, signal)
    : { summary: 'the customer has no directory: whoever has a home has an account', facts: { directory: false } };
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, customer.id, key.epoch);
    const { rows } = await client.query<{ entitled: number; disabled: number }>(
      `select count(*) filter (where tandem.entitled(username))::int as entitled,
              count(*) filter (where not tandem.entitled(username))::int as disabled
         from tandem.home where site = any($1)`,
      [halvesOf(plan.decisions)],
    );
    const { entitled = 0, disabled = 0 } = rows[0] ?? {};
    const summary = `${entitled} users of ${halvesOf(plan.decisions).join(' and ')} are entitled, ${disabled} are not; ${result.summary}`;
    return noteEffect(client, input, { ...result, summary, facts: { ...result.facts, entitled, disabled } });
  });
}

async function askedNow(site: OwnSite, { key, plan }: PlannedStep, outer: AbortSignal): Promise<StepResult> {
  const customer = site.customer(key.customer);
  const { directory } = customer;
  if (!directory) throw failure('not-configured', `${customer.id}: has no directory here`);
  const step = plan.decisions.steps.find((s) => s.id === key.step);
  const limitMs = Math.min(MOVE_LIMIT_MS, READING_SHARE * (step?.timeoutMs ?? MOVE_LIMIT_MS));
  const late = AbortSignal.timeout(limitMs);
  let because: string | null;
  try {
    const outcome = await followDirectory({
      site: site.settings.site,
      customer,
      settings: directory,
      signal: AbortSignal.any([outer, late]),
      guard: (client, name) => lockEpoch(client, name, customer.id, key.epoch),
    });
    because = outcome.state === 'held' ? tellHeld(outcome.held) : null;
  } catch (error) {
    outer.throwIfAborted();
    if (!late.aborted && !isDirectoryFault(error)) throw error;
    because = late.aborted ? `no whole answer within ${duration(limitMs)}` : failureText(error);
  }
  const state = await directoryState(site.database(customer.id), customer.id);
  if (!state?.at)
    throw failure(
      'directory-unreachable',
      `directory of ${customer.id}: it was never believed at ${site.settings.site}, nobody knows who is entitled: ${because ?? 'no answer'}`,
    );
  return told(state, because);
}

function told(state: DirectoryState, because: string | null): StepResult {
  const age = state.at === null ? 0 : ageMs(state.at, Date.now());
  const facts = { directory: true, answered: because === null, answerAt: state.at, answerAgeMs: age };
  if (because === null) return { summary: tellState(state, Date.now()), facts };
  const old = `by the directory's answer of ${duration(age)} ago, because a new one was not taken: ${because}`;
  return { summary: old, facts: { ...facts, because }, alarms: [`who may be served is decided ${old}`] };
}

/** Whether an answer is in force and no later one waits, whoever brought it there. */
export async function entitlementsStand(
  site: OwnSite,
  { key }: PlannedStep,
): Promise<{ seen: boolean; summary: string }> {
  if (!site.customer(key.customer).directory) return { seen: true, summary: 'the customer has no directory' };
  const state = await directoryState(site.database(key.customer), key.customer);
  return { seen: state?.at != null && state.held === null, summary: tellState(state, Date.now()) };
}
