import type { FailoverStatus, MoveName, StepReport } from '../../workflows/model/moves.ts';
import type { Standing } from '../../workflows/model/watch-news.ts';
import { unwatched, type Watch } from '../../workflows/model/watch.ts';
import { nextCommand, waitsFor } from '../../workflows/move/details.ts';

/** Moves of customer x between east and west, in all that they may wait for. */

export const kinds = ['failover', 'relocate', 'failback'] as const satisfies readonly MoveName[];

const AT = '2030-01-01T02:00:00.000Z';
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

const planned = { half: 'east', keeps: ['west'], servedAt: ['west'], reconcile: null };
const plan = {
  digest: 'd1',
  rtoMs: 86_400_000,
  targetRtoMs: 1_800_000,
  rpoMs: 28_800_000,
  blockers: [],
  notTaken: [],
  source: { from: 'own-vault', snapshot: { seq: 1 }, point: AT, applied: true },
  undelivered: { messages: 3, users: 2, at: AT },
  decideBy: { target: AT, promise: AT },
  forecast: { ms: 1000, p75Ms: 2000, steps: [], waits: [] },
  decisions: {
    customer: 'x',
    from: 'east',
    to: 'west',
    users: 10,
    epoch: 2,
    recoveryPoint: AT,
    disruptedAt: AT,
    approvalsNeeded: 2,
    approvers: [
      { id: 'al', key: 'al', roles: ['approve'] },
      { id: 'bo', key: 'bo', roles: ['commander'] },
    ],
    steps: [],
    isolation: { verdict: 'unknown', statement: 'breaker open', observers: [] },
  },
};
const blockers = { blockers: [{ kind: 'destination-unready', text: 'west: its vault does not answer' }] };

/** A change may need to know of which kind the move is. */
type Change = (kind: MoveName) => object;

const ofPlan =
  (change: object): Change =>
  (kind) => ({ plan: { ...planOf(kind), ...change } });

export const situations: Record<string, Change> = {
  declared: () => ({ phase: 'declared', plan: null }),
  planning: () => ({ phase: 'planning', plan: null }),
  toSign: () => ({}),
  toSignWithAcceptances: (kind) => ({
    plan: {
      ...planOf(kind),
      decisions: {
        ...planOf(kind).decisions,
        ...(kind === 'failover' && { acceptances: ['data-loss 9h00', 'source-is-serving'] }),
      },
    },
  }),
  halfSigned: () => ({ approvals: [{ operator: 'al', expiresAt: AT }] }),
  blocked: ofPlan(blockers),
  walks: () => ({ phase: 'moving', steps: [step('epoch', 'advance-epoch', 'running')] }),
  stuck: () => ({
    phase: 'moving',
    steps: (['advance-epoch', 'salvage-contacts', 'take-snapshot', 'drain-sessions', 'run-command'] as const).map(
      (act) => ({ ...step(act, act, 'running'), stuckAt: AT }),
    ),
  }),
  held: () => ({ phase: 'moving', steps: [step('serve', 'serve-users', 'held', 'it did not answer')] }),
  waits: () => ({ phase: 'verifying', steps: [step('desk', 'wait-for-operator', 'held', 'call the desk')] }),
  halfAnswered: () => ({
    phase: 'moving',
    steps: [step('serve', 'serve-users', 'held', 'no')],
    motions: [{ step: 'serve', round: 0, answer: 'skip', operators: ['al'], because: 'b' }],
  }),
  paused: () => ({ phase: 'moving', paused: { by: 'al', at: AT, because: 'lunch' } }),
  turningBack: () => ({
    phase: 'turning-back',
    turnBack: { operators: ['al', 'bo'], because: 'b' },
    steps: [step('turn-back', 'open-site', 'held', 'no')],
  }),
  ended: () => ({ phase: 'closed' }),
  endedWithGaps: () => ({ phase: 'closed-with-gaps' }),
  aborted: () => ({ phase: 'aborted', steps: [step('epoch', 'advance-epoch', 'waiting')] }),
  turnedBack: () => ({ phase: 'turned-back' }),
  superseded: () => ({ phase: 'superseded' }),
  notSealed: () => ({ phase: 'closed', notSealed: 'the vault is away' }),
};

const planOf = (kind: MoveName): typeof plan => ({
  ...plan,
  decisions: { ...plan.decisions, ...(kind !== 'failover' && { planned }) },
});

/** As a run would tell it. */
export function statusAt(
  kind: MoveName,
  change: Change = () => ({}),
  because = 'two operators agreed',
): FailoverStatus {
  const shown = {
    ...(kind !== 'failover' && { kind, half: 'east' }),
    customer: 'x',
    move: 'm1',
    from: 'east',
    to: 'west',
    phase: 'approving',
    because,
    declaredAt: AT,
    disruptedAt: AT,
    plan: planOf(kind),
    approvals: [],
    breakGlass: null,
    steps: [],
    pace: null,
    services: [],
    motions: [],
    owner: null,
    paused: null,
    turnBack: null,
    notes: [],
    alarms: [],
    notSealed: null,
    unsent: [],
    ...change(kind),
  } as unknown as FailoverStatus;
  return { ...shown, waitsFor: waitsFor(shown), next: nextCommand(shown) };
}

export const watchStanding = (watch: Partial<Watch>, change: Partial<Standing> = {}): Standing => ({
  customer: 'x',
  site: 'west',
  peer: 'east',
  watch: { ...unwatched, since: AT, ...watch },
  observers: [{ name: 'database', saw: 'unreachable' }],
  because: {},
  peerServes: true,
  peerHalves: ['east', 'west'],
  health: { database: { ill: true, since: AT, because: 'silent', against: 0 } },
  closedBy: { number: 7, site: 'east', move: 'm', at: AT, serviceClosedAt: null },
  fork: null,
  ...change,
});
