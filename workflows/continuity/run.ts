import {
  ApplicationFailure,
  CancellationScope,
  condition,
  defineQuery,
  defineUpdate,
  isCancellation,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { HeldTest, TestPlan } from '../../activities/test-types.ts';
import type { ContinuityTestInput, LiveWalk, TestOutcome, TestPhase, TestStatus } from '../model/continuity.ts';
import { failureText } from '../model/failures.ts';
import { homeOf } from '../model/half.ts';
import type { Approver } from '../model/plan.ts';
import { askedOf, type CohortStand } from '../model/test-live.ts';
import type { HumanStep } from '../model/test-paper.ts';
import { confirmed, refuseTestVerb, testVerbs, type SignedTestVerb, type TestVerb } from '../model/test-words.ts';
import { acts, guard } from './activities.ts';
import { nothingFound, type Ended, type Found } from '../model/test-verdict.ts';

const status = defineQuery<TestStatus>('status');
const verbs = Object.fromEntries(
  testVerbs.map((verb) => [verb, defineUpdate<TestStatus, [SignedTestVerb]>(verb)]),
) as Record<TestVerb, ReturnType<typeof defineUpdate<TestStatus, [SignedTestVerb]>>>;

/** As long as a test of the schedule may be made up for (its catch-up window). */
const LONGEST_PUT_OFF_MS = 60 * 24 * 3_600_000;

/** One test: what it says of itself, what operators tell it, and what ends it before its time. */
export class TestRun {
  readonly test: ContinuityTestInput;
  readonly run = workflowInfo().firstExecutionRunId;
  readonly startedAt = workflowInfo().startTime.toISOString();
  people: HumanStep[] = [];
  /** An operator has said that nobody confirms anything more. */
  finished = false;
  /** Of a live test, once it has begun. */
  live: LiveWalk | null = null;
  /** Of a live test, as it was seen last. */
  stand: CohortStand | null = null;
  ended: Ended | null = null;
  /** In Temporal UI, not by an operator's word. */
  cancelled = false;
  /** What the part that is held has found, should it be ended now. */
  soFar: () => Found = () => nothingFound;
  private approvers: readonly Approver[] = [];
  site = '';
  private phase: TestPhase = 'planning';
  private because = '';
  private next: string | null = null;
  private outcome: TestOutcome | null = null;
  private readonly usedNonces = new Set<string>();
  private scope: CancellationScope | null = null;

  constructor(test: ContinuityTestInput) {
    this.test = test;
    setHandler(status, () => this.status());
    for (const verb of testVerbs)
      setHandler(verbs[verb], (v) => this.obey(v), { validator: (v: SignedTestVerb) => this.validate(verb, v) });
    CancellationScope.current().cancelRequested.catch(() => this.cancel());
  }

  get key(): HeldTest {
    const { customer, cohort } = this.test;
    return { customer, run: this.run, ...(cohort !== undefined && { cohort }) };
  }

  /** `next`: the exact command that helps it on. */
  show(phase: TestPhase, because = '', next: string | null = null): void {
    this.phase = phase;
    this.because = because;
    this.next = next;
    const open = this.people
      .filter(({ confirmedBy }) => confirmedBy === null)
      .map(({ id, what }) => `- ${id}: ${what}`);
    setCurrentDetails(
      [
        `**${phase}**${because === '' ? '' : `: ${because}`}`,
        ...(next === null ? [] : [`**Next:** \`${next}\``]),
        ...(open.length > 0 ? [open.join('\n')] : []),
      ].join('\n\n'),
    );
  }

  /** What brings the cohort here, or home; whether the test goes on or was ended is said with it. */
  tellWayHere(): void {
    this.tellWay('going', this.site);
  }

  tellWayHome(): void {
    this.tellWay('returning', homeOf(this.live?.cohort ?? ''));
  }

  private tellWay(phase: TestPhase, to: string): void {
    const { customer } = this.test;
    const ended = this.ended ? `${this.ended.outcome}; ` : '';
    const asked = this.stand && askedOf({ customer, cohort: this.live?.cohort ?? '', to }, this.stand);
    this.show(phase, `${ended}${asked?.because ?? 'where its users are is looked at'}`, asked?.next);
  }

  close(outcome: TestOutcome, because: string): void {
    this.outcome = outcome;
    this.show('ended', `${outcome}. ${because}`);
  }

  /** The plan, once nothing is in the way of the schedule's test any more; or why it is not held. */
  async plan(): Promise<TestPlan | { because: string }> {
    for (let at = this.startedAt; ; at = new Date(Date.now()).toISOString()) {
      const plan = await acts['plan-test']({ test: this.test, at });
      this.approvers = plan.approvers ?? [];
      this.site = plan.site;
      if (!plan.turn.turn) return { because: plan.turn.because };
      if (!plan.putOff) return plan;
      const { until, because } = plan.putOff;
      if (Date.parse(until) - Date.parse(this.startedAt) > LONGEST_PUT_OFF_MS)
        return { because: `it cannot be held before ${until}, two months late: ${because}` };
      this.show('put-off', `until ${until}: ${because}`);
      await condition(() => this.ended !== null, Math.max(1, Date.parse(until) - Date.now()), {
        summary: `put off until ${until}`,
      });
      if (this.ended) return { because: this.ended.because };
    }
  }

  /** Holds a part, until it is over or something else ends it: an operator, a move, or a cancel in Temporal UI. */
  async hold(part: () => Promise<Found>): Promise<Found> {
    if (this.ended) return this.soFar();
    const scope = (this.scope = new CancellationScope());
    const guarded = scope.run(() => guard['guard-test'](this.key));
    guarded.then(
      ({ because }) => this.end({ outcome: 'superseded', because }),
      () => undefined, // It is cancelled with the part; what it would have seen is looked at once more at the end.
    );
    try {
      return await scope.run(part);
    } catch (error) {
      if (this.ended) return this.soFar();
      if (!isCancellation(error)) return { ...this.soFar(), failed: failureText(error) };
      this.cancel();
      return this.soFar();
    } finally {
      scope.cancel();
    }
  }

  end(ended: Ended): void {
    this.ended ??= ended;
    this.scope?.cancel();
  }

  /** In Temporal UI: the same as an operator's abort, once anything is held. */
  private cancel(): void {
    if (this.over || !this.scope) return;
    this.cancelled = true;
    this.abort(`its run was cancelled${this.where}`);
  }

  /** Of a live test the users go home first, from wherever they are. */
  private abort(because: string): void {
    this.end({ outcome: 'aborted', because });
    if (this.live) this.tellWayHome();
  }

  private get where(): string {
    return ` in phase ${this.phase}${this.because === '' ? '' : ` (${this.because})`}`;
  }

  private status(): TestStatus {
    const { test, site, run, phase, startedAt, because, next, people, outcome } = this;
    return { customer: test.customer, site, run, kind: test.kind, phase, startedAt, because, next, people, outcome };
  }

  private validate(verb: TestVerb, v: SignedTestVerb): void {
    const { site, approvers, people, usedNonces } = this;
    const key = { ...this.key, site };
    const why =
      v?.verb !== verb
        ? `the update ${verb} takes a signed ${verb}`
        : this.over
          ? `it is over: ${this.because}`
          : refuseTestVerb({ ...key, approvers, people, usedNonces, now: Date.now() }, v);
    if (why !== null)
      throw ApplicationFailure.nonRetryable(`continuity test of ${this.test.customer}: ${why}`, 'verb-refused');
  }

  private get over(): boolean {
    return this.ended !== null || this.phase === 'cleaning' || this.phase === 'ended';
  }

  private obey(v: SignedTestVerb): TestStatus {
    this.usedNonces.add(v.nonce);
    if (v.verb === 'abort') this.abort(`${v.operator} ended it${this.where}: ${v.because ?? ''}`);
    if (v.verb === 'finish') this.finished = true;
    if (v.verb === 'confirm') {
      this.people = confirmed(this.people, v, Date.now());
      this.show(this.phase, this.because, this.next);
    }
    return this.status();
  }
}
