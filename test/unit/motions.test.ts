import { describe, expect, it } from 'vitest';
import { acts, actRules } from '../../workflows/model/acts.ts';
import { answers, joined, signaturesNeeded, type Motion } from '../../workflows/model/motions.ts';

const given = { step: 'fence', round: 0, answer: 'skip', operator: 'one', because: 'it is off' } as const;

describe('answers to a held step', () => {
  it('never let one alone pass over a step that guards users', () => {
    for (const act of acts.filter((a) => actRules[a].safety)) {
      expect([signaturesNeeded('skip', act), signaturesNeeded('done', act)]).toEqual([2, 2]);
    }
    expect(answers.map((a) => signaturesNeeded(a, 'probe'))).toEqual([1, 1, 1]);
  });

  it('never count an operator twice, nor for two answers at once', () => {
    const first = joined([], given);
    const again = joined(first.motions, given);
    expect(again.motion.operators).toEqual(['one']);
    const changed = joined(first.motions, { ...given, answer: 'done' });
    expect(changed.motions).toEqual([changed.motion]);
    expect(joined(changed.motions, { ...given, operator: 'two' }).motion.operators).toEqual(['two']);
  });

  it('never carry over from one round, or one step, to another', () => {
    const { motions } = joined([], given);
    expect(joined(motions, { ...given, operator: 'two', round: 1 }).motion.operators).toEqual(['two']);
    expect(joined(motions, { ...given, operator: 'two', step: 'contacts' }).motion.operators).toEqual(['two']);
  });

  it('are complete with the second operator, whose reason stands', () => {
    const { motions } = joined([], given);
    const { motion } = joined(motions, { ...given, operator: 'two', because: 'seen by me' });
    expect(motion).toEqual<Motion>({
      step: 'fence',
      round: 0,
      answer: 'skip',
      operators: ['one', 'two'],
      because: 'seen by me',
    });
  });
});
