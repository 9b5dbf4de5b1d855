import type { StepResult } from '../../workflows/model/moves.ts';
import type { mendMerged } from '../contacts/mend-merged.ts';
import type { ReconcileCounts } from '../contacts/reconcile.ts';
import { NO_REMOVALS } from './reconciliation.ts';

/** What came of a reconciliation, for people. */

export interface Merged {
  counts: ReconcileCounts;
  /** Of those of them who stay where they are. */
  stay: number;
  /** Why a salvage is suspect; one for each that is. */
  suspects: readonly string[];
}

/** Of several that were brought together one after the other. */
export function sumOf<Key extends string>(
  all: readonly Record<Key, number>[],
  none: Record<Key, number>,
): Record<Key, number> {
  const sum = { ...none };
  for (const one of all) for (const key of Object.keys(none) as Key[]) sum[key] += one[key];
  return sum;
}

export function resultOf(
  { counts, stay, suspects }: Merged,
  pairs: Awaited<ReturnType<typeof mendMerged>>,
): StepResult {
  const { users, written, already, notHere, refused, overLimit, quarantined, conflicts, open, denyKept } = counts;
  const told: [number, string][] = [
    [stay, 'of them stay here, and were served by both sites'],
    [already, 'were brought together before, and stay as they stand'],
    [conflicts, 'had something that both sides changed, and stand by the rule'],
    [open, 'have something to be decided, and stand as they did here'],
    [denyKept, 'are denied something that one side had taken back'],
    [overLimit, 'have more contacts than are allowed; none was cut off'],
    [notHere, 'are not of these halves here any more, and were passed over'],
    [pairs.mended, 'contacts were brought to what the other side says'],
    [pairs.blocked + pairs.full, 'contacts stay less than the other side says, because of a block or a full list'],
  ];
  const alarms = [
    ...suspects.map((suspect) => `the salvage is suspect: ${suspect}; ${NO_REMOVALS}`),
    ...(refused === 0 ? [] : [`the database refuses the rows of ${refused} users: they keep those they had`]),
    ...(quarantined === 0 ? [] : [`${quarantined} users are in quarantine: their lists cannot be read`]),
  ];
  return {
    summary: `${users} users had changes at the destination; ${written} were written here${told.flatMap(([n, text]) => (n > 0 ? [`; ${n} ${text}`] : [])).join('')}`,
    facts: {
      ...counts,
      ...(stay > 0 && { stay }),
      pairsMended: pairs.mended,
      pairsBlocked: pairs.blocked,
      pairsOverLimit: pairs.full,
      suspect: suspects.length > 0,
    },
    ...(alarms.length > 0 && { alarms }),
  };
}
