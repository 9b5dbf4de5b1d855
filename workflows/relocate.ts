import { setWorkflowOptions } from '@temporalio/workflow';
import type { ClosedMove, RelocateInput } from './model/moves.ts';
import { moveUsers } from './move/course.ts';

/**
 * Moves the users of a half to the other site while both are there; to their home it is a failback. It runs where they are
 * now (DESIGN 5), and goes the course of a failover: slot, plan, signatures, steps, evidence.
 */
export const relocate = (input: RelocateInput): Promise<ClosedMove> => moveUsers('relocate', input);
setWorkflowOptions({ versioningBehavior: 'PINNED' }, relocate);
