import { condition } from '@temporalio/workflow';
import { failureText } from '../model/failures.ts';
import type { Motion } from '../model/motions.ts';
import type { StepInput } from '../model/moves.ts';
import type { Step } from '../model/plan.ts';
import { desk } from './activities.ts';
import type { Run } from './run.ts';

/** A held step waits for an operator; after a month the run closes and says what is missing. */
const HOLD_LIMIT = '30d';

/** What comes of a held step. `passed`: what needs it may start. `over`: the run ends, or nobody answered. */
export type HoldEnd = 'retry' | 'passed' | 'aborted' | 'over';

const now = (): string => new Date(Date.now()).toISOString();

/** Holds a step until operators have answered, the run is over, or the limit has come. */
export async function hold(run: Run, step: Step, input: () => StepInput, over: () => boolean): Promise<HoldEnd> {
  const report = run.step(step.id);
  for (;;) {
    report.state = 'held';
    report.heldAt ??= now();
    run.alarm(`step ${step.id} is held: ${report.summary}`);
    await run.flush();
    const asked = (): boolean => run.answers.has(step.id) || (run.abortAsked !== null && run.mayAbort) || over();
    await condition(() => asked() || run.gone !== null, HOLD_LIMIT, {
      summary: `step ${step.id} is held for an operator`,
    });
    if (run.gone) throw run.gone;
    const answer = run.answers.get(step.id);
    run.answers.delete(step.id);
    if (!answer || over()) {
      report.state = 'failed';
      run.show();
      return !over() && run.abortAsked !== null ? 'aborted' : 'over';
    }
    // What two signed is in the journal before anything is done by it.
    await run.flush();
    if (answer.answer === 'retry') {
      report.round += 1;
      Object.assign(report, { state: 'waiting', heldAt: null });
      return 'retry';
    }
    if (await passes(run, step, input(), answer)) return 'passed';
  }
}

/** Skipped, or done by hand as far as the act's own check can see. */
async function passes(
  run: Run,
  step: Step,
  input: StepInput,
  { answer, operators, because }: Motion,
): Promise<boolean> {
  const report = run.step(step.id);
  const by = operators.join(' and ');
  if (answer === 'done') {
    const held = report.summary;
    report.summary = `done by hand, says ${by}: it is being looked at`;
    run.show();
    const { seen, summary } = await check(step, input);
    if (!seen) {
      report.summary = `done by hand, says ${by}, and it is not: ${summary}; it is held because: ${held.replace(/^.*; it is held because: /s, '')}`;
      return false;
    }
    Object.assign(report, { state: 'done-by-hand', summary: `done by hand (${by}: ${because}); ${summary}` });
  } else Object.assign(report, { state: 'skipped', summary: `skipped by ${by}: ${because}` });
  Object.assign(report, { endedAt: now(), heldAt: null });
  const { round, state, summary } = report;
  run.write('step', { step: step.id, act: step.act, round, state, summary, operators, because });
  await run.flush();
  run.show();
  return true;
}

async function check(step: Step, input: StepInput): Promise<{ seen: boolean; summary: string }> {
  if (step.act === 'wait-for-operator') return { seen: true, summary: 'it was waited for' };
  try {
    return await desk['check-effect'](input);
  } catch (error) {
    return { seen: false, summary: failureText(error) };
  }
}
