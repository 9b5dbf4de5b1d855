import type { Decisions, Step } from './plan.ts';

/**
 * The steps of a runbook that a customer with these options has. What waited for one that is left out waits for what
 * that one waited for, so that no order is lost.
 */
export function applicable(steps: readonly Step[], options: readonly string[]): Pick<Decisions, 'steps' | 'leftOut'> {
  const has = ({ when }: Step): boolean => when === undefined || options.includes(when);
  const needsOf = (needs: readonly string[]): string[] => {
    const found = needs.flatMap((id) => {
      const step = steps.find((s) => s.id === id);
      return step === undefined || has(step) ? [id] : needsOf(step.needs);
    });
    return [...new Set(found)];
  };
  const leftOut = steps.flatMap(({ id, when, ...rest }) =>
    when === undefined || has({ id, when, ...rest }) ? [] : [{ id, when }],
  );
  const kept = steps.filter(has).map((step) => ({ ...step, needs: needsOf(step.needs) }));
  return leftOut.length > 0 ? { steps: kept, leftOut } : { steps: kept };
}
