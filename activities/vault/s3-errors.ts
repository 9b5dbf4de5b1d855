import { failure, failureKind, type FailureKind } from '../../workflows/model/failures.ts';

/** The HTTP status of an answer of S3; undefined when there was none. */
export function status(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined;
  return (error.$metadata as { httpStatusCode?: number } | undefined)?.httpStatusCode;
}

const name = (error: unknown): string => (error instanceof Error ? error.name : '');

/** Somebody has written this key already. */
export const isTaken = (error: unknown): boolean => status(error) === 412 || name(error) === 'PreconditionFailed';

/** Another conditional write to this key is under way. */
export const isConflict = (error: unknown): boolean => status(error) === 409;

/** The object is not there, while its bucket is. */
export const isMissing = (error: unknown): boolean =>
  ['NoSuchKey', 'NoSuchVersion', 'NotFound'].includes(name(error)) && status(error) === 404;

/** Throttled, or the clocks differ for the moment: 4xx answers that another attempt may turn. */
const passing = new Set(['SlowDown', 'ThrottlingException', 'Throttling', 'RequestTimeout', 'OperationAborted']);
const full = /QuotaExceeded|StorageFull|InsufficientStorage|InsufficientCapacity|ENOSPC|no space left|quota exceeded/i;

function kindOf(error: unknown): FailureKind {
  const code = status(error);
  if (code === 507 || (error instanceof Error && full.test(`${error.name} ${error.message}`))) return 'disk-full';
  // Without an answer, or with one that says "not now".
  if (code === undefined || code >= 500 || code === 429 || passing.has(name(error))) return 'vault-unreachable';
  return 'vault-refused';
}

/** Turns an error of the S3 client into a failure: which vault, what was tried, below which prefix. No secret, no body. */
export function vaultFailure(site: string, what: string, key: string, error: unknown): Error {
  if (failureKind(error)) return error as Error;
  const code = status(error);
  const text = error instanceof AggregateError ? error.errors.map(String).join('; ') : errorText(error);
  const folder = key.slice(0, key.lastIndexOf('/') + 1) || key;
  return failure(kindOf(error), `vault ${site}: ${what} ${folder}…: ${text}${code ? ` (${code})` : ''}`);
}

function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return [error.name, error.message || code].filter(Boolean).join(': ');
}
