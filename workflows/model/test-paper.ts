import type { Act } from './acts.ts';
import type { Decisions, Forecast, Runbook, Step } from './plan.ts';
import type { Timestamp } from './snapshots.ts';

/** A failover walked on paper: who does what, how long it may take, and what people say they can do. */

export interface PaperStep {
  id: string;
  act: Act;
  by: 'machine' | 'operators';
  needs: string[];
  /** Of one attempt, ms. */
  limitMs: number;
  forecastMs: number | null;
  forecastP75Ms: number | null;
  /** How the forecast is known: measured, or by default. */
  basis: string | null;
  /** What happens when it fails for good. */
  onFailure: Step['onFailure'];
}

/** What people do, and not the machine. */
export interface HumanStep {
  id: string;
  what: string;
  confirmedBy: string | null;
  confirmedAt: Timestamp | null;
  note: string;
}

export const paperSteps = ({ steps }: Pick<Decisions, 'steps'>, forecast: Forecast | undefined): PaperStep[] =>
  steps.map(({ id, act, needs, timeoutMs, withinMs, onFailure }) => {
    const expected = forecast?.steps.find((s) => s.id === id);
    return {
      id,
      act,
      by: act === 'wait-for-operator' ? 'operators' : 'machine',
      needs,
      limitMs: withinMs ?? timeoutMs,
      forecastMs: expected?.ms ?? null,
      forecastP75Ms: expected?.p75Ms ?? null,
      basis: expected?.basis ?? null,
      onFailure,
    };
  });

const APPROVAL = 'approval-';
export const isApproval = (id: string): boolean => id.startsWith(APPROVAL);

/** What people walk through: the runbook of the test, the signatures of the failover, and its own steps that wait for somebody. */
export function humanSteps(
  test: Pick<Runbook, 'steps'>,
  failover: Pick<Decisions, 'steps' | 'approvalsNeeded'> | null,
): HumanStep[] {
  const open = (id: string, what: string): HumanStep => ({
    id,
    what,
    confirmedBy: null,
    confirmedAt: null,
    note: '',
  });
  const needed = failover?.approvalsNeeded ?? 0;
  return [
    ...test.steps.map((s) => open(s.id, s.message ?? s.id)),
    ...Array.from({ length: needed }, (_, i) =>
      open(
        `${APPROVAL}${i + 1}`,
        `Operator ${i + 1} of ${needed} has read the plan, and could sign it now; one of them is a commander`,
      ),
    ),
    ...(failover?.steps ?? [])
      .filter((s) => s.act === 'wait-for-operator')
      .map((s) => open(`failover-${s.id}`, s.message ?? s.id)),
  ];
}
