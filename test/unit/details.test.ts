import { describe, expect, it } from 'vitest';
import type { FailoverStatus, ServiceClock, StepReport } from '../../workflows/model/moves.ts';
import { details, nextCommand, waitsFor } from '../../workflows/move/details.ts';
import { pageText } from '../../workflows/move/page-text.ts';

const HOUR = 3_600_000;
const lost = '2030-01-01T02:00:00.000Z';
const step = (id: string, act: StepReport['act'], state: StepReport['state'], summary = ''): StepReport => ({
  id,
  act,
  state,
  round: 0,
  startedAt: null,
  heldAt: null,
  endedAt: null,
  summary,
  facts: {},
});
const approver = (id: string, ...roles: string[]): unknown => ({ id, key: id, roles });
const shown = {
  customer: 'contoso',
  from: 'east',
  to: 'west',
  phase: 'approving',
  because: 'the plan stands; two operators read and sign it',
  disruptedAt: lost,
  owner: null,
  paused: null,
  turnBack: null,
  breakGlass: null,
  motions: [],
  approvals: [],
  steps: [],
  notes: [],
  alarms: [],
  unsent: [],
  plan: {
    digest: 'd1',
    rtoMs: 24 * HOUR,
    targetRtoMs: HOUR / 2,
    rpoMs: 8 * HOUR,
    blockers: [],
    notTaken: [],
    source: { from: 'own-vault', snapshot: { seq: 1 }, point: lost, applied: true },
    decisions: {
      to: 'west',
      users: 10,
      epoch: 2,
      recoveryPoint: lost,
      disruptedAt: lost,
      approvalsNeeded: 2,
      approvers: [
        approver('al', 'approve'),
        approver('bo', 'approve', 'commander'),
        approver('watcher', 'declare', 'operate'),
      ],
      steps: [],
      isolation: { statement: 'breaker open', observers: [] },
    },
  },
} as unknown as FailoverStatus;
const at = (change: Partial<FailoverStatus>): FailoverStatus => {
  const s = { ...shown, ...change };
  return { ...s, waitsFor: waitsFor(s), next: nextCommand(s) };
};
/** What a page shows before anybody scrolls. */
const first = (s: FailoverStatus): string => details(s).split('\n').slice(0, 12).join('\n');

describe('the page of a move', () => {
  it('names nobody who may not sign, nor one who has', () => {
    expect(waitsFor(shown)).toBe('2 of 2 signatures, one of them a commander (may sign: al; bo, a commander)');
    const half = waitsFor({ ...shown, approvals: [{ operator: 'bo', expiresAt: '2030-01-01T03:00:00.000Z' }] });
    expect(half).toBe('1 of 2 signatures (signed: bo until 03:00 UTC; may sign: al)');
  });

  it('asks for the second word of a turn-back, for as long as it can be given', () => {
    const turnBack = { operators: ['al'], because: 'the work is put off' };
    const moving = { kind: 'relocate', phase: 'moving', turnBack } as const;
    const steps = (state: StepReport['state']) => [
      step('drain', 'drain-sessions', 'running'),
      step('serve', 'serve-users', state),
    ];
    expect(at({ ...moving, steps: steps('waiting') }).next).toMatch(
      /^tandem relocate turn-back .*--operator ID --key FILE --because TEXT$/,
    );
    expect(at({ ...moving, steps: steps('running') }).next).toBeNull();
    expect(at({ ...moving, turnBack: null, steps: steps('waiting') }).next).toBeNull();
  });

  it('of a planned move names the cohorts that go along, as its pages do', () => {
    const { plan } = shown;
    const decisions = {
      ...plan?.decisions,
      cohorts: ['east/pilot'],
      planned: { half: 'east', keeps: [], reconcile: null },
    };
    const s = at({ kind: 'relocate', half: 'east', plan: { ...plan, decisions } as unknown as FailoverStatus['plan'] });
    expect(first(s)).toMatch(/^### contoso: relocate: users of east and east\/pilot, from east to west/);
    expect(pageText(s, 'x')).toContain('Users of east and east/pilot are served at east');
  });

  it('tells phase, clock, what is held and what to do before all else, however much was noted', () => {
    const many = Array.from({ length: 40 }, (_, i) => ({ by: 'al', at: lost, text: `note ${i}` }));
    const page = first(
      at({
        phase: 'moving',
        because: 'two operators agreed',
        steps: [step('epoch', 'advance-epoch', 'done'), step('contacts', 'restore-contacts', 'held', 'no such column')],
        notes: many,
        alarms: many,
      }),
    );
    expect(page).toMatch(/^### contoso: east is lost — moving, HELD: contacts\n/);
    expect(page).toContain('Waits for an operator: step contacts is held: no such column');
    expect(page).toContain('**Next:** `tandem failover retry --customer contoso --site west --step contacts');
    expect(page).toContain('step contacts can be passed over (skip: the move then ends with gaps)');
    expect(page).toContain('two operators sign either');
    expect(page).toContain('target 2030-01-01 02:30 UTC (30 min 0 s); **promise 2030-01-02 02:00 UTC** (24 h 00 min)');
  });

  it('forecasts no end that has gone by: none while a step is held, and none of a move that has ended', () => {
    const pace = { endsAt: '2030-01-01T02:20:00.000Z', ms: 20 * 60_000 };
    const forecast = 'Forecast: through at 2030-01-01 02:20 UTC, 20 min 0 s after the loss';
    const runs = [step('epoch', 'advance-epoch', 'running')];
    const held = [step('contacts', 'restore-contacts', 'held')];
    expect(details(at({ phase: 'moving', steps: runs, pace }))).toContain(forecast);
    expect(details(at({ phase: 'moving', steps: held, pace }))).toContain('Forecast: none while contacts is held');
    expect(details(at({ phase: 'closed', steps: [], pace }))).not.toContain('Forecast');
  });

  it('asks one operator for a step that guards nobody, and for `done` alone where people are waited for', () => {
    const dns = step('dns', 'shift-dns', 'held', 'no answer');
    expect(first(at({ phase: 'moving', steps: [dns] }))).toContain('one operator signs either');
    const wait = step('desk', 'wait-for-operator', 'held', 'call the desk');
    const page = first(at({ phase: 'moving', steps: [wait] }));
    expect(page).toContain('**Next:** `tandem failover done');
    expect(page).not.toContain('In place of retry');
  });

  it('says nothing of services while people decide; afterwards below the steps, those that are away in one line', () => {
    const away = (service: string, id: string) => ({ service, step: id, stoppedAt: null, rtoMs: null });
    const back = { service: 'contacts', step: 'verify', stoppedAt: '2030-01-01T02:01:00.000Z', rtoMs: 60_000 };
    const services = [back, away('presence', 'presence'), away('archive', 'archiving')] as unknown as ServiceClock[];
    expect(details(at({ services }))).not.toMatch(/not back yet|back at/i);
    const page = details(at({ phase: 'verifying', services, steps: [step('presence', 'probe', 'running')] }));
    expect(page).toContain('Not back yet: presence (step presence), archive (step archiving).');
    expect(page).toContain('contacts: back at 2030-01-01 02:01 UTC, 1 min 0 s after the loss (step verify).');
    expect(page.indexOf('Not back yet')).toBeGreaterThan(page.indexOf('| `presence` |'));
  });

  it('says that nobody is asked for anything; of a move that has ended it says nothing', () => {
    const steps = [step('im', 'probe', 'running')];
    expect(first(at({ phase: 'verifying', steps }))).toContain('**Next:** nothing is asked of anybody now.');
    expect(details(at({ phase: 'closed', steps: [] }))).not.toContain('Next');
  });
});
