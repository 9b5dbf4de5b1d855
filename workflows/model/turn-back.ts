import { unstarted } from './moves.ts';
import type { Approver, Step } from './plan.ts';

/**
 * Back before the first user is served (DESIGN 4): two operators give the source its users back. It is the undo of the fence,
 * under a further epoch, so that nothing the failover still had under way can land after it.
 */
export interface TurnBack {
  operators: string[];
  /** What the last of them gave as his reason. */
  because: string;
}

const NEEDED = 2;

/** No step of a runbook: it stands in the run beside those of the plan, and is held, retried and answered as they are. */
export const turnBackStep: Step = {
  id: 'turn-back',
  act: 'open-site',
  needs: [],
  timeoutMs: 60_000,
  attempts: 3,
  onFailure: 'hold',
};

/** As it stands before it began. */
export const turnBackStart = { id: turnBackStep.id, act: turnBackStep.act, ...unstarted } as const;

/** With one more signature. */
export function turnedBackBy(before: TurnBack | null, operator: string, because: string): TurnBack {
  const others = before?.operators.filter((o) => o !== operator) ?? [];
  return { operators: [...others, operator], because };
}

/** Two of different keys: one that stands under two names is one operator. */
export function agreedToTurnBack(asked: TurnBack | null, approvers: readonly Approver[]): boolean {
  const keys = new Set(asked?.operators.map((id) => approvers.find((a) => a.id === id)?.key ?? ''));
  return keys.size >= NEEDED && !keys.has('');
}
