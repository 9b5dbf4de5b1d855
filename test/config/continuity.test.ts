import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { continuityOf } from '../../ops/config/continuity.ts';
import { Source } from '../../runbooks/yaml.ts';

/** What `customers.CUSTOMER.continuity-test` takes, and what it refuses. */

function read(test: unknown): { told: string; agreed: ReturnType<typeof continuityOf> } {
  const source = new Source('tandem.yaml', stringify({ test }));
  const agreed = continuityOf(source.root.fields(['test']).test);
  return { agreed, told: source.faults.map((f) => `${f.at} ${f.path}: ${f.text}`).join('\n') };
}
const blackout = { from: '2027-12-15', to: '2028-01-06', because: 'year end' };
const one = (change: object) => ({ blackouts: [{ ...blackout, ...change }] });

describe('a continuity test is refused', () => {
  it.each<[string, unknown, RegExp]>([
    ['when a tabletop is to count', { counts: 'tabletop' }, /counts: "tabletop"; allowed: isolated, live/],
    ['when a blackout has no reason', one({ because: ' ' }), /blackouts.0.because: .* whoever starts a test reads it/],
    ['when one begins on a day that no calendar has', one({ from: '2027-11-31' }), /0.from: .*a day such as/],
    ['when one ends before it begins', one({ to: '2027-12-14' }), /0.to: .* it ends after it begins/],
    ['when one is so long that tests are always late', one({ to: '2028-03-01' }), /at most 60 days are allowed/],
    ['when a key is misspelt', { blackout: [] }, /did you mean blackouts/],
  ])('%s', (_, test, told) => {
    expect(read(test).told).toMatch(told);
  });

  it('with all of its faults at once, each with its line', () => {
    const { told } = read({ counts: 'x', ...one({ from: 'soon', because: '' }) });
    expect(told.split('\n').map((line) => line.split(':')[1])).toEqual(['2', '4', '6']);
  });
});

describe('a continuity test is taken', () => {
  it('with isolated ones counting and no blackouts, when nothing is said', () => {
    expect(read(undefined)).toEqual({
      told: '',
      agreed: { month: 3, day: 10, hour: 2, counts: 'isolated', blackouts: [] },
    });
  });

  it('with days whole, and times as they stand', () => {
    expect(read(one({})).agreed.blackouts).toEqual([
      { from: '2027-12-15T00:00:00.000Z', to: '2028-01-07T00:00:00.000Z', because: 'year end' },
    ]);
    expect(read(one({ from: '2027-12-15T18:00Z', to: '2028-01-06T06:30Z' })).agreed.blackouts).toMatchObject([
      { from: '2027-12-15T18:00:00.000Z', to: '2028-01-06T06:30:00.000Z' },
    ]);
  });
});
