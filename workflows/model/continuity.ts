import type { Residue } from './test-inventory.ts';
import type { HumanStep, PaperStep } from './test-paper.ts';
import type { SnapshotCounts, SnapshotId, Timestamp } from './snapshots.ts';

/** On paper, beside the service, with a cohort of real users: each proves more than the one before it. */
export const testKinds = ['tabletop', 'isolated', 'live'] as const;
export type TestKind = (typeof testKinds)[number];

/** Kinds that a customer may agree to count for the yearly test: a tabletop never does (DESIGN 5). */
export const countedKinds = ['isolated', 'live'] as const satisfies readonly TestKind[];
export type CountedKind = (typeof countedKinds)[number];

export const isTestKind = (kind: unknown): kind is TestKind => (testKinds as readonly unknown[]).includes(kind);

/** Whether a test of one kind counts where another was agreed: one that proves more does. */
export const countsFor = (kind: TestKind, agreed: CountedKind): boolean =>
  testKinds.indexOf(kind) >= testKinds.indexOf(agreed);

export interface ContinuityTestInput {
  customer: string;
  kind: TestKind;
  /** The schedule leaves it to the receipts whose turn it is; a person who starts a test means it. */
  startedBy: 'schedule' | 'operator';
  /** Why a person tests inside a blackout. */
  despiteBlackout?: string;
  /** Of a live test: the half of its users, `site/name`; they are at home at the peer. */
  cohort?: string;
  /** Of a tabletop: page whoever is on duty when it begins. */
  page?: boolean;
  /** Of a tabletop: how long people have to confirm their steps, ms. */
  confirmWithinMs?: number;
}

export const testOutcomes = ['passed', 'failed', 'aborted', 'superseded'] as const;
export type TestOutcome = (typeof testOutcomes)[number];

/** The signed outcome of a continuity test, kept in the vaults of both sites. What older builds did not measure is left out. */
export interface TestReceipt {
  format: 1;
  customer: string;
  kind: TestKind;
  /** The site that held the test, as survivor of its peer. */
  site: string;
  run: string;
  outcome: TestOutcome;
  /** Null on paper. */
  snapshot: SnapshotId | null;
  point: Timestamp | null;
  startedAt: Timestamp;
  endedAt: Timestamp;
  counts: SnapshotCounts;
  /** Rows in one but not in the other, over all columns compared. */
  mismatches: number;
  because: string;
  notTested: string[];
  /** Users who would not be let in until an operator decides: their block list cannot be read. */
  quarantined?: number;
  /** Of the users who would come, those without an account here; null where no accounts can be counted. */
  accounts?: { users: number; without: number } | null;
  times?: TestTimes;
  residue?: Residue;
  paper?: PaperWalk;
  live?: LiveWalk;
  /** An operator's reason to hold it inside a blackout. */
  despiteBlackout?: string;
}

/** A cohort of real users, who moved to this site and home again. */
export interface LiveWalk {
  /** The half of its users. */
  cohort: string;
  /** The planned moves that brought them; null when there was none. */
  went: string | null;
  back: string | null;
  /** For so long this site served them, ms. */
  hereMs: number | null;
  users: number;
  /** Of them, who could not be served here, and nobody can say why. */
  unserved: number;
  /** As they found them here; none where none can be looked at. */
  services: { service: string; ok: boolean; ms: number; because?: string }[];
}

/** What was measured, against what is promised and aimed at. */
export interface TestTimes {
  restoreMs: number | null;
  compareMs: number | null;
  /** Of the whole failover, by the newest evaluation; null where none could be made. */
  forecastMs: number | null;
  rtoMs: number;
  targetRtoMs: number;
  /** Of the recovery point when the test began. */
  pointAgeMs: number | null;
  rpoMs: number;
  /** Since this site serves the users of its peer, their old snapshots grow old, and break no promise. */
  tookOver: boolean;
}

/** A failover as it was walked on paper. */
export interface PaperWalk {
  from: string;
  to: string;
  /** Of the plan that was read; null when none could be made. */
  digest: string | null;
  epoch: number | null;
  runbook: string | null;
  forecastMs: number | null;
  steps: PaperStep[];
  /** What would stop it. */
  blockers: string[];
  /** What whoever signs would have to accept. */
  asks: string[];
  people: HumanStep[];
  /** Channels that took the page; null when nobody was to be paged. */
  paged: string[] | null;
}

export type TestPhase =
  | 'planning'
  | 'put-off'
  | 'beginning'
  | 'restoring'
  | 'comparing'
  | 'on-paper'
  | 'going'
  | 'there'
  | 'returning'
  | 'cleaning'
  | 'ended';

/** What a run says of itself. */
export interface TestStatus {
  customer: string;
  site: string;
  run: string;
  kind: TestKind;
  phase: TestPhase;
  startedAt: Timestamp;
  /** Why it is in this phase; empty when nothing is to be said. */
  because: string;
  /** The exact command that helps it on; null when nothing but time does. Older builds did not say. */
  next?: string | null;
  /** Steps of a tabletop. */
  people: HumanStep[];
  outcome: TestOutcome | null;
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
