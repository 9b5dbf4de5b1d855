import {
  ApplicationFailure,
  CancellationScope,
  condition,
  defineQuery,
  defineUpdate,
  setHandler,
} from '@temporalio/workflow';
import { approvalOf, refuse, verbs as verbNames, type SignedVerb, type Verb } from '../model/approvals.ts';
import { failureText } from '../model/failures.ts';
import { isAnswer, joined, signaturesNeeded, type Answer } from '../model/motions.ts';
import type { FailoverStatus, VerbAnswer } from '../model/moves.ts';
import { askedAlone, notBreakable, notStoppable, pageAll } from './glass.ts';
import { turnedBackBy } from '../model/turn-back.ts';
import type { Run } from './run.ts';

/** What operators may tell a failover. Each is signed; the answer says where the run stands then. */
export const verbs = Object.fromEntries(
  verbNames.map((verb) => [verb, defineUpdate<VerbAnswer, [SignedVerb]>(verb)]),
) as Record<Verb, ReturnType<typeof defineUpdate<VerbAnswer, [SignedVerb]>>>;

export const statusQuery = defineQuery<FailoverStatus>('status');

/** An operator is told so when the journal has not taken his word by then; it is kept all the same. */
const JOURNAL_PATIENCE = '5s';

/** Why this verb cannot be taken now, whoever signed it; null when it can. */
function outOfPlace(run: Run, v: SignedVerb): string | null {
  switch (v.verb) {
    case 'approve':
      return notApprovable(run, v);
    case 'retry':
    case 'skip':
    case 'done':
      return notAnswerable(run, v, v.verb);
    case 'veto':
      return notStoppable(run);
    case 'abort':
      return run.mayAbort
        ? null
        : 'the epoch is claimed or about to be: it can no longer be aborted; until users are served, two can turn it back';
    case 'pause':
      return run.paused ? `it is paused already, by ${run.paused.by}` : notWalking(run);
    case 'resume':
      return run.paused ? null : 'it is not paused';
    case 'turn-back':
      return notTurnable(run, v);
    case 'take':
      return run.owner === v.operator ? `${v.operator} has it already` : null;
    case 'note':
      return v.because === undefined || v.because.trim() === '' ? 'a note has a text: `because`' : null;
    default:
      return v.verb satisfies never;
  }
}

function notApprovable(run: Run, v: SignedVerb): string | null {
  const blocker = run.plan?.blockers[0];
  if (run.phase !== 'approving') return `in phase ${run.phase} there is nothing to approve`;
  if (blocker) return `the plan cannot be approved: ${blocker.text}`;
  if (v.breakGlass) return notBreakable(run, v);
  return run.status().approvals.some((a) => a.operator === v.operator)
    ? `${v.operator} has already signed: another operator must`
    : null;
}

function notTurnable(run: Run, v: SignedVerb): string | null {
  if (run.mayAbort) return 'no epoch is claimed yet: abort it';
  if (run.plan?.decisions.again)
    return `its users are served at ${run.plan.decisions.to} since ${run.plan.decisions.again.since}: there is nothing to turn back`;
  if (run.phase !== 'moving') return `in phase ${run.phase} it cannot be turned back any more`;
  const serving = run.steps.find((s) => s.act === 'serve-users' && s.state !== 'waiting' && s.state !== 'held');
  if (serving)
    return `step ${serving.id} is ${serving.state}: users are served at ${run.plan?.decisions.to ?? 'the other site'}, or about to be`;
  const given = run.steps.find((s) => s.facts['handedOver'] === true);
  if (given)
    return `its users are ${run.plan?.decisions.to ?? 'the destination'}'s to serve already: retry step ${given.id}`;
  if (v.because === undefined || v.because.trim() === '') return 'a turn-back has a reason: `because`';
  return run.turnBack?.operators.includes(v.operator)
    ? `${v.operator} has already signed this: another operator must`
    : null;
}

const notWalking = (run: Run): string | null =>
  run.phase === 'moving' || run.phase === 'verifying' ? null : `in phase ${run.phase} no step would be held back by it`;

function notAnswerable(run: Run, v: SignedVerb, answer: Answer): string | null {
  const step = run.steps.find((s) => s.id === v.step);
  if (!step) return `step ${JSON.stringify(v.step)} is not in the plan: ${run.steps.map((s) => s.id).join(', ')}`;
  if (step.state !== 'held') return `step ${step.id} is ${step.state}, not held`;
  const round = answer === 'retry' ? step.round + 1 : step.round;
  if (v.round !== round)
    return answer === 'retry'
      ? `the next round of step ${step.id} is ${round}, not ${v.round}`
      : `step ${step.id} is held in round ${round}, not ${v.round}`;
  if (answer === 'retry') return step.act === 'wait-for-operator' ? `${step.id} waits for done or skip` : null;
  if (v.because === undefined || v.because.trim() === '') return `a ${answer} has a reason: \`because\``;
  const asked = run.motions.find((m) => m.step === step.id && m.round === step.round && m.answer === answer);
  return asked?.operators.includes(v.operator) ? `${v.operator} has already signed this: another operator must` : null;
}

