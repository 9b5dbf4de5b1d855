import type { LogEntry } from '@temporalio/worker';
import { failureKind, failureText } from '../workflows/model/failures.ts';

/**
 * What the SDK has to say, as a line of the worker's log; null for what is nobody's concern: a watch that the next worker goes on with ends
 * as a failed attempt whenever a worker is stopped.
 */
export function logLine({ level, message, meta }: Pick<LogEntry, 'level' | 'message' | 'meta'>): string | null {
  if (!meta) return `${level} ${message}`;
  const { error, ...rest } = meta as Record<string, unknown>;
  if (failureKind(error) === 'worker-ends') return null;
  return `${level} ${message} ${JSON.stringify({ ...rest, ...(error !== undefined && { error: told(error) }) })}`;
}

/** Of what no table of failures knows, where it came from as well. */
const told = (error: unknown): unknown => {
  if (failureKind(error)) return failureText(error);
  return error instanceof Error ? error.stack : error;
};
