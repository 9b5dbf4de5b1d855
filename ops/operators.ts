import { keyEnded } from '../workflows/model/approvals.ts';
import type { Approver } from '../workflows/model/plan.ts';
import { duration } from '../workflows/model/rto.ts';

/** A key that ends is told so long before: whoever makes the next one may be away for weeks. */
const WARN_MS = 30 * 24 * 3_600_000;

/** What is wrong, or soon will be, with the operators of a configuration. `now` in ms. */
export interface OperatorWarning {
  operator: string;
  text: string;
  try: string;
}

export function operatorWarnings(operators: readonly Approver[], now: number): OperatorWarning[] {
  return operators.flatMap((o) => {
    const { id: operator, expires } = o;
    if (expires === undefined || Date.parse(expires) > now + WARN_MS) return [];
    const text = keyEnded(o, now)
      ? `his key expired at ${expires}: nothing he signs counts`
      : `his key expires at ${expires}, in ${duration(Date.parse(expires) - now)}`;
    return [{ operator, text, try: `tandem keys new operator --id ${operator} --out FILE` }];
  });
}

/** Why the keys that live at `now` are too few to approve a failover; null when they are not. */
export function tooFewKeys(operators: readonly Approver[], now: number): string | null {
  const may = operators.filter((o) => o.roles.some((role) => role === 'approve' || role === 'commander'));
  const live = may.filter((o) => !keyEnded(o, now));
  const commanders = live.filter((o) => o.roles.includes('commander'));
  if (live.length >= 2 && commanders.length > 0) return null;
  return `operators: ${live.length} of ${may.length} who may approve have a key that has not expired, ${commanders.length} of them commander; a failover takes two, one of them a commander`;
}
