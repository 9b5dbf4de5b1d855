import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { FailoverActivities } from '../../activities/types.ts';
import { isPerformed } from '../model/acts.ts';
import { failure } from '../model/failures.ts';
import type { StepInput, StepResult } from '../model/moves.ts';
import type { Step } from '../model/plan.ts';

/**
 * A worker that was killed is noticed after this time without a heartbeat, and its work is given to the next: every
 * activity beats at least every 2 s.
 */
export const HEARTBEAT_TIMEOUT = '8s';

/** The slot and the plan: short work on this site's own database and vault, with observers that have limits of their own. */
export const desk = proxyActivities<FailoverActivities>({
  startToCloseTimeout: '3m',
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '10s' },
});

/** The journal is the evidence: it is tried for as long as the run lives, however long the database is away. */
export const record = proxyActivities<FailoverActivities>({
  startToCloseTimeout: '1m',
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1s', backoffCoefficient: 1.5, maximumInterval: '15s' },
});

/** One look at the vault: the run waits between them, for an hour, and the worker goes on after that. */
export const sealer = proxyActivities<FailoverActivities>({
  startToCloseTimeout: '1m',
  scheduleToCloseTimeout: '2m',
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { maximumAttempts: 1 },
});

/** Whoever is on duty: the activity has limits of its own, and names what it could not reach. */
export const pager = proxyActivities<FailoverActivities>({
  startToCloseTimeout: '30s',
  scheduleToCloseTimeout: '2m',
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumAttempts: 3 },
});

/**
 * One attempt of a step may take the runbook's time limit. Five attempts absorb a killed worker or a database that
 * restarts; what still fails then is an operator's to judge.
 */
export function perform(step: Step, round: number, input: StepInput): Promise<StepResult> {
  const acts = proxyActivities<FailoverActivities>({
    startToCloseTimeout: step.timeoutMs,
    ...(step.withinMs !== undefined && { scheduleToCloseTimeout: step.withinMs }),
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    // Held only when the last attempt is known to have ended: an old attempt's effect must not land after a new one's.
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: {
      initialInterval: '1s',
      backoffCoefficient: 2,
      maximumInterval: '10s',
      maximumAttempts: step.withinMs === undefined ? step.attempts : Infinity,
    },
    summary: round === 0 ? `step ${step.id}` : `step ${step.id}, round ${round}`,
  });
  if (!isPerformed(step.act))
    throw failure('act-missing', `step ${step.id}: this version does not perform ${step.act}`);
  return acts[step.act](input);
}
