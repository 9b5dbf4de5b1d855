import { WorkflowFailedError, type Client } from '@temporalio/client';
import type { ContinuityTestResult } from '../workflows/continuity-test.ts';
import type { ContinuityTestInput } from '../workflows/model/continuity.ts';
import { failureText } from '../workflows/model/failures.ts';
import { scheduleIds, searchAttributes, taskQueue } from '../workflows/model/names.ts';
import { Fault } from './fault.ts';

/** Holds a continuity test at a site now, whosever turn it is, and waits for its receipt. */
export async function startTest(client: Client, site: string, customer: string): Promise<ContinuityTestResult> {
  try {
    return await client.workflow.execute<(test: ContinuityTestInput) => Promise<ContinuityTestResult>>(
      'continuity-test',
      {
        workflowId: `${scheduleIds.continuityTest(customer)}/now-${new Date().toISOString().slice(0, 19)}`,
        taskQueue: taskQueue(site),
        args: [{ customer, kind: 'isolated', startedBy: 'operator' }],
        typedSearchAttributes: [{ key: searchAttributes.customer, value: customer }],
        workflowExecutionTimeout: '12h',
        staticSummary: `continuity test of ${customer} at ${site}, isolated`,
      },
    );
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    throw new Fault(
      `continuity test of ${customer}: ${failureText(error)}`,
      'The run in Temporal UI shows every step; its receipt is in the vault.',
    );
  }
}
