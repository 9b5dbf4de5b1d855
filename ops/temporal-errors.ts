import type * as temporal from '@temporalio/client';

interface Errors {
  WorkflowExecutionAlreadyStartedError: temporal.WorkflowExecutionAlreadyStartedError;
  WorkflowFailedError: temporal.WorkflowFailedError;
  WorkflowNotFoundError: temporal.WorkflowNotFoundError;
  WorkflowUpdateFailedError: temporal.WorkflowUpdateFailedError;
  WorkflowUpdateRPCTimeoutOrCancelledError: temporal.WorkflowUpdateRPCTimeoutOrCancelledError;
}

/**
 * Whether the client's library threw this. By the name, as its own classes do it: the library is loaded where a service is
 * connected to, for it takes longer to load than most commands take that ask no Temporal.
 */
export const isTemporal = <Name extends keyof Errors>(error: unknown, name: Name): error is Errors[Name] =>
  error instanceof Error && error.name === name;
