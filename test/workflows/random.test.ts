import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SiteActivities } from '../../activities/types.ts';
import { sha256 } from '../../activities/vault/signed.ts';
import { failoverStatus, startFailover, type FailoverHandle } from '../../ops/moves.ts';
import { sendVerb, signVerb } from '../../ops/verbs.ts';
import { actRules, performedActs, type Act } from '../../workflows/model/acts.ts';
import type { Verb } from '../../workflows/model/approvals.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { FailoverReport, StepInput } from '../../workflows/model/moves.ts';
import { canonicalJson, type Step } from '../../workflows/model/plan.ts';
import { approve, ask, cover, declaration, reach } from '../rig/failovers.ts';
import { openRegion, type Region } from '../rig/region.ts';

/**
 * Random runbooks, random faults and operators who answer at random, on the real server: whatever comes, nothing is done
 * before two have signed, nothing in another order than the runbook's, nothing twice, and everything is told at the end.
 * TANDEM_RUNS=200 walks longer.
 */
const RUNS = Number(process.env['TANDEM_RUNS'] ?? 6);

type Fault = 'none' | 'first' | 'late' | 'final';
const answers = ['retry', 'skip', 'done'] as const;

interface Tale {
  steps: { act: Act; needs: number[]; faults: Fault[]; onFailure: Step['onFailure'] }[];
  /** What operators answer to held steps, in turn. */
  answers: Verb[];
  /** Whether the first of them pauses the move after both signed, and the other resumes it. */
  pause: boolean;
}

const randomActs = ['fence-site', 'restore-contacts', 'probe', 'wait-for-operator'] as const satisfies readonly Act[];

/** The epoch first, at most one step that serves, and any other steps behind whatever comes before them. */
const tale: fc.Arbitrary<Tale> = fc.record({
  steps: fc
    .array(
      fc.record({
        act: fc.constantFrom<Act>(...randomActs),
        needs: fc.array(fc.nat(9), { maxLength: 3 }),
        faults: fc.array(fc.constantFrom<Fault>('none', 'none', 'first', 'late', 'final'), {
          minLength: 3,
          maxLength: 3,
        }),
        onFailure: fc.constantFrom<Step['onFailure']>('hold', 'ask-operator', 'continue'),
      }),
      { minLength: 1, maxLength: 6 },
    )
    .chain((steps) =>
      fc.nat(steps.length).map((at) => steps.map((step, i) => (i === at ? { ...step, act: 'serve-users' } : step))),
    ),
  answers: fc.array(fc.constantFrom<Verb>(...answers), { minLength: 4, maxLength: 12 }),
  pause: fc.boolean(),
});

/** As in tests of continuity that only look: every step is done, and none of them serves. */
const nobodyServed: Tale = {
  steps: [{ act: 'fence-site', needs: [], faults: ['late', 'first', 'none'], onFailure: 'ask-operator' }],
  answers: ['done', 'done', 'skip', 'done'],
  pause: false,
};

/** The runbook of a tale. */
function stepsOf({ steps }: Tale): Step[] {
  const common = { timeoutMs: 20_000, attempts: 2 };
  const rest = steps.map(({ act, needs, onFailure }, i): Step => {
    const before = [...new Set(needs.filter((n) => n < i).map((n) => `s${n}`))];
    const may = onFailure === 'continue' && actRules[act].safety ? 'hold' : onFailure;
    return {
      id: `s${i}`,
      act,
      needs: ['epoch', ...before],
      ...common,
      onFailure: may,
      attempts: may === 'ask-operator' ? 1 : 2,
    };
  });
  return [{ id: 'epoch', act: 'advance-epoch', needs: [], ...common, onFailure: 'hold' }, ...rest];
}

interface Call {
  step: string;
  round: number;
  epoch: number;
  signed: number;
  behind: string[];
}

/** Acts that do as the tale tells, and note what they see when they begin. */
class Stage {
  calls: Call[] = [];
  /** How often each key took effect. */
  effects = new Map<string, number>();
  /** Two attempts of one step at a time, if there ever were. */
  overlaps: string[] = [];
  told: Tale | null = null;
  private readonly attempts = new Map<string, number>();
  private readonly running = new Set<string>();
  private readonly ended = new Set<string>();
  private readonly region: () => Region;

  constructor(region: () => Region) {
    this.region = region;
  }

  begin(told: Tale): void {
    this.told = told;
    this.calls = [];
    this.overlaps = [];
    for (const kept of [this.effects, this.attempts, this.running, this.ended]) kept.clear();
  }

  /** The real activities, but for the acts and the runbook. */
  put(real: SiteActivities): SiteActivities {
    const acts = performedActs.map((act) => [act, (input: StepInput) => this.act(input)]);
    return {
      ...real,
      ...(Object.fromEntries(acts) as Pick<SiteActivities, (typeof performedActs)[number]>),
      'make-plan': async (request) => {
        const plan = await real['make-plan'](request);
        if (!this.told) return plan;
        const decisions = { ...plan.decisions, steps: stepsOf(this.told) };
        return { ...plan, decisions, digest: sha256(canonicalJson(decisions)), blockers: [] };
      },
      'check-effect': () => Promise.resolve({ seen: true, summary: 'it stands' }),
    };
  }

