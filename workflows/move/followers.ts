import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { ChildWorkflowCancellationType, startChild } from '@temporalio/workflow';
import { externalUpdateId, type ExternalKey } from '../model/external.ts';
import { searchAttributes } from '../model/names.ts';
import type { Step } from '../model/plan.ts';
import type { Run } from './run.ts';

/**
 * Starts a run for each party that a step has asked: it lives on when this one ends, however it ends. One that is there is
 * left as it is.
 */
export async function startFollowers(run: Run, step: Step): Promise<void> {
  if (step.act !== 'request-external-update') return;
  const { customer } = run.input;
  const { epoch } = run.currentPlan.decisions;
  for (const party of step.parties ?? []) {
    const key: ExternalKey = { customer, party, epoch };
    try {
      await startChild('external-update', {
        workflowId: externalUpdateId(key),
        args: [key],
        parentClosePolicy: 'ABANDON',
        cancellationType: ChildWorkflowCancellationType.ABANDON,
        typedSearchAttributes: [{ key: searchAttributes.customer, value: customer }],
        staticSummary: `${customer}: ${party} is asked to change its configuration`,
      });
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    }
  }
}
