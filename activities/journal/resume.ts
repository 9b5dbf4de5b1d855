import type { PoolClient } from 'pg';
import { approvalOf, type SignedVerb } from '../../workflows/model/approvals.ts';
import type { BreakGlass } from '../../workflows/model/break-glass.ts';
import {
  unstarted,
  type MoveInput,
  type Resumed,
  type StepReport,
  type StepResult,
} from '../../workflows/model/moves.ts';
import { turnBackStart, turnedBackBy } from '../../workflows/model/turn-back.ts';
import type { Phase } from '../../workflows/model/phases.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import { failure } from '../../workflows/model/failures.ts';
import { chainFault, readJournal, type JournalLine } from './chain.ts';

/**
 * Where a move stands by its journal, so that another run can go on with it: what was signed still counts, what was done
 * is not done again. `journal-broken` when the chain does not hold: nobody goes on from lines that were changed.
 */
export async function readMove(
  client: PoolClient,
  row: { customer: string; move: string; input: MoveInput; startedAt: Timestamp },
): Promise<Resumed> {
  const lines = await readJournal(client, row.move);
  const fault = chainFault(row, lines);
  if (fault !== null) throw failure('journal-broken', `journal of move ${row.move}: ${fault}`);
  const state: Resumed = {
    move: row.move,
    input: row.input,
    declaredAt: row.startedAt,
    phase: 'declared',
    approvedAt: null,
    plan: null,
    approvals: [],
    breakGlass: null,
    usedNonces: [],
    steps: [],
    owner: null,
    paused: null,
    turnBack: null,
    notes: [],
    alarms: [],
  };
  for (const line of lines) read(state, line);
  // Nobody pages for it any more: he may give his word again.
  if (state.breakGlass?.pagedAt === null && state.breakGlass.stoppedBy === null) state.breakGlass = null;
  return state;
}

function read(state: Resumed, { kind, at, body }: JournalLine): void {
  switch (kind) {
    case 'planned':
      return readPlan(state, body as unknown as Plan);
    case 'phase':
      return readPhase(state, body['phase'] as Phase, at);
    case 'signed':
      return readVerb(state, body as unknown as SignedVerb, at);
    case 'step':
      return readStep(state, body as unknown as StepLine, at);
    case 'alarm':
      state.alarms.push({ at, text: String(body['text']) });
      return;
    case 'break-glass':
      return readGlass(state, body as unknown as GlassLine, at);
    case 'declared':
    case 'refused':
    case 'closed':
    case 'note':
      return;
    default:
      kind satisfies never;
  }
}

function voided(state: Resumed): void {
  state.approvals = [];
  if (state.breakGlass?.stoppedBy === null) state.breakGlass = null;
}

type GlassLine = Omit<BreakGlass, 'pagedAt' | 'stoppedBy'> & { state: 'paged' | 'refused' };

/** Asked and never paged, it is to be asked again: a signature of two until then. */
function readGlass(state: Resumed, { state: end, ...line }: GlassLine, at: Timestamp): void {
  const { operator, because, digest, nonce, sent } = line;
  const stoppedBy = state.breakGlass?.stoppedBy ?? null;
  if (end === 'paged')
    state.breakGlass = { operator, because, digest, nonce, sent, pagedAt: Date.parse(at), stoppedBy };
  else if (stoppedBy === null) state.breakGlass = null;
}

/** The same decisions keep the signatures; other ones void them. */
function readPlan(state: Resumed, plan: Plan): void {
  if (plan.digest !== state.plan?.digest) voided(state);
  state.plan = plan;
  state.steps = plan.decisions.steps.map(({ id, act }) => ({ id, act, ...unstarted, facts: {} }));
}

function readPhase(state: Resumed, phase: Phase, at: Timestamp): void {
  // From `moving` back to `planning`: the world that they signed for is gone.
  if (phase === 'planning' && state.phase === 'moving') voided(state);
  if (phase === 'moving') state.approvedAt = at;
  if (phase === 'turning-back') state.steps.push({ ...turnBackStart, facts: {} });
  state.phase = phase;
}

function readVerb(state: Resumed, v: SignedVerb, at: Timestamp): void {
  const { verb, operator, because = '' } = v;
  state.usedNonces.push(v.nonce);
  if (verb === 'approve' && v.digest === state.plan?.digest) {
    const approval = approvalOf(state.plan.decisions.approvers, v, Date.parse(at));
    state.approvals = [...state.approvals.filter((a) => a.operator !== operator), approval];
  }
  if (v.breakGlass)
    state.breakGlass = {
      operator,
      because,
      digest: v.digest,
      nonce: v.nonce,
      pagedAt: null,
      sent: [],
      stoppedBy: null,
    };
  if (verb === 'veto' && state.breakGlass) state.breakGlass.stoppedBy = operator;
  if (verb === 'take') state.owner = operator;
  if (verb === 'note') state.notes.push({ by: operator, at, text: because });
  if (verb === 'pause') state.paused = { by: operator, at, because };
  if (verb === 'resume') state.paused = null;
  if (verb === 'turn-back') state.turnBack = turnedBackBy(state.turnBack, operator, because);
}

/** A line of the run, or of an effect: that one has `result`, and stands also when the run never heard of it. */
interface StepLine {
  step: string;
  round: number;
  state?: StepReport['state'];
  summary?: string;
  facts?: StepReport['facts'];
  /** Of the run's own lines: when the round began, and what it took. */
  since?: Timestamp;
  tookMs?: number;
  epoch?: { number: number };
  result?: StepResult;
}

function readStep({ steps, plan }: Resumed, line: StepLine, at: Timestamp): void {
  const step = steps.find((s) => s.id === line.step);
  if (!step || line.round < step.round) return;
  if (line.result && line.epoch?.number !== plan?.decisions.epoch) return;
  const { summary = '', facts: noted = {} } = line.result ?? line;
  // A hand-over is noted when this site lets go of the half: what comes after that is done once more, and has no way back.
  const halfWay = line.result !== undefined && step.act === 'serve-users' && plan?.decisions.planned !== undefined;
  const facts = halfWay ? { ...noted, handedOver: true } : noted;
  const state = halfWay ? 'waiting' : line.result ? 'done' : (line.state ?? 'waiting');
  // One that failed is tried again, in the round it was in.
  const endedAt = state === 'failed' ? null : at;
  Object.assign(step, { round: line.round, state: state === 'failed' ? 'waiting' : state, summary, facts, endedAt });
  // An effect's line tells when it ended only: a step that was found done took nobody knows how long, not no time.
  step.startedAt ??= line.since ?? null;
  if (line.tookMs !== undefined && state === 'done') step.tookMs = line.tookMs;
}
