import { defineSignal, getExternalWorkflowHandle, setHandler } from '@temporalio/workflow';
import type { Run } from './run.ts';

/** failover > relocate (DESIGN 2). The slot has been taken in the database, where it counts: this only wakes who waits. */
const superseded = defineSignal<[{ by: string }]>('superseded');

/** A run that is gone need not be told. */
export function tellSuperseded(workflowId: string, by: string): void {
  getExternalWorkflowHandle(workflowId)
    .signal(superseded, { by })
    .catch(() => undefined);
}

export const heedPrecedence = (run: Run): void => setHandler(superseded, ({ by }) => run.giveWay(by));
