import { keyEnded, refuseSignature, type SignedVerb } from './approvals.ts';
import type { Approver, Role } from './plan.ts';
import { isApproval, type HumanStep } from './test-paper.ts';

/** What operators tell a continuity test, signed as their words to a move are. */

/** `confirm`: a step of a tabletop can be done. `finish`: it ends, and what nobody confirmed is listed. */
export const testVerbs = ['abort', 'confirm', 'finish'] as const;
export type TestVerb = (typeof testVerbs)[number];

export interface SignedTestVerb extends Pick<SignedVerb, 'operator' | 'because' | 'nonce' | 'expires' | 'signature'> {
  verb: TestVerb;
  /** Of a confirmation. */
  step?: string;
}

/** The test that a word is for. */
export interface TestKey {
  customer: string;
  site: string;
  run: string;
}

const may: Record<TestVerb, readonly Role[]> = {
  abort: ['operate', 'commander'],
  confirm: ['declare', 'approve', 'operate', 'commander'],
  finish: ['operate', 'commander'],
};

/** The text that is signed. */
export const testText = ({ customer, site, run }: TestKey, v: Omit<SignedTestVerb, 'signature'>): string =>
  [
    `tandem/1 continuity-test ${v.verb}`,
    `customer: ${customer}`,
    `site: ${site}`,
    `run: ${run}`,
    `step: ${v.step ?? ''}`,
    `operator: ${v.operator}`,
    `because: ${JSON.stringify(v.because ?? '')}`,
    `nonce: ${v.nonce}`,
    `expires: ${v.expires}`,
    '',
  ].join('\n');

export interface TestNow extends TestKey {
  approvers: readonly Approver[];
  people: readonly HumanStep[];
  usedNonces: ReadonlySet<string>;
  now: number;
}

/** Why an operator's word is not taken; null when it is. */
export function refuseTestVerb(test: TestNow, v: SignedTestVerb): string | null {
  const { approvers, usedNonces, now } = test;
  const operator = approvers.find((a) => a.id === v.operator);
  if (!operator) return `${JSON.stringify(v.operator)} is no operator here: ${approvers.map((a) => a.id).join(', ')}`;
  if (!operator.roles.some((role) => may[v.verb].includes(role)))
    return `${v.operator} may not ${v.verb}: it takes the role ${may[v.verb].join(' or ')}`;
  if (keyEnded(operator, now)) return `the key of ${v.operator} expired at ${operator.expires}`;
  const why = refuseSignature({ key: operator.key, usedNonces, now }, v, testText(test, v));
  if (why !== null) return why;
  if (v.verb === 'abort') return (v.because ?? '').trim() === '' ? 'whoever ends a test says why: `because`' : null;
  if (test.people.length === 0) return 'only a tabletop has steps that people confirm, once it is read out';
  return v.verb === 'confirm' ? refuseConfirmation(test, v, operator) : null;
}

function refuseConfirmation({ people, approvers }: TestNow, v: SignedTestVerb, operator: Approver): string | null {
  const step = people.find(({ id }) => id === v.step);
  if (!step) return `step ${JSON.stringify(v.step ?? '')}: there are ${people.map(({ id }) => id).join(', ')}`;
  if (step.confirmedBy !== null) return `step ${step.id} was confirmed by ${step.confirmedBy}`;
  if (!isApproval(step.id)) return null;
  const signers = people.filter(({ id, confirmedBy }) => isApproval(id) && confirmedBy !== null);
  if (signers.some(({ confirmedBy }) => confirmedBy === v.operator))
    return `${v.operator} has confirmed an approval already: another operator must`;
  const commands = (id: string | null): boolean => approvers.some((a) => a.id === id && a.roles.includes('commander'));
  const last = signers.length + 1 === people.filter(({ id }) => isApproval(id)).length;
  return last && !commands(operator.id) && !signers.some(({ confirmedBy }) => commands(confirmedBy))
    ? 'one of those who would sign is a commander, and none has confirmed it: a commander must'
    : null;
}

/** The steps after a word that was taken. */
export const confirmed = (people: readonly HumanStep[], v: SignedTestVerb, now: number): HumanStep[] =>
  people.map((step) =>
    step.id === v.step
      ? { ...step, confirmedBy: v.operator, confirmedAt: new Date(now).toISOString(), note: v.because ?? '' }
      : step,
  );
