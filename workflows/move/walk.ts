import { CancellationScope, condition } from '@temporalio/workflow';
import { failureKind, failureText } from '../model/failures.ts';
import { behind, type StepInput, type StepReport } from '../model/moves.ts';
import { claimantOf, type Step } from '../model/plan.ts';
import { turnBackStart, turnBackStep } from '../model/turn-back.ts';
import { perform } from './activities.ts';
import { startFollowers } from './followers.ts';
import { hold } from './hold.ts';
import { atItsPace, lookAhead } from './pace.ts';
import type { Run } from './run.ts';

/** How a walk ends. `world-worse`: what was signed no longer holds, and nothing has been done. */
export type WalkEnd = 'closed' | 'closed-with-gaps' | 'world-worse' | 'aborted' | 'turned-back' | 'superseded';

const now = (): string => new Date(Date.now()).toISOString();

/**
 * Walks the steps as a graph: each starts when all it needs is behind it, a failed one holds its own branch only. Returns
 * when no step can go on, and none runs.
 */
export async function walk(run: Run): Promise<WalkEnd> {
  const end = run.turningBack ? 'turned-back' : await new Walk(run, run.currentPlan.decisions.steps).toEnd();
  return end === 'turned-back' ? turnBack(run) : end;
}

/** What the steps had under way has ended: the source gets its users back, or operators decide otherwise. */
async function turnBack(run: Run): Promise<WalkEnd> {
  if (!run.steps.some((s) => s.id === turnBackStep.id)) run.steps.push({ ...turnBackStart, facts: {} });
  await new Walk(run, [turnBackStep]).through();
  const { state } = run.step(turnBackStep.id);
  const given = state === 'done' || state === 'done-by-hand';
  run.enter(given ? 'turned-back' : 'left-gaps');
  return given ? 'turned-back' : 'closed-with-gaps';
}

class Walk {
  private readonly run: Run;
  private readonly steps: readonly Step[];
  private readonly started = new Map<string, Promise<boolean>>();
  private readonly underWay = new Set<CancellationScope>();
  private end: WalkEnd | 'broken' | null = null;

  constructor(run: Run, steps: readonly Step[]) {
    this.run = run;
    this.steps = steps;
    run.onTurnBack = () => this.stop('turned-back');
    // Before its epoch a planned move may bring much over: whoever aborts it does not wait for that.
    run.onAbort = () => {
      if (run.workflow === 'relocate' && run.mayAbort) this.stop('aborted');
    };
  }

  /** Ends when no step can go on, and none runs. */
  async through(): Promise<void> {
    const branches = await Promise.allSettled(this.steps.map((step) => this.start(step)));
    const broken = branches.find((branch) => branch.status === 'rejected');
    if (broken) throw broken.reason; // Only now: an activity that runs must not outlive the run.
  }

  async toEnd(): Promise<WalkEnd> {
    await this.through();
    const { run, end } = this;
    if (end === 'world-worse') run.enter('world-worse');
    if (end === 'superseded') run.enter('newer-epoch');
    if (end === 'aborted') run.enter('abort-asked');
    if (end !== null && end !== 'broken') return end;
    const whole = run.steps.every((s) => s.state === 'done' || s.state === 'done-by-hand');
    run.enter(whole ? 'verified' : 'left-gaps');
    return whole ? 'closed' : 'closed-with-gaps';
  }

  /** Resolves to whether what depends on this step may start. */
  private start(step: Step): Promise<boolean> {
    const going = this.started.get(step.id) ?? this.take(step);
    this.started.set(step.id, going);
    return going;
  }

  private async take(step: Step): Promise<boolean> {
    if (behind(this.run.step(step.id))) {
      // Before this run took the move over: what it had started may be gone with its Temporal service.
      if (this.run.step(step.id).state === 'done') await startFollowers(this.run, step);
      return true;
    }
    try {
      const needs = await Promise.all(this.steps.filter((s) => step.needs.includes(s.id)).map((s) => this.start(s)));
      if (needs.includes(false)) return false;
      return await this.untilDone(step);
    } catch (error) {
      this.over('broken');
      throw error;
    }
  }

