import { describe, expect, it } from 'vitest';
import { explore, type Bounds, type Explored } from './explorer.ts';
import { mutations } from './mutations.ts';
import { rules, type Rules } from './rules.ts';
import { startNames, startOf, type Start } from './starts.ts';
import { TwoSites } from './two-sites.ts';

/** `npm run explore` goes deeper. */
const DEPTH = 4;

interface Trial {
  from: Start;
  faults: number;
  rules: Rules;
}

/** A start is reached by the rules as they are, whatever is tried from there. */
function tryFrom({ from, faults, rules: tried }: Trial, bounds: Bounds): Explored {
  const asTheyAre = new TwoSites({ rules: { ...rules, selfFence: tried.selfFence }, faults });
  return explore(new TwoSites({ rules: tried, faults }), [startOf(asTheyAre, from)], bounds);
}

describe.each([
  ['without self-fence', false],
  ['with self-fence', true],
])('%s, in no order of events', (_, selfFence) => {
  it.each(startNames)('from "%s" do two sites serve one user, nor is anybody left without a reason', (from) => {
    const { found, states } = tryFrom({ from, faults: 2, rules: { ...rules, selfFence } }, { depth: DEPTH });
    expect(found).toBeNull();
    expect(states).toBeGreaterThan(500);
  });
});

describe('each rule is there because without it', () => {
  it.each(mutations)('$rule', ({ without, start: from, selfFence = false, faults, depth, finds }) => {
    const base = { ...rules, selfFence };
    const { found } = tryFrom({ from, faults, rules: { ...base, ...without } }, { depth });
    expect(found?.fault).toMatch(finds);
    // The rule, and nothing else, keeps that away.
    const reached = { depth: found?.events.length ?? depth };
    expect(tryFrom({ from, faults, rules: base }, reached).found).toBeNull();
  });
});
