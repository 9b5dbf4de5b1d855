import { living } from '../model/approvals.ts';
import { countsAt } from '../model/break-glass.ts';
import type { FailoverStatus } from '../model/moves.ts';
import { serviceClocks } from '../model/service-clocks.ts';
import { nextCommand, waitsFor } from './details.ts';
import { clockFrom } from './pace.ts';
import type { Run } from './run.ts';

const iso = (ms: number): string => new Date(ms).toISOString();
const isoOrNull = (ms: number | null): string | null => (ms === null ? null : iso(ms));

/** What a run says of itself to whoever asks. */
export function statusOf(run: Run): FailoverStatus {
  const { plan, phase, because, steps, alarms: rung, move, declaredAt, disruptedAt } = run;
  const { customer, from, half } = run.input;
  const approvals = living(run.approvals, Date.now()).map((a) => ({
    operator: a.operator,
    expiresAt: iso(a.expiresAt),
  }));
  const to = plan?.decisions.to ?? run.input.to ?? null;
  const lost = run.workflow === 'failover';
  const shown = {
    ...(!lost && { kind: run.name, half: half ?? '' }),
    customer,
    move,
    from,
    to,
    phase,
    because,
    declaredAt,
    disruptedAt,
    plan,
    approvals,
    breakGlass: run.breakGlass && { ...run.breakGlass, countsAt: isoOrNull(countsAt(run.breakGlass)) },
    steps,
    pace: run.pace ?? null,
    services: plan && lost ? serviceClocks(plan.decisions.steps, steps, clockFrom(run)) : [],
    motions: run.motions,
    owner: run.owner,
    paused: run.paused,
    turnBack: run.turnBack,
    notes: run.notes,
    alarms: rung,
    notSealed: run.notSealed,
    unsent: run.pages.unsent,
  };
  return { ...shown, waitsFor: waitsFor(shown), next: nextCommand(shown) };
}