  /** Round after round, until the step is behind us or the run is over. */
  private async untilDone(step: Step): Promise<boolean> {
    const { run } = this;
    for (;;) {
      if (!(await this.mayGoOn())) return false;
      const stop = await this.attempt(step);
      if (stop === null) return true;
      if (this.end === 'turned-back' || this.end === 'aborted') return false;
      if (stop !== 'failed') {
        this.over(stop);
        return false;
      }
      // Whoever is waited for is waited for: that step has not failed, and nothing goes on without his word.
      if (step.onFailure === 'continue' && step.act !== 'wait-for-operator') return true;
      const again = await hold(
        run,
        step,
        () => this.inputOf(step),
        () => this.end !== null,
      );
      if (again === 'aborted') this.over('aborted');
      if (again === 'passed') {
        if (step.act === 'serve-users' && run.step(step.id).state === 'done-by-hand') run.enter('served');
        return true;
      }
      if (again !== 'retry') return false;
    }
  }

  /** Looked at right before each round: an abort that was accepted never sees the epoch claimed. */
  private async mayGoOn(): Promise<boolean> {
    const { run } = this;
    const stopped = (): boolean => this.end !== null || (run.abortAsked !== null && run.mayAbort);
    if (run.paused && !stopped()) await condition(() => run.paused === null || stopped() || run.gone !== null);
    if (run.gone) throw run.gone;
    if (this.end === null && stopped()) this.over('aborted');
    return this.end === null;
  }

  private over(end: WalkEnd | 'broken'): void {
    this.end ??= end;
    this.run.changes += 1; // Held steps of other branches must not wait for a run that is over.
  }

  /** Why what ran was stopped, for people; null when it was not. */
  private get stopped(): string | null {
    if (this.end === 'turned-back') return 'stopped: the source gets its users back';
    return this.end === 'aborted' ? 'stopped: the move was aborted' : null;
  }

  /** Nothing new is begun, and what runs is asked to stop; it is waited for until it has. */
  private stop(end: 'turned-back' | 'aborted'): void {
    this.over(end);
    for (const scope of this.underWay) scope.cancel();
  }

  private inputOf(step: Step): StepInput {
    const { run } = this;
    const plan = run.currentPlan;
    const epoch = { number: plan.decisions.epoch, site: claimantOf(plan.decisions), move: run.move };
    const key = { customer: run.input.customer, epoch, step: step.id, round: run.step(step.id).round };
    return { key, act: step.act, plan: plan.digest };
  }

  private async stoppable<T>(work: () => Promise<T>): Promise<T> {
    const scope = new CancellationScope();
    this.underWay.add(scope);
    try {
      return await scope.run(work);
    } finally {
      this.underWay.delete(scope);
    }
  }

  /** One round of a step. Null when it is done. */
  private async attempt(step: Step): Promise<'failed' | 'world-worse' | 'superseded' | null> {
    const { run } = this;
    const report = run.step(step.id);
    const { round } = report;
    if (step.act === 'wait-for-operator') {
      Object.assign(report, {
        startedAt: report.startedAt ?? now(),
        summary: step.message ?? 'an operator is waited for',
      });
      return 'failed'; // It waits as a held step does: for `done` or `skip`.
    }
    const since = now();
    const begun = {
      state: 'running',
      startedAt: report.startedAt ?? since,
      since,
      endedAt: null,
      summary: '',
    } as const;
    Object.assign(report, begun satisfies Partial<StepReport>);
    lookAhead(run);
    run.show();
    try {
      const performed = this.stoppable(() => perform(step, round, this.inputOf(step)));
      const { summary, facts, alarms = [] } = await atItsPace(run, step, performed);
      await startFollowers(run, step);
      const endedAt = now();
      const tookMs = Date.parse(endedAt) - Date.parse(since);
      Object.assign(report, { state: 'done', endedAt, tookMs, summary, facts } satisfies Partial<StepReport>);
      run.write('step', { step: step.id, act: step.act, round, state: 'done', since, tookMs, summary, facts });
      for (const text of alarms) run.alarm(text);
      lookAhead(run);
      if (step.act === 'serve-users') run.enter('served');
      await run.flush();
      run.show();
      return null;
    } catch (error) {
      if (behind(report)) throw error; // Not the act's failure, but the journal's.
      const summary = this.stopped ?? failureText(error);
      const kind = failureKind(error);
      // Whoever would turn back has to know: there is no way back from there.
      const told = kind === 'handed-over' ? { facts: { handedOver: true } } : {};
      Object.assign(report, { state: 'failed', endedAt: now(), summary, ...told } satisfies Partial<StepReport>);
      run.write('step', { step: step.id, act: step.act, round, state: 'failed', since, summary, ...told });
      lookAhead(run);
      run.show();
      // Another number is taken by a new plan only, and that is to be signed.
      if (kind === 'world-worse' || kind === 'epoch-taken') return 'world-worse';
      return kind === 'epoch-superseded' ? 'superseded' : 'failed';
    }
  }
}
