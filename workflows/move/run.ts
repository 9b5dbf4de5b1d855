import {
  allHandlersFinished,
  condition,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { agreed, type Approval } from '../model/approvals.ts';
import { standsAlone, type BreakGlass } from '../model/break-glass.ts';
import { failure, failureKind, failureText } from '../model/failures.ts';
import {
  behind,
  unstarted,
  moveName,
  type ClosedMove,
  type FailoverStatus,
  type JournalEntry,
  type MoveInput,
  type MoveName,
  type MoveWorkflow,
  type Resumed,
  type StepReport,
} from '../model/moves.ts';
import { searchAttributes } from '../model/names.ts';
import type { Motion } from '../model/motions.ts';
import { isEnd, transition, type Phase, type PhaseEvent } from '../model/phases.ts';
import type { Plan } from '../model/plan.ts';
import { agreedToTurnBack, type TurnBack } from '../model/turn-back.ts';
import { desk, record } from './activities.ts';
import { Lines } from './lines.ts';
import { details } from './details.ts';
import { Pages } from './pages.ts';
import { report, type Outcome } from './report.ts';
import { seal } from './seal.ts';
import { statusOf } from './status.ts';
import { tellSuperseded } from './precedence.ts';

const iso = (ms: number): string => new Date(ms).toISOString();

/**
 * The state of one move, and the only place that changes it: phases by the table, journal lines in order, and what
 * Temporal UI shows of both.
 */
export class Run {
  readonly workflow: MoveWorkflow;
  input: MoveInput;
  /** Of its first run: a run that goes on with a move has the move's. */
  move = workflowInfo().firstExecutionRunId;
  declaredAt = workflowInfo().startTime.toISOString();
  phase: Phase = 'declared';
  because: string;
  plan: Plan | null = null;
  approvals: Approval[] = [];
  breakGlass: BreakGlass | null = null;
  approvedAt: string | null = null;
  usedNonces = new Set<string>();
  steps: StepReport[] = [];
  alarms: { at: string; text: string }[] = [];
  /** When it will be through, as it looked after the last step. */
  pace: FailoverStatus['pace'] = null;
  /** Set by a signed abort or by a cancel from Temporal UI that came in time. */
  abortAsked: string | null = null;
  /** Answers to held steps that one operator signed and another must. */
  motions: Motion[] = [];
  /** Answers that enough operators signed, by step. */
  readonly answers = new Map<string, Motion>();
  owner: string | null = null;
  paused: FailoverStatus['paused'] = null;
  /** Who wants the source to have its users back, before anybody is served. */
  turnBack: TurnBack | null = null;
  /** Told when two do: what is under way is stopped. */
  onTurnBack: () => void = () => undefined;
  /** Told when one aborts. */
  onAbort: () => void = () => undefined;
  readonly notes: FailoverStatus['notes'] = [];
  /** Why the vault does not hold the evidence of the move, which has ended. */
  notSealed: string | null = null;
  /** Grows with everything that could end a wait. */
  changes = 0;
  private readonly lines = new Lines(() => {
    this.changes += 1;
  });
  readonly pages = new Pages(this);
  /** Phase and held steps as the lists show them. */
  private listed = '';

  constructor(workflow: MoveWorkflow, input: MoveInput) {
    this.workflow = workflow;
    this.input = input;
    this.because =
      workflow === 'failover' ? 'an operator declared the site lost' : 'an operator asked to move users as planned';
  }

  get name(): MoveName {
    return moveName(this.workflow, this.input);
  }

  /** Left out where it is a failover, as histories have it. */
  private get ofWorkflow(): { workflow?: 'relocate' } {
    return this.workflow === 'relocate' ? { workflow: this.workflow } : {};
  }

  get disruptedAt(): string {
    return this.input.disruptedAt ?? this.declaredAt;
  }

  get currentPlan(): Plan {
    if (!this.plan) throw failure('input-invalid', `${this.input.customer}: no plan in phase ${this.phase}`);
    return this.plan;
  }

  step(id: string): StepReport {
    const found = this.steps.find((s) => s.id === id);
    if (!found) throw failure('input-invalid', `step ${id}: not in the plan`);
    return found;
  }

  /** Nothing has been claimed yet: from the epoch on, a source that returns closes itself, whatever becomes of this run. */
  get mayAbort(): boolean {
    const epoch = this.steps.find((s) => s.act === 'advance-epoch');
    return (
      ['declared', 'planning', 'approving'].includes(this.phase) ||
      (this.phase === 'moving' && epoch?.state === 'waiting')
    );
  }

  get turningBack(): boolean {
    return agreedToTurnBack(this.turnBack, this.plan?.decisions.approvers ?? []);
  }

  enter(event: PhaseEvent): void {
    const next = transition(this.phase, event);
    if (!next) throw failure('input-invalid', `phase ${this.phase}: ${event} leads nowhere`);
    this.phase = next.to;
    this.because = next.because;
    this.write('phase', { phase: next.to, because: next.because });
    this.show();
  }

  alarm(text: string): void {
    this.alarms.push({ at: iso(Date.now()), text });
    this.write('alarm', { text });
    this.show();
    this.pages.alarm(text);
  }

  write(kind: JournalEntry['kind'], body: Record<string, unknown>): void {
    const { customer } = this.input;
    const { firstExecutionRunId: run } = workflowInfo();
    this.lines.add({ customer, move: this.move, run, kind, at: iso(Date.now()), body });
  }

  /** Why the move is not this run's any more; asked at the end of each wait. */
  get gone(): Error | null {
    return this.lines.refusal;
  }

  /** A failover has taken the slot, and closed the journal of this planned move. */
  get overtaken(): boolean {
    return this.workflow === 'relocate' && failureKind(this.gone) === 'move-ended';
  }

  /** Ends whatever waits: of what is under way nothing can be noted any more. */
  giveWay(by: string): void {
    if (this.workflow !== 'relocate' || isEnd(this.phase)) return;
    this.lines.refuse(failure('move-ended', `${this.input.customer}: failover ${by} took the slot of this move`));
  }

  superseded(): 'superseded' {
    this.phase = 'superseded';
    this.because = failureText(this.gone);
    this.show();
    return this.phase;
  }

  /** Brings the lines written so far into the journal. */
  async flush(): Promise<void> {
    await this.lines.flush();
  }

  /** Makes the run's state visible: current details for people, search attributes for lists. */
  show(): void {
    this.changes += 1;
    const held = this.steps.filter((s) => s.state === 'held').map((s) => s.id);
    const now = `${this.phase} ${held.join(' ')}`;
    if (now !== this.listed) {
      upsertSearchAttributes([
        { key: searchAttributes.customer, value: this.input.customer },
        { key: searchAttributes.phase, value: this.phase },
        { key: searchAttributes.held, value: held.length > 0 ? held.join(' ') : null },
      ]);
      this.listed = now; // Each upsert is an event of the history.
    }
    setCurrentDetails(details(this.status()));
  }

  status(): FailoverStatus {
    return statusOf(this);
  }

  /** Takes the customer's one slot; a second run says which one holds it and ends. */
  async claimSlot(): Promise<void> {
    this.show();
    const { workflowId, firstExecutionRunId: run } = workflowInfo();
    const asked = { input: this.input, run, workflowId, at: this.declaredAt };
    const claim = await desk['claim-move']({ ...asked, ...this.ofWorkflow });
    this.pages.wanted = claim.paging;
    if (claim.superseded !== undefined) tellSuperseded(claim.superseded, this.move);
    if (claim.resumed) return this.goOn(claim.resumed, run);
    this.write('declared', { ...this.input });
    this.enter('slot-claimed');
    this.pages.declared();
  }

  /** Goes on where the journal ends. What was signed still counts, what was done is not done again. */
  private goOn(from: Resumed, run: string): void {
    const { phase, usedNonces, notes, alarms: rung, ...rest } = from;
    Object.assign(this, rest);
    this.usedNonces = new Set(usedNonces);
    this.notes.push(...notes);
    this.alarms.push(...rung);
    this.write('note', { text: `run ${run} goes on with this move, which was ${phase}` });
    const served = this.steps.some((s) => s.act === 'serve-users' && behind(s));
    if (isEnd(phase)) this.enter(`resumed-${phase}`);
    else if (this.turningBack) this.enter('resumed-turning-back');
    else if (phase === 'verifying' || (phase === 'moving' && served)) this.enter('resumed-verifying');
    else this.enter(phase === 'moving' ? 'resumed-moving' : 'slot-claimed');
  }

  /** Binds the runbook to the world. The same decisions keep the signatures; other ones void them. */
  async makePlan(): Promise<void> {
    if (this.plan) await this.flush(); // What was signed is looked up in the journal.
    const asked = { input: this.input, declaredAt: this.declaredAt, move: this.move };
    const plan = await desk['make-plan']({ ...asked, ...this.ofWorkflow });
    if (plan.digest !== this.plan?.digest) this.voidSignatures();
    this.plan = plan;
    this.steps = plan.decisions.steps.map(({ id, act }) => ({ id, act, ...unstarted, facts: {} }));
    this.write('planned', { ...plan });
    this.enter(plan.blockers.length > 0 ? 'plan-blocked' : 'plan-made');
    this.pages.planned(plan);
  }

  /** People have agreed, and the steps have begun. */
  get underWay(): boolean {
    return this.phase === 'moving' || this.phase === 'verifying' || this.phase === 'turning-back';
  }

  get approvalsStand(): boolean {
    const { decisions, blockers } = this.currentPlan;
    return blockers.length === 0 && agreed(this.approvals, decisions.approvalsNeeded, Date.now());
  }

  /** One commander's word, unstopped for ten minutes. */
  get standsAlone(): boolean {
    return this.currentPlan.blockers.length === 0 && standsAlone(this.breakGlass, this.approvals, Date.now());
  }

  /** What was signed for a world that is gone, even if it should come back. A word that was stopped stays stopped. */
  voidSignatures(): void {
    this.approvals = [];
    if (this.breakGlass?.stoppedBy === null) this.breakGlass = null;
  }

  async close(outcome: Outcome): Promise<ClosedMove> {
    await condition(allHandlersFinished, '1m'); // An answer on its way is given before the run is gone.
    await this.pages.settle();
    if (!this.overtaken) await this.flush();
    const closed = await record['close-move']({ report: report(this, outcome) });
    this.pages.ended(outcome);
    return seal(this, closed);
  }

  /** Ends a run that could not even be planned: the slot is freed, and the cause is what Temporal UI shows. */
  async giveUp(error: unknown): Promise<void> {
    this.alarm(`given up: ${failureText(error)}`);
    this.because = failureText(error);
    await this.close(this.mayAbort ? 'aborted' : 'closed-with-gaps');
  }
}
