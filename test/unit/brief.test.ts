import { describe, expect, it } from 'vitest';
import { brief } from '../../ops/cli/failover-brief.ts';
import type { FailoverStatus, StepReport } from '../../workflows/model/moves.ts';

const lost = '2030-01-01T02:00:00.000Z';
const HOUR = 3_600_000;
const step = (id: string, state: StepReport['state'], summary = ''): StepReport => ({
  id,
  act: 'probe',
  state,
  round: 0,
  startedAt: null,
  heldAt: null,
  endedAt: null,
  summary,
  facts: {},
});
const status = {
  customer: 'contoso',
  move: 'm1',
  from: 'east',
  to: 'west',
  phase: 'moving',
  because: 'two operators agreed',
  waitsFor: 'an operator',
  declaredAt: lost,
  disruptedAt: lost,
  owner: null,
  paused: null,
  motions: [],
  next: null,
  approvals: [{ operator: 'operator-1', expiresAt: lost }],
  steps: [step('epoch', 'done', 'epoch 2'), step('contacts', 'held', 'no table'), step('serve', 'waiting')],
  notes: [{ by: 'operator-2', at: lost, text: 'the hall is cordoned off' }],
  alarms: [],
  unsent: [],
  plan: {
    rtoMs: 24 * HOUR,
    blockers: [],
    source: { point: '2030-01-01T00:30:00.000Z' },
    decisions: { users: 10_000, epoch: 2, isolation: { statement: 'breaker open' } },
  },
} as unknown as FailoverStatus;
const text = (change: Partial<FailoverStatus> = {}, hours = 1): string =>
  brief({ ...status, ...change }, Date.parse(lost) + hours * HOUR).join('\n');

describe('a brief for the next shift', () => {
  it('leaves out nothing that is held, done or to come, nor what was noted', () => {
    expect(text()).toContain('Behind us:\n  epoch (probe): epoch 2');
    expect(text()).toContain('Held:\n  contacts (probe): no table');
    expect(text()).toContain('To come:\n  serve (probe)');
    expect(text()).toContain('Note of operator-2, 2030-01-01T02:00:00.000Z: the hall is cordoned off');
    expect(text()).toContain('changes of the last 1 h 30 min before the loss are gone');
  });

  it('says how much of the promise is left, and loudly that none is', () => {
    expect(text()).toContain('23 h 00 min of the promised RTO are left.');
    expect(text({}, 25)).toContain('THE PROMISED RTO IS OVER since 1 h 00 min.');
  });

  it('says whose it is, or that it is nobody’s', () => {
    expect(text()).toContain('Nobody has taken it in hand');
    expect(text({ owner: 'operator-2' })).toContain('In the hands of operator-2.');
  });

  it('can be made before there is a plan', () => {
    expect(text({ plan: null, steps: [], to: null })).toContain('Waits for an operator.');
  });
});
