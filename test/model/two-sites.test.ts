import { describe, expect, it } from 'vitest';
import { explore, type Explored } from './explorer.ts';
import { mutations } from './mutations.ts';
import { rules, type Rules } from './rules.ts';
import { plannedIn, startNames, startOf, type Start } from './starts.ts';
import { TwoSites } from './two-sites.ts';

/** `npm run explore` goes deeper. */
const DEPTH = 4;

interface Trial {
  from: Start;
  faults: number;
  rules: Rules;
}

/** A start is reached by the rules as they are, whatever is tried from there. */
function tryFrom({ from, faults, rules: tried }: Trial, depth: number): Explored & { retell: () => string | null } {
  const asTheyAre = new TwoSites({ rules: { ...rules, selfFence: tried.selfFence }, faults, planned: 'any' });
  const model = new TwoSites({ rules: tried, faults, planned: plannedIn(from) });
  const start = startOf(asTheyAre, from);
  const explored = explore(model, [start], { depth });
  return { ...explored, retell: () => model.faultOf(model.after(start, explored.found?.events ?? [])) };
}

describe.each([
  ['without self-fence', false],
  ['with self-fence', true],
])('%s, in no order of events', (_, selfFence) => {
  it.each(startNames)('from "%s" do two sites serve one user, nor is anybody left without a reason', (from) => {
    const { found, states } = tryFrom({ from, faults: 2, rules: { ...rules, selfFence } }, DEPTH);
    expect(found).toBeNull();
    expect(states).toBeGreaterThan(500);
  });
});

describe('each rule is there because without it something goes wrong, and with it not:', () => {
  it.each(mutations)('$rule', ({ without, start: from, selfFence = false, faults, depth, finds }) => {
    const base = { ...rules, selfFence };
    const { found, retell } = tryFrom({ from, faults, rules: { ...base, ...without } }, depth);
    expect(found?.fault).toMatch(finds);
    expect(retell()).toBe(found?.fault); // What is printed leads there.
    expect(tryFrom({ from, faults, rules: base }, found?.events.length ?? depth).found).toBeNull();
  });
});

it('leaves no rule out: each of the table is one of the model, and each of the model is in the table', () => {
  const { selfFence: _, ...all } = rules;
  const servedElsewhere = ['servesBy']; // It is what "served" means here: there is nothing to hold it against.
  const tried = mutations.flatMap(({ without }) => Object.keys(without));
  expect([...new Set([...tried, ...servedElsewhere])].toSorted()).toEqual(Object.keys(all).toSorted());
});
