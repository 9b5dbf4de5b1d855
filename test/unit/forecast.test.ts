import { describe, expect, it } from 'vitest';
import {
  endsAt,
  makeForecast,
  stuckAfterMs,
  timeKey,
  whereToLook,
  type StepTime,
} from '../../workflows/model/forecast.ts';
import { acts, type Act } from '../../workflows/model/acts.ts';
import type { StepReport } from '../../workflows/model/moves.ts';
import type { Step } from '../../workflows/model/plan.ts';
import { serviceClocks } from '../../workflows/model/service-clocks.ts';

const S = 1000;
const NOW = Date.parse('2030-01-01T02:00:00.000Z');
const at = (ms: number): string => new Date(NOW + ms).toISOString();
const step = (id: string, act: Act, needs: string[] = [], change: Partial<Step> = {}): Step => ({
  id,
  act,
  needs,
  timeoutMs: 60 * S,
  attempts: 1,
  onFailure: 'hold',
  ...change,
});
const walk: Step[] = [
  step('epoch', 'advance-epoch'),
  step('fence', 'fence-site', ['epoch']),
  step('contacts', 'restore-contacts', ['epoch']),
  step('serve', 'serve-users', ['fence', 'contacts']),
  step('verify', 'probe', ['serve'], { service: 'contacts' }),
];
const times = (key: string, ms: number[], users = 1000): StepTime[] => ms.map((took) => ({ key, ms: took, users }));
const known: StepTime[] = [
  ...times('advance-epoch', [S]),
  ...times('fence-site', [5 * S]),
  ...times('restore-contacts', [20 * S]),
  ...times('serve-users', [S]),
  ...times('probe contacts', [10 * S]),
];
const report = (id: string, state: StepReport['state'], change: Partial<StepReport> = {}): StepReport => ({
  id,
  act: walk.find((s) => s.id === id)?.act ?? 'probe',
  state,
  round: 0,
  startedAt: null,
  heldAt: null,
  endedAt: null,
  summary: '',
  facts: {},
  ...change,
});

describe('a forecast never', () => {
  it('adds up steps that run at once, nor counts those outside the RTO', () => {
    expect(makeForecast(walk, 1000, known).ms).toBe(32 * S); // The fence is done while contacts are restored.
    const asked = step('partners', 'request-external-update', ['serve'], { outsideRto: true, timeoutMs: 1 });
    expect(makeForecast([...walk, asked], 1000, [...known, ...times(timeKey(asked), [3600 * S])]).ms).toBe(32 * S);
  });

  it('takes what people take for machine time, but says that they are waited for', () => {
    const ask = step('look', 'wait-for-operator', ['epoch']);
    const { ms, waits } = makeForecast([...walk, ask], 1000, [...known, ...times('wait-for-operator', [9e6])]);
    expect([ms, waits]).toEqual([32 * S, ['look']]);
  });

  it('takes a probe of one service for one of another, or a small move for a large one', () => {
    const other = step('im', 'probe', [], { service: 'instant-messaging' });
    expect(makeForecast([other], 1000, known).steps[0]?.basis).toBe('default');
    expect(makeForecast(walk, 20_000, known).steps.map((s) => s.ms)).toEqual([S, 5 * S, 400 * S, S, 200 * S]);
    // Below a thousand users the fixed part was measured, and must not be made out to grow.
    const tiny = times('restore-contacts', [S], 10);
    expect(makeForecast(walk, 2000, tiny).steps[2]?.ms).toBe(2 * S);
  });

  it('runs for ever in a circle of steps', () => {
    expect(makeForecast([step('a', 'notify', ['b']), step('b', 'notify', ['a'])], 1, []).ms).toBeGreaterThan(0);
  });

  it('is without any time, and says what it is made of', () => {
    for (const act of acts.filter((a) => a !== 'wait-for-operator')) {
      const { ms, p75Ms, steps } = makeForecast([step('x', act)], 20_000, []);
      expect(ms).toBeGreaterThan(0);
      expect(p75Ms).toBeGreaterThanOrEqual(ms);
      expect(steps[0]?.basis).toBe('default');
      expect(whereToLook[act]).not.toBe('');
    }
  });

  it('remembers more than the last twenty, of which one in four may be slower', () => {
    const ms = Array.from({ length: 40 }, (_, i) => (i < 20 ? i + 1 : 1_000_000));
    const [one] = makeForecast([step('x', 'notify')], 1, times('notify', ms)).steps;
    expect(one).toEqual({ id: 'x', ms: 10, p75Ms: 15, basis: 'measured 20' });
  });
});

describe('a look ahead', () => {
  const forecast = makeForecast(walk, 1000, known);
  const through = (...reports: StepReport[]): number => endsAt(walk, reports, forecast, NOW) - NOW;
  const waiting = ['fence', 'contacts', 'serve', 'verify'].map((id) => report(id, 'waiting'));

  it('counts what is done as it ended, what runs from its begin, and never the past', () => {
    expect(through()).toBe(32 * S);
    expect(through(report('epoch', 'running', { since: at(-600) }), ...waiting)).toBe(31_400);
    expect(through(report('epoch', 'running', { since: at(-60 * S) }), ...waiting)).toBe(31 * S);
    const done = report('epoch', 'done', { endedAt: at(-5 * S) });
    const contacts = report('contacts', 'running', { since: at(-5 * S) });
    expect(through(done, report('fence', 'held'), contacts, report('serve', 'waiting'))).toBe(26 * S);
  });

  it('ends where the last step did', () => {
    const all = walk.map(({ id }) => report(id, 'done', { endedAt: at(-3 * S) }));
    expect(through(...all)).toBe(-3 * S);
  });
});

describe('a step is stuck', () => {
  it('only when it is past its p75 by half a minute, and never when people are waited for', () => {
    const forecast = makeForecast(walk, 1000, times('serve-users', [S, 2 * S, 3 * S, 4 * S]));
    expect(stuckAfterMs(step('serve', 'serve-users'), forecast)).toBe(33 * S);
    expect(stuckAfterMs(step('w', 'wait-for-operator'), forecast)).toBeNull();
    expect(stuckAfterMs(step('serve', 'serve-users'), undefined)).toBeNull();
  });
});

describe('the clock of a service', () => {
  it('stops at its own probe, and at nothing else', () => {
    const steps = [...walk, step('im', 'probe', ['serve'], { service: 'instant-messaging' })];
    const reports = [
      report('verify', 'done', { endedAt: at(60 * S) }),
      report('im', 'skipped', { endedAt: at(9 * S) }),
    ];
    expect(serviceClocks(steps, reports, at(0))).toEqual([
      { service: 'contacts', step: 'verify', stoppedAt: at(60 * S), rtoMs: 60 * S },
      { service: 'instant-messaging', step: 'im', stoppedAt: null, rtoMs: null },
    ]);
  });
});
