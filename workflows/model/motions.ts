import { actRules, type Act } from './acts.ts';
import type { Verb } from './approvals.ts';

/** What an operator answers to a held step. */
export const answers = ['retry', 'skip', 'done'] as const satisfies readonly Verb[];
export type Answer = (typeof answers)[number];

export const isAnswer = (verb: Verb): verb is Answer => (answers as readonly Verb[]).includes(verb);

/** An answer to a held step that may need more than one operator. */
export interface Motion {
  step: string;
  /** The round that is held. */
  round: number;
  answer: Answer;
  operators: string[];
  /** What the last of them gave as his reason. */
  because: string;
}

/** A step that guards users is passed over, or called done by hand, by two (DESIGN 4). */
export function signaturesNeeded(answer: Answer, act: Act): 1 | 2 {
  return answer !== 'retry' && actRules[act].safety ? 2 : 1;
}

/** The motions with one more signature. Another answer of the same operator to the same step takes his first one back. */
export function joined(
  motions: readonly Motion[],
  given: { step: string; round: number; answer: Answer; operator: string; because: string },
): { motions: Motion[]; motion: Motion } {
  const { step, round, answer, operator, because } = given;
  const others = motions
    .map((m) => (m.step === step ? { ...m, operators: m.operators.filter((o) => o !== operator) } : m))
    .filter((m) => m.operators.length > 0);
  const same = (m: Motion): boolean => m.step === step && m.round === round && m.answer === answer;
  const before = others.find(same)?.operators ?? [];
  const motion: Motion = { step, round, answer, operators: [...before, operator], because };
  return { motions: [...others.filter((m) => !same(m)), motion], motion };
}
