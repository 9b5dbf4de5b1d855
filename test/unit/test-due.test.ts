import { describe, expect, it } from 'vitest';
import { testNews } from '../../workflows/model/test-news.ts';
import { knowing, toTell } from '../../workflows/model/watch-news.ts';
import type { TestReceipt } from '../../workflows/model/continuity.ts';
import {
  blackoutAt,
  monthsAfter,
  newestPassed,
  putOff,
  testDay,
  testStanding,
} from '../../workflows/model/test-due.ts';

const receipt = (change: Partial<TestReceipt>): TestReceipt => ({
  format: 1,
  customer: 'contoso',
  kind: 'isolated',
  site: 'east',
  run: 'r',
  outcome: 'passed',
  snapshot: null,
  point: null,
  startedAt: '2027-03-10T02:00:00.000Z',
  endedAt: '2027-03-10T02:04:00.000Z',
  counts: { users: 0, contacts: 0, groups: 0, lists: 0, aclItems: 0, defaults: 0 },
  mismatches: 0,
  because: '',
  notTested: [],
  ...change,
});
const december = { from: '2027-12-15T00:00:00.000Z', to: '2028-01-07T00:00:00.000Z', because: 'year end' };
const founded = '2026-06-01T00:00:00.000Z';
const at = Date.parse;
const standing = (receipts: TestReceipt[], now: string, agreed: Parameters<typeof testStanding>[1] = {}) =>
  testStanding(receipts, agreed, { founded, now: at(now) });

describe('a due date is never moved', () => {
  it.each(['failed', 'aborted', 'superseded'] as const)('by a test that %s', (outcome) => {
    const later = receipt({ outcome, endedAt: '2027-09-01T00:00:00.000Z' });
    expect(standing([receipt({}), later], '2027-10-01T00:00:00Z').due).toBe('2028-03-10T02:04:00.000Z');
  });

  it('by a tabletop, or by an isolated test where the customer has agreed to count live ones only', () => {
    const paper = receipt({ kind: 'tabletop', endedAt: '2027-09-01T00:00:00.000Z' });
    expect(newestPassed([paper])).toBeNull();
    expect(newestPassed([receipt({}), paper], 'live')).toBeNull();
    expect(newestPassed([receipt({ kind: 'live' })], 'isolated')?.kind).toBe('live');
  });
});

describe('the yearly test', () => {
  it('is due twelve months after the last that passed, and overdue from that moment on', () => {
    expect(standing([receipt({})], '2028-03-10T02:03:59Z')).toMatchObject({ state: 'in-time' });
    expect(standing([receipt({})], '2028-03-10T02:04:00Z')).toMatchObject({ state: 'overdue' });
  });

  it('is due a year after the customer was first prepared, when none has passed; unknown when that is not known', () => {
    expect(standing([], '2027-06-01T00:00:00Z')).toMatchObject({ state: 'overdue', due: '2027-06-01T00:00:00.000Z' });
    expect(testStanding([], {}, { founded: null, now: 0 })).toMatchObject({ state: 'unknown', due: null });
  });

  it('is told a month before where live ones count, for no schedule starts one', () => {
    const last = receipt({ kind: 'live' });
    const [before, then] = ['2028-02-10T02:03:59Z', '2028-02-10T02:04:00Z'];
    expect(standing([last], before, { counts: 'live' }).state).toBe('in-time');
    const soon = standing([last], then, { counts: 'live' });
    expect(soon).toMatchObject({ state: 'soon', due: '2028-03-10T02:04:00.000Z' });
    expect(standing([last], then).state).toBe('in-time');
    expect(testNews('contoso', 'west', soon)).toMatchObject({
      severity: 'info',
      text: expect.stringContaining('Next: tandem test start --customer contoso --site west --kind live') as string,
    });
  });

  it('is said to be late while a blackout holds until after it is due', () => {
    const last = receipt({ endedAt: '2026-12-28T00:00:00.000Z' });
    const blackouts = [december];
    expect(standing([last], '2027-12-14T23:59:59Z', { blackouts }).state).toBe('in-time');
    expect(standing([last], '2027-12-15T00:00:00Z', { blackouts }).state).toBe('late');
    expect(standing([last], '2027-12-28T00:00:00Z', { blackouts }).state).toBe('overdue');
  });
});

describe('blackouts', () => {
  it('hold from their begin until just before their end', () => {
    expect(blackoutAt([december], at(december.from) - 1)).toBeNull();
    expect(blackoutAt([december], at(december.from))).toBe(december);
    expect(blackoutAt([december], at(december.to))).toBeNull();
  });

  it('put a test off to the end of the last of those that follow one another', () => {
    const next = { from: '2028-01-06T00:00:00.000Z', to: '2028-01-20T00:00:00.000Z', because: 'merger' };
    expect(putOff([december, next], at('2027-12-20T00:00:00Z'))).toMatchObject({ until: next.to });
    expect(putOff([december], at('2028-02-01T00:00:00Z'))).toBeNull();
  });
});

describe('the day of a schedule', () => {
  const agreed = { month: 3, day: 10, hour: 2 };
  it('is as configured until a test has passed, half a year apart', () => {
    expect(testDay(agreed, { first: true }, null, 'east')).toEqual(agreed);
    expect(testDay(agreed, { first: false }, null, 'west')).toEqual({ ...agreed, month: 9 });
  });

  it('is six months after the last passed one for the other site, eleven for the same, at the configured hour', () => {
    const passed = receipt({ endedAt: '2027-08-31T14:00:00.000Z' });
    expect(testDay(agreed, { first: true }, passed, 'east')).toEqual({ month: 7, day: 28, hour: 2 });
    expect(testDay(agreed, { first: false }, passed, 'west')).toEqual({ month: 2, day: 28, hour: 2 });
  });

  it('counts months as people do', () => {
    expect(monthsAfter('2027-08-31T14:00:00.000Z', 6)).toBe('2028-02-29T14:00:00.000Z');
    expect(monthsAfter('2028-02-29T00:00:00.000Z', 12)).toBe('2029-02-28T00:00:00.000Z');
  });
});

describe('whoever is on duty', () => {
  const news = (now: string, last = '2027-03-10T02:04:00.000Z') =>
    testNews('contoso', 'west', standing([receipt({ endedAt: last })], now));

  it('hears once that a test is overdue, once that one has passed, and again a year later', () => {
    const late = news('2028-03-11T00:00:00Z');
    expect(toTell({}, [news('2028-03-10T00:00:00Z')])).toEqual([]);
    expect(toTell({}, [late])).toEqual([late]);
    const told = knowing({}, [late]);
    expect(toTell(told, [news('2028-05-01T00:00:00Z')])).toEqual([]);
    const held = news('2028-05-02T00:00:00Z', '2028-05-01T02:00:00.000Z');
    expect(toTell(told, [held])).toMatchObject([{ severity: 'info' }]);
    expect(toTell(knowing(told, [held]), [news('2029-05-02T00:00:00Z', '2028-05-01T02:00:00.000Z')])).toHaveLength(1);
  });
});
