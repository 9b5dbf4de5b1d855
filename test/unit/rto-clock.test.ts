import { describe, expect, it } from 'vitest';
import { rtoClock } from '../../workflows/model/clock.ts';

/** From when the RTO counts. Times of one hour. */

const at = (minute: number): string => new Date(Date.UTC(2030, 0, 1, 2, minute)).toISOString();
const from = (times: { told?: number; silent?: number }) =>
  rtoClock({
    declaredAt: at(30),
    disruptedAt: times.told === undefined ? null : at(times.told),
    silentSince: times.silent === undefined ? null : at(times.silent),
  });

describe('the RTO clock', () => {
  it('never counts from later than the first look that failed, whatever an operator says', () => {
    expect(from({ silent: 10, told: 20 })).toEqual({ from: at(10), by: 'client-probe' });
    expect(from({ silent: 10 })).toEqual({ from: at(10), by: 'client-probe' });
  });

  it('is moved earlier by one operator', () => {
    expect(from({ silent: 10, told: 5 })).toEqual({ from: at(5), by: 'operator' });
    expect(from({ told: 5 })).toEqual({ from: at(5), by: 'operator' });
  });

  it('counts from the declaration where nobody saw anything before', () => {
    expect(from({})).toEqual({ from: at(30), by: 'declaration' });
    expect(from({ silent: 31 })).toEqual({ from: at(30), by: 'declaration' });
    // Typed a moment after the clock of the run.
    expect(from({ told: 31 })).toEqual({ from: at(31), by: 'operator' });
  });
});
