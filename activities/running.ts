import { Context } from '@temporalio/activity';

/** What a long activity reports, and what ends it. */
export interface Running {
  heartbeat: (progress: Record<string, number>) => void;
  signal: AbortSignal;
}

/** Of the activity that runs: the one place where the data half meets Temporal. */
export function running(): Running {
  const context = Context.current();
  return { heartbeat: (progress) => context.heartbeat(progress), signal: context.cancellationSignal };
}
