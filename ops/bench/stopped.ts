import { Fault } from '../fault.ts';

/**
 * What Ctrl-C ends at once, whatever it waits for: statements, sign-ins and moves that run have no ear for a signal. The servers below
 * it can then be taken down.
 */
export async function unlessStopped<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(new Fault('bench: stopped before its end', 'Nothing is left of it: start again.'));
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, stopped]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** So long what was left behind may take to fail; then it is ended with the process. */
const LEFT_MS = 1000;
const unheard = (): undefined => undefined;

/** A whole measurement: what is still under way when it was stopped fails unheard, and holds up nobody. */
export async function untilStopped<T>(signal: AbortSignal, measure: () => Promise<T>): Promise<T> {
  signal.addEventListener('abort', () => {
    // A client whose server is gone tells that from its timers.
    for (const event of ['uncaughtException', 'unhandledRejection']) process.on(event, unheard);
  });
  try {
    return await measure();
  } finally {
    if (signal.aborted) setTimeout(() => process.exit(), LEFT_MS).unref();
  }
}
