import { condition } from '@temporalio/workflow';
import { failureKind, failureText } from '../model/failures.ts';
import type { StepReport } from '../model/moves.ts';
import type { Step } from '../model/plan.ts';
import { perform } from './activities.ts';
import type { Run } from './run.ts';

/** How a walk ends. `world-worse`: what was signed no longer holds, and nothing has been done. */
export type WalkEnd = 'closed' | 'closed-with-gaps' | 'world-worse' | 'aborted' | 'superseded';

/** A held step waits for an operator; after a month the run closes and says what is missing. */
const HOLD_LIMIT = '30d';

const now = (): string => new Date(Date.now()).toISOString();

/**
 * Walks the steps as a graph: each starts when all it needs is done, a failed one holds its own branch only. Returns
 * when no step can go on.
 */
export async function walk(run: Run): Promise<WalkEnd> {
  const steps = run.currentPlan.decisions.steps;
  const epoch = { number: run.currentPlan.decisions.epoch, site: run.currentPlan.decisions.to, move: run.move };
  let end: WalkEnd | null = null;
  const started = new Map<string, Promise<boolean>>();

  /** Resolves to whether what depends on this step may start. */
  const start = (step: Step): Promise<boolean> => {
    const going = started.get(step.id) ?? take(step);
    started.set(step.id, going);
    return going;
  };

  async function take(step: Step): Promise<boolean> {
    const needs = await Promise.all(steps.filter((s) => step.needs.includes(s.id)).map(start));
    if (end !== null || needs.includes(false)) return false;
    for (;;) {
      const stop = await attempt(run, step, epoch);
      if (stop === null) return true;
      if (stop !== 'failed') {
        end = stop;
        run.changes += 1; // Held steps of other branches must not wait for a run that is over.
        return false;
      }
      if (step.onFailure === 'continue') return true;
      const again = await hold(run, step, () => end !== null);
      if (again === 'aborted') end = 'aborted';
      if (again !== 'retry') return false;
    }
  }

  await Promise.all(steps.map(start));
  if (end !== null) return finish(run, end);
  const whole = run.steps.every((s) => s.state === 'done');
  run.enter(whole ? 'verified' : 'left-gaps');
  return whole ? 'closed' : 'closed-with-gaps';
}

function finish(run: Run, end: WalkEnd): WalkEnd {
  if (end === 'world-worse') run.enter('world-worse');
  if (end === 'superseded') run.enter('newer-epoch');
  if (end === 'aborted') run.enter('abort-asked');
  return end;
}

/** One round of a step. Null when it is done. */
async function attempt(
  run: Run,
  step: Step,
  epoch: { number: number; site: string; move: string },
): Promise<'failed' | 'world-worse' | 'superseded' | null> {
  const report = run.step(step.id);
  Object.assign(report, {
    state: 'running',
    startedAt: report.startedAt ?? now(),
    endedAt: null,
    summary: '',
  } satisfies Partial<StepReport>);
  run.show();
  const key = { customer: run.input.customer, epoch, step: step.id, round: report.round };
  try {
    const { summary, facts } = await perform(step, report.round, { key, act: step.act, plan: run.currentPlan });
    Object.assign(report, { state: 'done', endedAt: now(), summary, facts } satisfies Partial<StepReport>);
    run.write('step', { step: step.id, act: step.act, round: report.round, state: 'done', summary, facts });
    if (step.act === 'serve-users') run.enter('served');
    await run.flush();
    run.show();
    return null;
  } catch (error) {
    const summary = failureText(error);
    Object.assign(report, { state: 'failed', endedAt: now(), summary } satisfies Partial<StepReport>);
    run.write('step', { step: step.id, act: step.act, round: report.round, state: 'failed', summary });
    run.show();
    const kind = failureKind(error);
    if (kind === 'world-worse') return 'world-worse';
    return kind === 'epoch-superseded' ? 'superseded' : 'failed';
  }
}

/** Holds a failed step until an operator asks for another round, the run is over, or the limit has come. */
async function hold(run: Run, step: Step, over: () => boolean): Promise<'retry' | 'aborted' | 'over'> {
  const report = run.step(step.id);
  report.state = 'held';
  run.alarm(`step ${step.id} is held: ${report.summary}`);
  await run.flush();
  const asked = (): boolean => run.retryAsked.has(step.id) || run.abortAsked !== null || over();
  const answered = await condition(asked, HOLD_LIMIT, { summary: `step ${step.id} is held for an operator` });
  if (answered && run.retryAsked.delete(step.id)) {
    report.round += 1;
    return 'retry';
  }
  report.state = 'failed';
  run.show();
  return run.abortAsked && !over() ? 'aborted' : 'over';
}
