import { describe, expect, it } from 'vitest';
import { applicable } from '../../workflows/model/applicable.ts';
import type { Step } from '../../workflows/model/plan.ts';

const step = (id: string, needs: string[], when?: Step['when']): Step => ({
  id,
  act: 'notify',
  needs,
  timeoutMs: 1000,
  attempts: 1,
  onFailure: 'hold',
  ...(when && { when }),
});
const steps = [
  step('epoch', []),
  step('fence', ['epoch']),
  step('archive', ['fence'], 'content-archiving'),
  step('index', ['archive', 'epoch'], 'content-archiving'),
  step('serve', ['index', 'epoch']),
];
const order = (options: string[]): Record<string, string[]> =>
  Object.fromEntries(applicable(steps, options).steps.map(({ id, needs }) => [id, needs]));

describe('steps for an option', () => {
  it('are left out for a customer who did not buy it, and no order with them', () => {
    expect(order([])).toEqual({ epoch: [], fence: ['epoch'], serve: ['fence', 'epoch'] });
    expect(applicable(steps, ['public-im']).leftOut).toEqual([
      { id: 'archive', when: 'content-archiving' },
      { id: 'index', when: 'content-archiving' },
    ]);
  });

  it('are left out when one of several conditions does not hold, and that one is named', () => {
    const both = [step('epoch', []), step('probe', ['epoch'], ['service-probes', 'content-archiving'])];
    expect(applicable(both, ['service-probes']).leftOut).toEqual([{ id: 'probe', when: 'content-archiving' }]);
    expect(applicable(both, ['content-archiving', 'service-probes'])).toEqual({ steps: both });
  });

  it('stand for one who did', () => {
    expect(applicable(steps, ['content-archiving'])).toEqual({ steps });
  });
});
