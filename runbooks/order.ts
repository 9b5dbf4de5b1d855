import { actRules, requiredActs, type Act, type MoveKind } from '../workflows/model/acts.ts';

/** A step as far as its order matters. */
export interface OrderedStep {
  id: string;
  act: Act;
  needs: readonly string[];
}

/** Every circle once, as the ids along it, from the one that stands first in the file. */
export function circles(steps: readonly OrderedStep[]): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  const visit = (id: string, path: string[]): void => {
    const start = path.indexOf(id);
    if (start >= 0) {
      found.push([...path.slice(start), id]);
      return;
    }
    if (done.has(id)) return;
    for (const need of steps.find((s) => s.id === id)?.needs ?? []) visit(need, [...path, id]);
    done.add(id);
  };
  for (const { id } of steps) visit(id, []);
  return found;
}

/** All steps that are done before this one starts. Ends also when there are circles. */
export function behind(steps: readonly OrderedStep[], step: OrderedStep): Set<string> {
  const seen = new Set<string>();
  const visit = (needs: readonly string[]): void => {
    for (const need of needs) {
      if (seen.has(need)) continue;
      seen.add(need);
      visit(steps.find((s) => s.id === need)?.needs ?? []);
    }
  };
  visit(step.needs);
  return seen;
}

/**
 * What the safety order misses, in words, by step. A step behind which an act is named twice needs both; an act that a
 * move of this kind does not have guards nothing in it.
 */
export function outOfOrder(steps: readonly OrderedStep[], kind: MoveKind): { step: string; text: string }[] {
  return steps.flatMap((step) => {
    const before = behind(steps, step);
    // A test beside the service has no epoch, and needs none.
    const order = actRules[step.act].after.filter(({ act }) => actRules[act].kinds.includes(kind));
    return order.flatMap(({ act, because }) => {
      const guards = steps.filter((s) => s.act === act);
      if (guards.length === 0 && requiredActs[kind].includes(act))
        return [
          { step: step.id, text: `${step.act} needs a step with ${act} before it, and there is none: ${because}` },
        ];
      return guards
        .filter((s) => !before.has(s.id))
        .map((s) => ({
          step: step.id,
          text: `${step.act} must need ${s.id} (${act}), itself or through others: ${because}`,
        }));
    });
  });
}
