import type { Isolation } from './plan.ts';

type Observers = Isolation['observers'];

/** That many observers must have found a site unreachable before it is called dead; the witness is one of them. */
const DEAD_TAKES = 3;

/** The name of the observer that is at neither site. */
export const WITNESS_OBSERVER = 'witness';

/**
 * What the observers of a site come to. *dead* takes three that found it unreachable, the witness among them, and none
 * that saw anything of it: two that disagree are no verdict. One that could not look at all says nothing.
 */
export function verdictOf(observers: Observers): Isolation['verdict'] {
  if (observers.some((o) => o.saw === 'serving')) return 'serving';
  if (observers.some((o) => o.saw === 'closed' || o.saw === 'answers')) return 'unknown';
  const silent = observers.filter((o) => o.saw === 'unreachable');
  return silent.length >= DEAD_TAKES && silent.some((o) => o.name === WITNESS_OBSERVER) ? 'dead' : 'unknown';
}

/** Whether a machine has seen the source closed. */
export function sawClosed(observers: Observers): boolean {
  return observers.some((o) => o.saw === 'closed') && !observers.some((o) => o.saw === 'serving');
}

/** Of these an answer tells that the service, or its worker, is back; a vault or a Temporal service serves nobody. */
const ALIVE = new Set(['sign-in', 'api', WITNESS_OBSERVER]);

/**
 * Why what was signed about a source no longer holds; null when it does, or when things are better than they were. A
 * source that answers where it was silent is not what people have signed for, whatever they have stated.
 */
export function whyWorse(signed: Isolation, now: Observers): string | null {
  const names = (list: Observers): string => list.map((o) => o.name).join(', ');
  const serving = now.filter((o) => o.saw === 'serving');
  if (signed.verdict !== 'serving' && serving.length > 0) return `serves now: seen by its ${names(serving)}`;
  const machine = sawClosed(now);
  if (signed.statement === null && sawClosed(signed.observers) && !machine) {
    return 'was seen closed when the plan was signed, and cannot be seen now';
  }
  if (machine) return null; // Closed by its own database: better than any silence.
  const wasSilent = (name: string): boolean => signed.observers.some((o) => o.name === name && o.saw === 'unreachable');
  const back = now.filter(
    (o) => o.saw === 'answers' && wasSilent(o.name) && (signed.verdict === 'dead' || ALIVE.has(o.name)),
  );
  if (back.length > 0) return `answers now, and was silent when the plan was signed: seen by its ${names(back)}`;
  if (signed.verdict === 'dead' && signed.statement === null && verdictOf(now) !== 'dead') {
    return 'was found dead when the plan was signed, and its observers cannot say so now';
  }
  return null;
}
