import { describe, expect, it } from 'vitest';
import { whoseTurn } from '../../workflows/model/continuity.ts';
import { compareEpoch } from '../../workflows/model/epoch.ts';
import { failure, failureKind, failures, failureText } from '../../workflows/model/failures.ts';
import { endPhases, isEnd, transition, transitions } from '../../workflows/model/phases.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import { alarms, duration } from '../../workflows/model/rto.ts';
import { ageMs, cadenceHolds } from '../../workflows/model/snapshots.ts';

const HOUR = 3_600_000;

describe('epochs', () => {
  const held = { number: 4, site: 'west', move: 'm1' };
  it('refuses a lower number, and an equal one of another move or site', () => {
    expect(compareEpoch(held, { ...held, number: 3 })).toBe('refused');
    expect(compareEpoch(held, { ...held, move: 'm2' })).toBe('refused');
    expect(compareEpoch(held, { ...held, site: 'east' })).toBe('refused');
  });
  it('takes its own again and a higher one', () => {
    expect(compareEpoch(held, { ...held })).toBe('same');
    expect(compareEpoch(held, { number: 5, site: 'east', move: 'm2' })).toBe('newer');
    expect(compareEpoch(null, held)).toBe('newer');
  });
});

describe('phases', () => {
  it('never leave an end, and never skip the approval', () => {
    expect(transitions.filter((t) => endPhases.includes(t.from))).toEqual([]);
    expect(transitions.filter((t) => t.to === 'moving').map((t) => [t.from, t.on])).toEqual([
      ['declared', 'resumed-moving'], // From its journal, where two have signed.
      ['approving', 'approved'],
      ['approving', 'broke-glass'],
    ]);
    expect(transition('verifying', 'abort-asked')).toBeNull();
  });
  it('never begin anew what a journal says has ended', () => {
    for (const end of endPhases.filter(isEnd)) expect(transition('declared', `resumed-${end}`)?.to).toBe(end);
  });
  it('lead from everywhere to an end', () => {
    for (const { from } of transitions) {
      const seen = new Set([from]);
      for (const phase of seen) for (const t of transitions) if (t.from === phase) seen.add(t.to);
      expect([...seen].some((p) => endPhases.includes(p))).toBe(true);
    }
  });
  it('give one answer to one event', () => {
    const keys = transitions.map((t) => `${t.from} ${t.on}`);
    expect(new Set(keys).size).toBe(keys.length);
  });
});

describe('the clocks', () => {
  it('ring at 50, 80, 95 and 100 % of target and promise, counted from the disruption', () => {
    const rung = alarms(0, HOUR / 2, 24 * HOUR);
    expect(rung.map((a) => a.atMs / HOUR)).toEqual([0.25, 0.4, 0.475, 0.5, 12, 19.2, 22.8, 24]);
    expect(rung.at(-1)?.text).toBe('the promised RTO of 24 h 00 min is over');
  });
  it('print durations as people say them', () => {
    expect([0, 1400, 59_400, 61_000, 7_500_000, 72 * HOUR].map(duration)).toEqual([
      '0.0 s',
      '1.4 s',
      '59 s',
      '1 min 1 s',
      '2 h 05 min',
      '3 d 0 h',
    ]);
  });
  it('refuse a cadence in which one failed run breaks the RPO', () => {
    expect(cadenceHolds(2 * HOUR, HOUR / 2, 8 * HOUR)).toBe(true);
    expect(cadenceHolds(8 * HOUR, HOUR / 2, 8 * HOUR)).toBe(false);
    expect(cadenceHolds(3.75 * HOUR, HOUR / 2, 8 * HOUR)).toBe(true);
    expect(cadenceHolds(3.76 * HOUR, HOUR / 2, 8 * HOUR)).toBe(false);
  });
  it('never make a recovery point younger than new', () => {
    expect(ageMs('2030-01-01T01:00:00.000Z', Date.parse('2030-01-01T00:00:00.000Z'))).toBe(0);
  });
});

describe('whose turn a test is', () => {
  const passed = { site: 'east', endedAt: '2029-03-10T02:10:00.000Z' };
  it('is not the turn of the site that passed the last one', () => {
    expect(whoseTurn('east', passed, Date.parse('2029-09-10T02:00:00.000Z'))).toMatchObject({ turn: false });
  });
  it('is the turn of the other, and of the first when there was none', () => {
    expect(whoseTurn('west', passed, Date.parse('2029-09-10T02:00:00.000Z'))).toMatchObject({ turn: true });
    expect(whoseTurn('east', null, 0)).toMatchObject({ turn: true });
  });
  it('is stood in for when eleven months are over', () => {
    expect(whoseTurn('east', passed, Date.parse('2030-03-10T02:00:00.000Z'))).toMatchObject({ turn: true });
  });
});

describe('digests and failures', () => {
  it('give the same bytes for the same decisions, in whatever order', () => {
    expect(canonicalJson({ b: [1, { d: null, c: 'x' }], a: undefined, A: true })).toBe(
      '{"A":true,"b":[1,{"c":"x","d":null}]}',
    );
    expect(canonicalJson({ x: 1, y: 2 })).toBe(canonicalJson({ y: 2, x: 1 }));
  });
  it('say in every case what to do, and are found through their wrappers', () => {
    for (const f of Object.values(failures)) expect(f.try.length).toBeGreaterThan(20);
    const wrapped = new Error('Activity task failed', {
      cause: failure('key-missing', 'contoso: key k2 is not in the ring'),
    });
    expect(failureKind(wrapped)).toBe('key-missing');
    expect(failureText(wrapped)).toBe('contoso: key k2 is not in the ring');
    expect(failure('key-missing', 'x').nonRetryable).toBe(true);
    expect(failure('vault-unreachable', 'x').nonRetryable).toBe(false);
  });
});
