import { acts, type Act } from '../workflows/model/plan.ts';

/** A step as far as its order matters. */
export interface OrderedStep {
  id: string;
  act: Act;
  needs: readonly string[];
}

/** What must be behind a step before it may start, whatever else a runbook says (DESIGN 4, the safety order). */
const safetyOrder: Record<Act, { act: Act; because: string }[]> = {
  'advance-epoch': [],
  'fence-site': [{ act: 'advance-epoch', because: 'a fence carries the epoch' }],
  'restore-contacts': [{ act: 'advance-epoch', because: 'the database takes rows of the newest epoch only' }],
  'serve-users': [
    { act: 'advance-epoch', because: 'nobody is served under an old epoch' },
    { act: 'fence-site', because: 'nobody is served while the lost site may still serve him' },
    { act: 'restore-contacts', because: 'nobody is served without his contacts and ACLs' },
  ],
  probe: [{ act: 'serve-users', because: 'a probe looks at users who are served' }],
};

/** Acts that guard users: none of them may fail and the run go on. */
export const safetyActs: readonly Act[] = acts.filter((act) => act !== 'probe');

/** A failover has one of each: two epochs in one move, or two points of no return, mean nothing. */
export const onceActs: readonly Act[] = ['advance-epoch', 'fence-site', 'serve-users'];

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
function behind(steps: readonly OrderedStep[], step: OrderedStep): Set<string> {
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

/** What the safety order misses, in words, by step. A step behind which an act is named twice needs both. */
export function outOfOrder(steps: readonly OrderedStep[]): { step: string; text: string }[] {
  return steps.flatMap((step) => {
    const before = behind(steps, step);
    return safetyOrder[step.act].flatMap(({ act, because }) => {
      const missing = steps.filter((s) => s.act === act && !before.has(s.id));
      const none = !steps.some((s) => s.act === act);
      if (none)
        return [
          { step: step.id, text: `${step.act} needs a step with ${act} before it, and there is none: ${because}` },
        ];
      return missing.map((m) => ({
        step: step.id,
        text: `${step.act} must need ${m.id} (${act}), itself or through others: ${because}`,
      }));
    });
  });
}