/** Validators are synchronous and throw to refuse; a refused verb leaves no trace in the history. */
function validate(run: Run, verb: Verb, v: SignedVerb): void {
  const claim = {
    customer: run.input.customer,
    move: run.move,
    epoch: run.plan?.decisions.epoch ?? null,
    digest: run.plan?.digest ?? '',
    approvers: run.plan?.decisions.approvers ?? [],
    acceptances: run.plan?.decisions.acceptances ?? [],
    usedNonces: run.usedNonces,
    now: Date.now(),
  };
  const why = v?.verb === verb ? (refuse(claim, v) ?? outOfPlace(run, v)) : `the update ${verb} takes a signed ${verb}`;
  if (why) throw ApplicationFailure.nonRetryable(`${run.input.customer}: ${why}`, 'verb-refused');
}

/** What a verb does to the run. */
function apply(run: Run, v: SignedVerb): void {
  const { verb, operator, because = '' } = v;
  const at = new Date(Date.now()).toISOString();
  if (isAnswer(verb)) return answerStep(run, v, verb);
  switch (verb) {
    case 'approve':
      run.approvals = run.approvals.filter((a) => a.operator !== operator);
      run.approvals.push(approvalOf(run.currentPlan.decisions.approvers, v, Date.now()));
      if (v.breakGlass) run.breakGlass = askedAlone(v);
      return;
    case 'veto':
      if (run.breakGlass) run.breakGlass.stoppedBy = operator;
      return;
    case 'abort':
      run.abortAsked = because || `${operator} asked`;
      run.onAbort();
      return;
    case 'pause':
      run.paused = { by: operator, at, because };
      return;
    case 'resume':
      run.paused = null;
      return;
    case 'turn-back':
      run.turnBack = turnedBackBy(run.turnBack, operator, because);
      if (run.turningBack) {
        run.paused = null;
        run.enter('turn-back-agreed');
        run.onTurnBack();
      }
      return;
    case 'take':
      run.owner = operator;
      return;
    case 'note':
      run.notes.push({ by: operator, at, text: because });
      return;
    default:
      verb satisfies never;
  }
}

function answerStep(run: Run, v: SignedVerb, answer: Answer): void {
  const { operator, because = '' } = v;
  const step = run.step(v.step ?? '');
  const given = { step: step.id, round: step.round, answer, operator, because };
  const { motions, motion } = joined(run.motions, given);
  const carried = motion.operators.length >= signaturesNeeded(answer, step.act);
  run.motions = carried ? motions.filter((m) => m.step !== step.id) : motions;
  if (carried) run.answers.set(step.id, motion);
}

async function accept(run: Run, v: SignedVerb): Promise<VerbAnswer> {
  run.usedNonces.add(v.nonce);
  const { verb, operator, digest, step, round, because, accepts, breakGlass, nonce, expires, signature } = v;
  run.write('signed', { verb, operator, digest, step, round, because, accepts, breakGlass, nonce, expires, signature });
  apply(run, v);
  run.show();
  let kept = false; // This word: others may follow it at once, and wait for this answer to be written.
  run.flush().then(
    () => (kept = true),
    () => undefined, // A journal that fails for good ends the run where it waits.
  );
  await condition(() => kept || run.gone !== null, JOURNAL_PATIENCE);
  if (run.gone) throw notTaken(run, run.gone);
  if (breakGlass) await pageAll(run, v);
  const { waitsFor } = run.status();
  return { phase: run.phase, waitsFor: kept ? waitsFor : `the journal, which does not answer; then ${waitsFor}` };
}

/** The run ends by this, and the operator is told why before it has. */
const notTaken = (run: Run, because: Error): ApplicationFailure =>
  ApplicationFailure.nonRetryable(`${run.input.customer}: ${failureText(because)}`, 'verb-refused');

/** Registered before anything is awaited: a verb may already be waiting. */
export function listen(run: Run): void {
  setHandler(statusQuery, () => run.status());
  for (const verb of verbNames) {
    // Also after a cancel that was refused: it would end whatever a handler waits for.
    const handle = (v: SignedVerb): Promise<VerbAnswer> => CancellationScope.nonCancellable(() => accept(run, v));
    setHandler(verbs[verb], handle, { validator: (v: SignedVerb) => validate(run, verb, v) });
  }
}
