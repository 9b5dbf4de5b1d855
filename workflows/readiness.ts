import {
  ActivityCancellationType,
  proxyActivities,
  setCurrentDetails,
  setWorkflowOptions,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import type { ReadinessActivities } from '../activities/types.ts';
import { searchAttributes } from './model/names.ts';
import { readinessLines, type Readiness } from './model/readiness.ts';
import { duration } from './model/rto.ts';
import { HEARTBEAT_TIMEOUT, pager } from './move/activities.ts';

export interface ReadinessInput {
  customer: string;
}

/** Below the run's own time-out: it ends with the cause, and not with silence. */
const acts = proxyActivities<ReadinessActivities>({
  startToCloseTimeout: '2m',
  scheduleToCloseTimeout: '8m',
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '5s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 4 },
});

/** Evaluates the failover in which this site would survive, without any effect: what would stop it is known before the night. */
export async function readiness({ customer }: ReadinessInput): Promise<Readiness> {
  const found = await acts['evaluate-readiness']({ customer });
  const { state, forecastMs } = found;
  if (state === 'not-ready') upsertSearchAttributes([{ key: searchAttributes.held, value: 'readiness' }]);
  const forecast = forecastMs === null ? [] : [`Forecast: ${duration(forecastMs)} after the signatures.`];
  const lines = readinessLines(found).map((line) => `${line}.`);
  setCurrentDetails([...(state === 'not-ready' ? ['**NOT READY.**'] : []), ...lines, ...forecast].join('\n\n'));
  if (found.news) await tell(found, found.news, lines);
  return found;
}

/** A channel that is away is named in the answer of the page, and fails nothing: the next look is in half an hour. */
async function tell(
  { customer, from, to, at, notReady }: Readiness,
  news: 'not-ready' | 'ready-again',
  lines: string[],
) {
  const ready = news === 'ready-again';
  await pager['page-operators']({
    customer,
    move: null,
    key: `${customer}/readiness/${to}/${notReady?.since ?? at}/${news}`,
    subject: `${customer}: should ${from} be lost, ${ready ? 'it can be failed over again' : 'it could NOT be failed over'}`,
    text: [
      ...(ready ? [] : [`Found twice in a row, since ${notReady?.since ?? at}.`]),
      ...lines,
      `Next: tandem failover plan --customer ${customer} --from ${from} --site ${to}`,
    ].join('\n'),
    severity: ready ? 'info' : 'critical',
  });
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, readiness);
