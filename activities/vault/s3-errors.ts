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

/** The connection ended before an answer came: what was asked may have been done, or refused. */
export const isReset = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');

/** The object is not there, while its bucket is. */
export const isMissing = (error: unknown): boolean =>
  ['NoSuchKey', 'NoSuchVersion', 'NotFound'].includes(name(error)) && status(error) === 404;

/** Throttled, or in the way of another write: 4xx answers that another attempt may turn. */
const passing = new Set([
  'SlowDown',
  'ThrottlingException',
  'Throttling',
  'RequestTimeout',
  'OperationAborted',
  'ConditionalRequestConflict',
]);
/** 403, but nothing of rights: a signature is good for 15 minutes by the server's clock. */
const skewed = new Set(['RequestTimeTooSkewed', 'RequestExpired', 'RequestInTheFuture']);
export const isSkewed = (error: unknown): error is Error => error instanceof Error && skewed.has(error.name);
const full = /QuotaExceeded|StorageFull|InsufficientStorage|InsufficientCapacity|ENOSPC|no space left|quota exceeded/i;

function kindOf(error: unknown): FailureKind {
  const code = status(error);
  if (code === 507 || (error instanceof Error && full.test(`${error.name} ${error.message}`))) return 'disk-full';
  if (isSkewed(error)) return 'clock-wrong';
  // Without an answer, or with one that says "not now"; or that says yes, and cannot be read: whoever gave it refuses nothing.
  if (code === undefined || code >= 500 || code < 300 || code === 429 || passing.has(name(error)))
    return 'vault-unreachable';
  return 'vault-refused';
}

/** Turns an error of the S3 client into a failure: which vault, what was tried, below which prefix. No secret, no body. */
export function vaultFailure(site: string, what: string, key: string, error: unknown): Error {
  if (failureKind(error)) return error as Error;
  const code = status(error);
  const text = error instanceof AggregateError ? error.errors.map(String).join('; ') : errorText(error);
  const folder = key.slice(0, key.lastIndexOf('/') + 1) || key;
  const kind = kindOf(error);
  const clocks = kind === 'clock-wrong' ? `; ${clocksOf(error)}` : '';
  return failure(kind, `vault ${site}: ${what} ${folder}…: ${text}${code ? ` (${code})` : ''}${clocks}`);
}

/** What Node says of a certificate of an authority that it does not know. */
const unknownAuthority =
  /^(UNABLE_TO_(VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT(_LOCALLY)?)|(DEPTH_ZERO_)?SELF_SIGNED_CERT.*)$/;

function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (unknownAuthority.test(code))
    return `its certificate is signed by nobody who is trusted (${code}); NODE_EXTRA_CA_CERTS=FILE, for the worker and for commands, names an authority of your own`;
  const called = error.name === 'Error' ? '' : error.name;
  return [called, error.message || code].filter(Boolean).join(': ');
}

/** Both clocks as far as the answer tells them: which of the two is wrong is for a person to see. */
function clocksOf(error: unknown): string {
  const here = new Date().toISOString();
  const response = error instanceof Error && '$response' in error ? error.$response : undefined;
  const { date } = (response as { headers?: { date?: string } } | undefined)?.headers ?? {};
  const there = date && Number.isFinite(Date.parse(date)) ? new Date(date).toISOString() : 'not told';
  return `clock of the vault: ${there}, of this machine: ${here}, limit 15 min`;
}
