import type { SnapshotCounts, SnapshotId, Timestamp } from './snapshots.ts';

export interface ContinuityTestInput {
  customer: string;
  kind: 'isolated';
  /** The schedule leaves it to the receipts whose turn it is; a person who starts a test means it. */
  startedBy: 'schedule' | 'operator';
}

/** The signed outcome of a continuity test, kept in the vault of the site that held it. */
export interface TestReceipt {
  format: 1;
  customer: string;
  kind: 'isolated';
  /** The site that held the test, as survivor of its peer. */
  site: string;
  run: string;
  outcome: 'passed' | 'failed';
  snapshot: SnapshotId;
  point: Timestamp;
  startedAt: Timestamp;
  endedAt: Timestamp;
  counts: SnapshotCounts;
  /** Rows in one but not in the other, over all columns compared. */
  mismatches: number;
  because: string;
  notTested: string[];
}

export type Turn = { turn: true; because: string } | { turn: false; because: string };

/** Eleven months: a test is scheduled a month before it is due (DESIGN 5). */
const ELEVEN_MONTHS_MS = 334 * 24 * 3_600_000;

/**
 * Whether a scheduled test is this site's to hold. The two sites' schedules stand six months apart and the sites
 * alternate, so that both directions are proved; a site whose turn was missed is stood in for once eleven months are
 * over. `passed` is the newest passed test of either site.
 */
export function whoseTurn(site: string, passed: { site: string; endedAt: Timestamp } | null, at: number): Turn {
  if (passed === null) return { turn: true, because: 'no test of this customer has passed yet' };
  const day = passed.endedAt.slice(0, 10);
  if (passed.site !== site)
    return { turn: true, because: `${passed.site} passed the last test on ${day}; it is the turn of ${site}` };
  if (at - Date.parse(passed.endedAt) >= ELEVEN_MONTHS_MS) {
    return {
      turn: true,
      because: `${site} passed the last test on ${day}, eleven months ago, and its peer has held none since`,
    };
  }
  return { turn: false, because: `${site} passed the last test on ${day}; the next is its peer's` };
}
