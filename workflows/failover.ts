import { setWorkflowOptions } from '@temporalio/workflow';
import type { ClosedMove, FailoverInput } from './model/moves.ts';
import { moveUsers } from './move/course.ts';

/**
 * Moves the users of a lost site to its peer. The runbook gives the order, two operators give their word, the course is that
 * of every move: slot, plan, signatures, steps, evidence.
 */
export const failover = (input: FailoverInput): Promise<ClosedMove> => moveUsers('failover', input);
// A running move keeps the code it was approved with (DESIGN 3).
setWorkflowOptions({ versioningBehavior: 'PINNED' }, failover);
