import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { Step } from '../../workflows/model/plan.ts';
import type { SiteSettings } from '../settings.ts';
import type { Seen } from './check.ts';
import { commandEffect } from './command.ts';
import { doneBefore, noteEffect, readEffect } from './effects.ts';
import { underEpoch } from './epoch-lock.ts';
import { httpEffect } from './http.ts';
import type { PlannedStep } from './planned.ts';
import type { OutsideCall, OutsideEffect } from './port.ts';
import type { OwnSite } from './site.ts';

/** Of the time of an attempt; the rest is for the lock and the journal, so that it ends by itself and says why. */
const ATTEMPT_SHARE = 0.9;

/** Acts that a service which is not ours performs. */
export type OutsideAct = 'call-http' | 'run-command';

/**
 * Has a service that is not ours do what a step asks for, under a shared lock on the step's epoch that is held until it
 * is done: a move that was overtaken sends nothing. What it did is written down in the transaction of that lock; should
 * that fail, the next attempt asks again with the same key.
 */
export async function performOutside(
  site: OwnSite,
  input: PlannedStep,
  act: OutsideAct,
  signal: AbortSignal,
): Promise<StepResult> {
  const { effect, name, limitMs } = find(site.settings, input, act);
  const done = await doneBefore(site.database(input.key.customer), input);
  if (done) return done;
  return underEpoch(site, input.key, { limitMs, signal }, async (client, ended) => {
    // By an attempt that came to its end while this one waited for its turn.
    const before = await readEffect(client, input.key);
    if (before) return before;
    ended.throwIfAborted();
    return noteEffect(client, input, await effect.perform(name, callOf(input), { limitMs, signal: ended }));
  });
}

/** Asks the entry's own check whether the effect stands. */
export async function checkOutside(
  site: OwnSite,
  input: PlannedStep,
  act: OutsideAct,
  signal: AbortSignal,
): Promise<Seen> {
  const { effect, name, limitMs } = find(site.settings, input, act);
  return effect.check(name, callOf(input), { limitMs, signal });
}

function find(
  settings: SiteSettings,
  input: PlannedStep,
  act: OutsideAct,
): { effect: OutsideEffect; name: string; limitMs: number } {
  const step = plannedAs(input, act);
  const effect = act === 'call-http' ? httpEffect(settings) : commandEffect(settings);
  const name = (act === 'call-http' ? step.request : step.command) ?? '';
  return { effect, name, limitMs: Math.min(effect.limitMs(name), ATTEMPT_SHARE * step.timeoutMs) };
}

/** The step as it was signed: what is asked of others stands there, and nowhere else. */
function plannedAs({ key, plan }: PlannedStep, act: OutsideAct): Step {
  const step = plan.decisions.steps.find((s) => s.id === key.step);
  if (step?.act === act) return step;
  throw failure('input-invalid', `step ${key.step}: the plan that was signed has no such step with ${act}`);
}

function callOf({ key, act, plan }: PlannedStep): OutsideCall {
  const { customer, epoch, step, round } = key;
  const { from, to } = plan.decisions;
  const { number, move } = epoch;
  return { key: `${customer}/${number}/${step}/${round}`, customer, move, epoch: number, act, step, round, from, to };
}
