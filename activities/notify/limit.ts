import { ApplicationFailure } from '@temporalio/common';
import { failure } from '../../workflows/model/failures.ts';
import { SEND_LIMIT_MS, type Message } from './port.ts';

/** Runs one sending under the channel's limit; whatever goes wrong is a failure that names the channel. */
export async function sending(
  name: string,
  { key }: Message,
  outer: AbortSignal | undefined,
  send: (signal: AbortSignal) => Promise<void>,
  limitMs = SEND_LIMIT_MS,
): Promise<void> {
  if (!/^[\x21-\x7e]{1,200}$/.test(key))
    throw failure('input-invalid', `message ${JSON.stringify(key)}: a key has 1 to 200 printable characters of ASCII`);
  const limit = AbortSignal.timeout(limitMs);
  try {
    await send(outer ? AbortSignal.any([limit, outer]) : limit);
  } catch (error) {
    if (error instanceof ApplicationFailure) throw error;
    if (outer?.aborted) throw error; // Stopped by whoever sends, not by the other end.
    const why = limit.aborted ? `no answer within ${limitMs / 1000} s` : reasonOf(error);
    throw failure('channel-unreachable', `channel ${name}: ${why}`);
  }
}

/** The innermost cause that says something: a refused connection to several addresses has no text of its own. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return reasonOf(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  return oneLine(error.message || error.name);
}

/** Of a stranger's text no more is looked at: patterns over a long one take long. */
const LONGEST_READ = 500;

/** What another machine answered, fit for a line of a journal: mail addresses are people's, and left out. */
export const oneLine = (text: string): string =>
  text
    .slice(0, LONGEST_READ)
    .replaceAll(/[^\s<>:;,]+@[^\s<>:;,]+/g, '(address)')
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .slice(0, 200);
