import { describe, expect, it } from 'vitest';
import { acceptancesOf, withoutDrift, type World } from '../../workflows/model/acceptances.ts';
import type { Capacity, Decisions, Plan } from '../../workflows/model/plan.ts';
import { readout } from '../../workflows/model/readout.ts';

const HOUR = 3_600_000;
const nothing: Capacity = {
  served: null,
  moves: 10_000,
  users: null,
  trafficBytesPerSecond: null,
  linkBytesPerSecond: null,
};
const world = (change: Partial<World> = {}): World => ({
  from: 'east',
  to: 'west',
  half: 'east',
  acceptedLossMs: null,
  rpoMs: 8 * HOUR,
  servingSeenBy: null,
  again: null,
  ownUnserved: 0,
  capacity: nothing,
  unproven: [],
  ...change,
});
const names = (change: Partial<World>): string[] => acceptancesOf(world(change)).map((a) => a.name);

describe('what must be accepted by name', () => {
  it('is nothing where all is as promised, or where nobody has said what a site can carry', () => {
    expect(names({})).toEqual([]);
    expect(names({ capacity: { ...nothing, served: 99_999 } })).toEqual([]);
    expect(names({ capacity: { ...nothing, users: 1 } })).toEqual([]);
    expect(names({ capacity: { ...nothing, trafficBytesPerSecond: 9e9 } })).toEqual([]);
  });

  it('is each shortfall, never rounded in anybody’s favour', () => {
    expect(names({ acceptedLossMs: 20 * HOUR + 11 * 60_000 + 1 })).toEqual(['data-loss 20h12m']);
    expect(names({ acceptedLossMs: 59.5 * 60_000 })).toEqual(['data-loss 1h0m']);
    expect(names({ servingSeenBy: 'database' })).toEqual(['source-is-serving']);
    const since = '2026-03-01T12:00:00.000Z';
    const snapshot = { customer: 'contoso', site: 'east', gen: 1, seq: 7 };
    const again = { since, base: { snapshot, manifest: 'f', from: 'own-vault' as const } };
    expect(names({ again })).toEqual(['another-recovery-point']);
    expect(names({ again: { since, base: null } })).toEqual([]);
    expect(names({ ownUnserved: 2 })).toEqual(['own-users-unserved']);
    expect(names({ unproven: ['client port: refused'] })).toEqual(['survivor-unproven']);
    const full = { ...nothing, served: 10_001, users: 20_000, trafficBytesPerSecond: 3e8, linkBytesPerSecond: 2e8 };
    expect(names({ capacity: full })).toEqual(['over-capacity 101%', 'over-link 150%']);
    expect(acceptancesOf(world({ capacity: full }))[1]?.because).toContain(
      'carries 200 MB/s and would have to carry 300 MB/s',
    );
  });
});

const point = '2030-01-01T00:00:00.000Z';
const signed: Decisions = {
  format: 1,
  kind: 'failover',
  customer: 'contoso',
  from: 'east',
  to: 'west',
  epoch: 2,
  disruptedAt: '2030-01-01T10:00:00.000Z',
  runbook: { name: 'Site lost', digest: 'd' },
  steps: [],
  isolation: { verdict: 'unknown', observers: [{ name: 'vault', saw: 'unreachable' }], statement: 'cut' },
  recoveryPoint: point,
  acceptedLossMs: 10 * HOUR,
  acceptances: ['data-loss 10h0m', 'over-capacity 120%'],
  users: 10_000,
  approvers: [],
  approvalsNeeded: 2,
};
const drift = (change: Partial<Decisions>): boolean => withoutDrift(signed, { ...signed, ...change }) === signed;
const isolation = (saw: 'closed' | 'answers' | 'unreachable' | 'serving'): Decisions['isolation'] => ({
  ...signed.isolation,
  observers: [{ name: 'vault', saw }],
});

