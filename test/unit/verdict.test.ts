import { describe, expect, it } from 'vitest';
import type { Isolation } from '../../workflows/model/plan.ts';
import { verdictOf, whyWorse } from '../../workflows/model/verdict.ts';

type Saw = Isolation['observers'][number]['saw'];
const observers = (saw: Record<string, Saw>): Isolation['observers'] =>
  Object.entries(saw).map(([name, s]) => ({ name, saw: s }));
const dark = { database: 'unreachable', vault: 'unreachable', temporal: 'unreachable' } as const;
const signed = (saw: Record<string, Saw>, statement: string | null = null): Isolation => ({
  verdict: verdictOf(observers(saw)),
  observers: observers(saw),
  statement,
});

describe('a site is never found dead', () => {
  it.each<[string, Record<string, Saw>]>([
    ['with a fresh beat', { ...dark, witness: 'answers' }],
    ['when the witness cannot be reached', { ...dark, witness: 'unknown' }],
    ['without a witness, however many are silent', { ...dark, 'sign-in': 'unreachable', api: 'unreachable' }],
    ['by two observers, the witness one of them', { database: 'unreachable', witness: 'unreachable' }],
    ['by three of whom one could not look', { database: 'unreachable', vault: 'unknown', witness: 'unreachable' }],
    ['while any part of it answers: observers that disagree', { ...dark, vault: 'answers', witness: 'unreachable' }],
    ['while users can sign in', { ...dark, 'sign-in': 'answers', witness: 'unreachable' }],
    ['while its database says that it is closed', { ...dark, database: 'closed', witness: 'unreachable' }],
  ])('%s', (_, saw) => {
    expect(verdictOf(observers(saw))).toBe('unknown');
  });

  it('while it serves', () => {
    expect(verdictOf(observers({ ...dark, database: 'serving', witness: 'unreachable' }))).toBe('serving');
  });
});

it('three that found it unreachable, the witness among them, find it dead', () => {
  expect(verdictOf(observers({ database: 'unreachable', vault: 'unreachable', witness: 'unreachable' }))).toBe('dead');
});

describe('what was signed no longer holds', () => {
  const silent = { ...dark, witness: 'unreachable' } as const;
  const stated = 'power cut, told by al';
  it.each<[string, Isolation, Record<string, Saw>, RegExp]>([
    [
      'when it serves now',
      signed(silent, stated),
      { ...silent, database: 'serving' },
      /^serves now: seen by its database/,
    ],
    [
      'when it was dead and its vault answers',
      signed(silent, stated),
      { ...silent, vault: 'answers' },
      /^answers now.*vault$/,
    ],
    ['when it was dead and beats again', signed(silent), { ...silent, witness: 'answers' }, /^answers now.*witness$/],
    [
      'when it was dead, nothing was stated, and the witness is gone',
      signed(silent),
      { ...silent, witness: 'unknown' },
      /^was found dead/,
    ],
    [
      'when its users could not sign in and now can, whatever was stated',
      signed({ ...dark, temporal: 'answers', 'sign-in': 'unreachable' }, stated),
      { ...dark, temporal: 'answers', 'sign-in': 'answers' },
      /^answers now.*sign-in$/,
    ],
    [
      'when a machine saw it closed and is silent now',
      signed({ ...dark, database: 'closed' }),
      dark,
      /^was seen closed/,
    ],
  ])('%s', (_, before, now, told) => {
    expect(whyWorse(before, observers(now))).toMatch(told);
  });

  it.each<[string, Isolation, Record<string, Saw>]>([
    ['when nothing has changed', signed(silent), silent],
    ['when it was dead and its own database says that it is closed', signed(silent), { ...silent, database: 'closed' }],
    [
      'when it was dead by a statement too, and the witness is gone',
      signed(silent, stated),
      { ...silent, witness: 'unknown' },
    ],
    ['when the beat was fresh and has become stale', signed({ ...dark, witness: 'answers' }, stated), silent],
    [
      'when its vault comes and goes under a statement',
      signed({ ...dark, witness: 'unknown' }, stated),
      { ...dark, vault: 'answers', witness: 'unknown' },
    ],
    ['when an observer answers that nobody had then', signed(dark, stated), { ...dark, witness: 'answers' }],
  ])('but does %s', (_, before, now) => {
    expect(whyWorse(before, observers(now))).toBeNull();
  });
});
