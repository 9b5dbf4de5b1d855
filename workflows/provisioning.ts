import {
  ActivityCancellationType,
  proxyActivities,
  setCurrentDetails,
  setWorkflowOptions,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import type { Followed, ProvisioningActivities } from '../activities/types.ts';
import { failureText } from './model/failures.ts';
import { searchAttributes } from './model/names.ts';
import { HEARTBEAT_TIMEOUT } from './move/activities.ts';

export interface ProvisioningInput {
  customer: string;
}

/**
 * A look takes two minutes at the most; one that gives no answer is tried again while the run lasts, and the next run is
 * soon. Below the run's own time-out: it ends with the cause, and not with silence.
 */
const acts = proxyActivities<ProvisioningActivities>({
  startToCloseTimeout: '4m',
  scheduleToCloseTimeout: '8m',
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '5s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 4 },
});

/** Follows the customer's directory at this site: who has an account there has one here. */
export async function provisioning({ customer }: ProvisioningInput): Promise<Followed> {
  try {
    const followed = await acts['follow-directory']({ customer });
    const held = followed.state === 'held';
    if (held) upsertSearchAttributes([{ key: searchAttributes.held, value: 'directory' }]);
    const next = held ? '\n\nNobody is enabled or disabled until `tandem directory accept`, or a better answer.' : '';
    setCurrentDetails(`${held ? '**HELD.** ' : ''}${followed.told}.${next}`);
    return followed;
  } catch (error) {
    setCurrentDetails(`The directory gave no answer: ${failureText(error)}.\n\nThe last good one stays in force.`);
    throw error;
  }
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, provisioning);