describe('what was signed stands never', () => {
  it('when the loss grew, by however little', () => {
    expect(drift({ recoveryPoint: '2029-12-31T23:59:59.999Z', acceptedLossMs: 10 * HOUR + 1 })).toBe(false);
    expect(drift({ acceptances: ['data-loss 10h1m', 'over-capacity 120%'] })).toBe(false);
  });

  it('when something else is to be accepted, or markedly more of the same', () => {
    expect(drift({ acceptances: [...(signed.acceptances ?? []), 'over-link 110%'] })).toBe(false);
    expect(drift({ acceptances: ['data-loss 10h0m', 'over-capacity 122%'] })).toBe(false);
  });

  it('when over 1 % of the users came or went, also in small steps', () => {
    expect(drift({ users: 10_101 })).toBe(false);
    expect(drift({ users: 9899 })).toBe(false);
    let kept = signed;
    for (const users of [10_060, 10_100, 10_160]) kept = withoutDrift(kept, { ...signed, users });
    expect(kept.users).toBe(10_160); // Not within 1 % of what was signed, though of the last look.
  });

  it('when the lost site answers again, serves, or another step, epoch, operator or statement is in it', () => {
    expect(drift({ isolation: isolation('answers') })).toBe(false);
    expect(drift({ isolation: { ...isolation('serving'), verdict: 'serving' } })).toBe(false);
    expect(drift({ isolation: { ...signed.isolation, statement: 'cut, again' } })).toBe(false);
    expect(drift({ epoch: 3 })).toBe(false);
    expect(drift({ approvers: [{ id: 'al', key: 'a1', roles: ['commander'] }] })).toBe(false);
  });
});

describe('what was signed stands', () => {
  it('while the world drifts: users within 1 %, a newer point, less to accept, a silent observer', () => {
    expect(drift({ users: 10_100 })).toBe(true);
    expect(drift({ users: 9900 })).toBe(true);
    const { acceptances: _, ...better } = {
      ...signed,
      recoveryPoint: '2030-01-01T09:00:00.000Z',
      acceptedLossMs: null,
    };
    expect(withoutDrift(signed, better)).toBe(signed);
    expect(drift({ acceptances: ['data-loss 10h0m', 'over-capacity 121%'] })).toBe(true);
    expect(drift({ isolation: isolation('closed') })).toBe(true);
  });
});

describe('a plan as people read it', () => {
  it('says who loses how much, what was tried, what is not known, and what must be accepted', () => {
    const source = {
      snapshot: { customer: 'contoso', site: 'east', gen: 1, seq: 7 },
      manifest: '',
      point,
      users: 10_233,
    };
    const plan: Plan = {
      decisions: signed,
      digest: '',
      source: { ...source, from: 'own-vault', applied: true },
      notTaken: [{ from: 'source-vault', because: 'no answer within 2 s' }],
      loss: { users: 10_233, ms: 6.2 * HOUR, withoutSnapshot: 13, quarantined: 2, exact: true },
      capacity: nothing,
      acceptances: [{ name: 'data-loss 10h0m', because: 'gone' }],
      rpoMs: 8 * HOUR,
      rtoMs: 24 * HOUR,
      targetRtoMs: HOUR / 2,
      decideBy: { target: '2030-01-01T10:20:00.000Z', promise: '2030-01-02T09:50:00.000Z' },
      blockers: [],
      madeAt: point,
    };
    const text = readout(plan).join('\n');
    expect(text).toContain('10,233 users lose at most 6 h 12 min of changes; 13 have no snapshot; 2 are quarantined.');
    expect(text).toContain('Not taken: source-vault: no answer within 2 s.');
    expect(text).toContain('Capacity of west: not known');
    expect(text).toContain('Sign by 2030-01-01 10:20 UTC for the target of 30 min 0 s');
    expect(text).toContain('TO BE ACCEPTED BY NAME: data-loss 10h0m: gone.');
    expect(readout(plan, 'moving').join('\n')).not.toContain('Sign by'); // It was.
  });

  it('can be read also when an older version made it', () => {
    const { loss: _, ...old } = { loss: null, decisions: signed } as unknown as Plan;
    const source = { snapshot: { seq: 1 }, from: 'own-vault', point } as Plan['source'];
    expect(readout({ ...old, source, notTaken: [], blockers: [] }).join('\n')).toContain('Source: own-vault');
  });
});
