import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { ContinuityActivities } from '../../activities/test-types.ts';
import { HEARTBEAT_TIMEOUT } from '../move/activities.ts';

export const acts = proxyActivities<ContinuityActivities>({
  startToCloseTimeout: '2h',
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '2s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 10 },
});

/** For as long as a test may last; a worker that ends or is killed leaves it to the next one. */
export const guard = proxyActivities<Pick<ContinuityActivities, 'guard-test' | 'await-cohort'>>({
  startToCloseTimeout: '13h',
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '10s' },
});
