import type { Condition } from './acts.ts';
import type { Decisions, Step } from './plan.ts';

/** What a step is only for. */
export const conditionsOf = ({ when }: Pick<Step, 'when'>): readonly Condition[] =>
  when === undefined ? [] : typeof when === 'string' ? [when] : when;

/**
 * The steps of a runbook for a customer who has these options and parts. What waited for one that is left out waits for what
 * that one waited for, so that no order is lost.
 */
export function applicable(steps: readonly Step[], has: readonly string[]): Pick<Decisions, 'steps' | 'leftOut'> {
  const lacks = (step: Step): Condition | undefined => conditionsOf(step).find((condition) => !has.includes(condition));
  const needsOf = (needs: readonly string[]): string[] => {
    const found = needs.flatMap((id) => {
      const step = steps.find((s) => s.id === id);
      return step === undefined || lacks(step) === undefined ? [id] : needsOf(step.needs);
    });
    return [...new Set(found)];
  };
  const leftOut = steps.flatMap((step) => {
    const when = lacks(step);
    return when === undefined ? [] : [{ id: step.id, when }];
  });
  const kept = steps
    .filter((step) => lacks(step) === undefined)
    .map((step) => ({ ...step, needs: needsOf(step.needs) }));
  return leftOut.length > 0 ? { steps: kept, leftOut } : { steps: kept };
}
