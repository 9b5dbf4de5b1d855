import { ApplicationFailure } from '@temporalio/common';
import { failures, type FailureKind } from './failure-table.ts';

export { failures, type FailureKind };

/**
 * The one kind of error that workflows and activities throw. `message` reads "subject: observed, limit"; what to do is
 * in the table above and travels in the details, because a history is read by people who have no source at hand.
 */
export function failure(kind: FailureKind, message: string, details: Record<string, unknown> = {}): ApplicationFailure {
  const { retry, try: next } = failures[kind];
  return ApplicationFailure.create({ type: kind, message, nonRetryable: !retry, details: [{ try: next, ...details }] });
}

/** The kind of a failure, also through the wrappers that Temporal puts around an activity's or a child's. */
export function failureKind(error: unknown): FailureKind | undefined {
  for (let e = error; e instanceof Error; e = e.cause) {
    if (e instanceof ApplicationFailure && e.type && e.type in failures) return e.type as FailureKind;
  }
  return undefined;
}

/** The innermost message: what went wrong, without "Activity task failed". */
export function failureText(error: unknown): string {
  let text = String(error);
  for (let e = error; e instanceof Error; e = e.cause) text = e.message || text;
  return text;
}
