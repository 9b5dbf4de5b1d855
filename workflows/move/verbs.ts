import { ApplicationFailure, defineQuery, defineUpdate, setHandler } from '@temporalio/workflow';
import { refuse, type SignedVerb, type Verb } from '../model/approvals.ts';
import type { FailoverStatus, VerbAnswer } from '../model/moves.ts';
import type { Run } from './run.ts';

/** What operators may tell a failover. Each is signed; the answer says where the run stands then. */
export const verbs = {
  approve: defineUpdate<VerbAnswer, [SignedVerb]>('approve'),
  retry: defineUpdate<VerbAnswer, [SignedVerb]>('retry'),
  abort: defineUpdate<VerbAnswer, [SignedVerb]>('abort'),
};

export const statusQuery = defineQuery<FailoverStatus>('status');

/** Why this verb cannot be taken now, whoever signed it; null when it can. */
function outOfPlace(run: Run, v: SignedVerb): string | null {
  switch (v.verb) {
    case 'approve': {
      const blocker = run.plan?.blockers[0];
      if (run.phase !== 'approving') return `in phase ${run.phase} there is nothing to approve`;
      if (blocker) return `the plan cannot be approved: ${blocker.text}`;
      return run.status().approvals.some((a) => a.operator === v.operator)
        ? `${v.operator} has already signed: another operator must`
        : null;
    }
    case 'retry': {
      const step = run.steps.find((s) => s.id === v.step);
      if (!step) return `step ${JSON.stringify(v.step)} is not in the plan: ${run.steps.map((s) => s.id).join(', ')}`;
      if (step.state !== 'held') return `step ${step.id} is ${step.state}, not held`;
      return v.round === step.round + 1
        ? null
        : `the next round of step ${step.id} is ${step.round + 1}, not ${v.round}`;
    }
    case 'abort':
      return run.mayAbort ? null : 'the fence has begun: it can no longer be aborted';
    default:
      return v.verb satisfies never;
  }
}

/** Validators are synchronous and throw to refuse; a refused verb leaves no trace in the history. */
function validate(run: Run, verb: Verb, v: SignedVerb): void {
  const claim = {
    customer: run.input.customer,
    epoch: run.plan?.decisions.epoch ?? null,
    digest: run.plan?.digest ?? '',
    approvers: run.plan?.decisions.approvers ?? [],
    usedNonces: run.usedNonces,
    now: Date.now(),
  };
  const why = v?.verb === verb ? (refuse(claim, v) ?? outOfPlace(run, v)) : `the update ${verb} takes a signed ${verb}`;
  if (why) throw ApplicationFailure.nonRetryable(`${run.input.customer}: ${why}`, 'verb-refused');
}

function accept(run: Run, v: SignedVerb): VerbAnswer {
  run.usedNonces.add(v.nonce);
  const { verb, operator, digest, step, round, because, nonce, expires, signature } = v;
  run.write('signed', { verb, operator, digest, step, round, because, nonce, expires, signature });
  switch (verb) {
    case 'approve': {
      const commander = run.currentPlan.decisions.approvers.some(
        (a) => a.id === operator && a.roles.includes('commander'),
      );
      run.approvals = run.approvals.filter((a) => a.operator !== operator);
      run.approvals.push({ operator, commander, receivedAt: Date.now(), expiresAt: Date.parse(expires) });
      break;
    }
    case 'retry':
      run.retryAsked.add(step ?? '');
      break;
    case 'abort':
      run.abortAsked = because ?? `${operator} asked`;
      break;
    default:
      verb satisfies never;
  }
  run.show();
  return { phase: run.phase, waitsFor: run.status().waitsFor };
}

/** Registered before anything is awaited: a verb may already be waiting. */
export function listen(run: Run): void {
  setHandler(statusQuery, () => run.status());
  for (const verb of ['approve', 'retry', 'abort'] as const) {
    setHandler(verbs[verb], (v) => accept(run, v), { validator: (v: SignedVerb) => validate(run, verb, v) });
  }
}