  private async act({ key }: StepInput): Promise<{ summary: string; facts: Record<string, never> }> {
    const { step, round, epoch } = key;
    const id = `${step}/${round}`;
    const attempt = (this.attempts.get(id) ?? 0) + 1;
    this.attempts.set(id, attempt);
    if (this.running.has(step)) this.overlaps.push(id);
    this.running.add(step);
    try {
      const [row] = await ask<{ n: number }>(
        this.region(),
        'west',
        `select count(*)::int as n from tandem.journal where move = '${epoch.move}' and kind = 'signed' and body::jsonb->>'verb' = 'approve'`,
      );
      this.calls.push({ step, round, epoch: epoch.number, signed: row?.n ?? 0, behind: [...this.ended] });
      const fault =
        step === 'epoch' ? 'none' : (this.told?.steps[Number(step.slice(1))]?.faults[Math.min(round, 2)] ?? 'none');
      if (fault === 'final') throw failure('input-invalid', `${id}: it cannot be done`);
      if (fault === 'first' && attempt === 1) throw failure('database-unreachable', `${id}: not yet`);
      // Safe to repeat, as every act: what took effect under this key is not done again.
      if (!this.effects.has(id)) this.effects.set(id, 1);
      if (fault === 'late' && attempt === 1)
        throw failure('database-unreachable', `${id}: done, and its answer was lost`);
      this.ended.add(step);
      return { summary: 'done', facts: {} };
    } finally {
      this.running.delete(step);
    }
  }
}

let region: Region;
const stage = new Stage(() => region);

beforeAll(async () => {
  region = await openRegion({ users: 4 });
  await cover(region);
  region.lose('east');
  await region.work('west', (real) => stage.put(real));
});
afterAll(() => region.close());

/** Answers every held step until the move has ended: by two, since it may guard users. */
async function operate(handle: FailoverHandle, told: Tale): Promise<void> {
  const [one, two] = region.operators;
  if (!one || !two) throw new Error('no operators');
  const say = async (by: typeof one, verb: Verb, step?: string): Promise<void> => {
    const status = await failoverStatus(handle);
    const signed = signVerb(status, {
      verb,
      operator: by.id,
      key: by.key,
      because: 'at random',
      ...(step && { step }),
    });
    await sendVerb(handle, signed).catch(() => undefined); // It may no longer be held, or need no second word.
  };
  if (told.pause) {
    await say(one, 'pause');
    await say(two, 'resume');
  }
  for (let turn = 0; ; turn += 1) {
    const status = await reach(handle, (s) => s.steps.some(({ state }) => state === 'held'));
    const held = status.steps.find(({ state }) => state === 'held');
    if (!held) return;
    // In the end somebody gives in: a tale that is only tried again has no end.
    const wanted = turn < told.answers.length ? told.answers[turn] : 'skip';
    const answer = held.act === 'wait-for-operator' && wanted === 'retry' ? 'done' : (wanted ?? 'skip');
    await say(one, answer, held.id);
    if (answer !== 'retry') await say(two, answer, held.id);
  }
}

async function play(told: Tale): Promise<FailoverReport> {
  stage.begin(told);
  const handle = await startFailover(region.clients.west, 'west', declaration());
  await reach(handle, (s) => s.phase === 'approving');
  for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
  await operate(handle, told);
  return (await handle.result()).report;
}

const passed = ['done', 'done-by-hand', 'skipped'];

describe('a random runbook with random faults never', () => {
  it(
    'does anything unsigned, out of order, twice, or untold',
    async () => {
      await fc.assert(
        fc.asyncProperty(tale, async (told) => {
          const report = await play(told);
          const steps = stepsOf(told);
          // Before two have signed, and their words are in the journal, no act is called.
          expect(stage.calls.filter(({ signed }) => signed < 2)).toEqual([]);
          expect(new Set(stage.calls.map(({ epoch }) => epoch)).size).toBeLessThanOrEqual(1);
          // One attempt at a time, one effect a key, and a new key only by an operator's word.
          expect(stage.overlaps).toEqual([]);
          expect([...stage.effects.values()].filter((n) => n > 1)).toEqual([]);
          // Everything is accounted for: a step is behind the move, or told as what is missing.
          expect(report.steps.map(({ id }) => id)).toEqual(steps.map(({ id }) => id));
          const missing = report.steps.filter(({ state }) => !passed.includes(state));
          expect(
            missing.filter(
              ({ id, state }) => state !== 'failed' || steps.find((s) => s.id === id)?.onFailure !== 'continue',
            ),
          ).toEqual([]);
          const whole = report.steps.every(({ state }) => state === 'done' || state === 'done-by-hand');
          expect(report.outcome).toBe(whole ? 'closed' : 'closed-with-gaps');
          // A step begins when all it needs is behind it.
          const early = stage.calls.filter(({ step, behind }) => {
            const needs = steps.find((s) => s.id === step)?.needs ?? [];
            return needs.some(
              (need) => !behind.includes(need) && report.steps.find((s) => s.id === need)?.state === 'done',
            );
          });
          expect(early).toEqual([]);
        }),
        { numRuns: RUNS, endOnFailure: true, examples: [[nobodyServed]] },
      );
    },
    60_000 * Math.max(2, RUNS),
  );
});
