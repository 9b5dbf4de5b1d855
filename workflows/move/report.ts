import type { FailoverReport, ServiceClock, StepReport } from '../model/moves.ts';
import type { ApplyCounts } from '../model/snapshots.ts';
import { agreed } from '../model/approvals.ts';
import type { Plan } from '../model/plan.ts';
import type { BreakGlass, BrokenGlass } from '../model/break-glass.ts';
import { serviceClocks } from '../model/service-clocks.ts';
import { undeliveredLines } from '../model/plan-lines.ts';
import { clockFrom } from './pace.ts';
import type { Run } from './run.ts';

export type Outcome = FailoverReport['outcome'];

/** Said in every report, so that nobody takes silence for success. */
const NOT_TESTED = [
  'message archives and uploaded files of the lost site: they are not copied',
  'shared rosters, private storage and vCards: they are in no snapshot',
];

/** Of a planned move: the site that they leave is there, and so is what it keeps. */
const staysBehind = (archiveBrought: boolean): string[] => [
  `${archiveBrought ? '' : 'message archives and '}uploaded files: they stay where they were written`,
  'shared rosters, private storage and vCards: they are in no snapshot',
];

const NO_CLIENT = 'sign-in of users at the survivor: the service itself is not probed, its database is';
const NO_VAULT = 'rows against the records of a vault: none was read, the ledger of the standby copy was believed';

/** The evidence as far as the run knows it; the journal's head is added where the journal is. */
export function report(run: Run, outcome: Outcome): Omit<FailoverReport, 'journalHead'> {
  const { decisions, digest, source, rtoMs } = run.plan ?? { decisions: null, digest: null, source: null, rtoMs: null };
  const done = (act: StepReport['act']): StepReport | undefined =>
    run.steps.find((s) => s.act === act && s.state === 'done');
  const disruptedAt = Date.parse(run.disruptedAt);
  const told = done('restore-contacts')?.facts['from'];
  // What the restore took, which is not the plan's first choice when that failed.
  const from = told === 'source-vault' || told === 'own-vault' || told === 'standby-copy' ? told : null;
  const lost = run.workflow === 'failover';
  // Of users who were served before, nobody may have been restored.
  const restores = lost && decisions?.again?.base !== null;
  const services = decisions && lost ? serviceClocks(decisions.steps, run.steps, clockFrom(run)) : [];
  const mismatches = run.steps.find((s) => s.act === 'probe' && 'mismatches' in s.facts)?.facts['mismatches'];
  const clients = services.some(({ service, stoppedAt }) => service !== 'contacts' && stoppedAt !== null);
  return {
    format: 1,
    ...(run.workflow === 'relocate' && { kind: run.name, unreachableMs: unreachableMs(run) }),
    customer: run.input.customer,
    move: run.move,
    from: run.input.from,
    to: decisions?.to ?? '',
    epoch: done('advance-epoch') ? (decisions?.epoch ?? null) : null,
    outcome,
    reason: run.input.reason,
    requestedBy: run.input.requestedBy,
    declaredAt: run.declaredAt,
    disruptedAt: run.disruptedAt,
    ...(lost && run.plan?.clock && { clock: run.plan.clock }),
    approvedAt: run.approvedAt,
    servedAt: servedAt(done('serve-users')),
    endedAt: new Date(Date.now()).toISOString(),
    planDigest: digest,
    approvals: run.approvals.map((a) => ({ operator: a.operator, at: new Date(a.receivedAt).toISOString() })),
    ...(run.breakGlass && { breakGlass: brokenGlass(run, run.breakGlass) }),
    recoveryPoint: restores ? (source?.point ?? null) : null,
    recoveryPointAgeMs: source && restores ? Math.max(0, disruptedAt - Date.parse(source.point)) : null,
    rtoMs: slowest(
      services.filter(({ step }) => !run.plan?.decisions.steps.some((s) => s.id === step && s.outsideRto)),
    ),
    rtoPromiseMs: lost ? rtoMs : null,
    services,
    source: from,
    steps: run.steps,
    restored: restores ? ((done('restore-contacts')?.facts as ApplyCounts | undefined) ?? null) : null,
    mismatches: typeof mismatches === 'number' ? mismatches : null,
    notes: run.notes,
    alarms: run.alarms,
    notTested: [
      ...(lost ? notTested(clients, from) : staysBehind(done('reconcile-archive') !== undefined)),
      ...(run.plan ? waiting(run.plan) : []),
    ],
  };
}

/** Messages that nobody has got; that there are none is nothing that is left open. */
const waiting = (plan: Plan): string[] => (plan.undelivered?.messages === 0 ? [] : undeliveredLines(plan));

const notTested = (clients: boolean, from: FailoverReport['source']): string[] => [
  ...(clients ? [] : [NO_CLIENT]),
  ...NOT_TESTED,
  ...(from === 'standby-copy' ? [NO_VAULT] : []),
];

/** From the moment on at which the draining began to the one at which the destination had them: no shorter than it was. */
function unreachableMs({ steps }: Run): number | null {
  const of = (act: StepReport['act']): StepReport | undefined => steps.find((s) => s.act === act && s.state === 'done');
  const [drained, served] = [of('drain-sessions')?.since, of('serve-users')?.endedAt];
  return drained && served ? Date.parse(served) - Date.parse(drained) : null;
}

/** The service is back when every one that was looked at is; null when one of them is not, or none was looked at. */
function slowest(services: readonly ServiceClock[]): number | null {
  const times = services.map(({ rtoMs }) => rtoMs);
  return times.length === 0 || times.includes(null) ? null : Math.max(...times.map((ms) => ms ?? 0));
}

function brokenGlass(run: Run, { operator, because, sent, stoppedBy, pagedAt }: BreakGlass): BrokenGlass {
  const needed = run.plan?.decisions.approvalsNeeded ?? 2;
  const counted = run.approvedAt !== null && !agreed(run.approvals, needed, Date.parse(run.approvedAt));
  const at = pagedAt === null ? null : new Date(pagedAt).toISOString();
  return { operator, because, sent, stoppedBy, pagedAt: at, counted };
}

/** The moment of the database's own commit, when the step tells it. */
function servedAt(step: StepReport | undefined): string | null {
  const told = step?.facts['servedAt'];
  return typeof told === 'string' ? told : (step?.endedAt ?? null);
}
