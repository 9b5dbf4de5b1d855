import type {
  ContinuityTestInput,
  TestKind,
  LiveWalk,
  PaperWalk,
  TestReceipt,
  TestTimes,
  Turn,
} from '../workflows/model/continuity.ts';
import type { Approver } from '../workflows/model/plan.ts';
import type { ApplyCounts, SnapshotCounts, SnapshotId, Timestamp } from '../workflows/model/snapshots.ts';
import type { Inventory } from '../workflows/model/test-inventory.ts';
import type { CohortStand } from '../workflows/model/test-live.ts';

/** Whose turn it is, what is to be proved, and what stands in the way. What older builds did not answer is left out. */
export interface TestPlan {
  site: string;
  turn: Turn;
  snapshot: SnapshotId | null;
  point: Timestamp | null;
  /** Of a test that the schedule has started, which may not be held yet. */
  putOff?: { until: Timestamp; because: string } | null;
  /** Whose words count. */
  approvers?: Approver[];
  accounts?: TestReceipt['accounts'];
  promised?: Pick<TestTimes, 'forecastMs' | 'rtoMs' | 'targetRtoMs' | 'rpoMs' | 'tookOver'>;
}

/** Names a test that is being held. */
export interface HeldTest {
  customer: string;
  run: string;
  /** Of a live test: moves of this half are its own. */
  cohort?: string;
}

/** `move`: they are where they are to be, by this one. `because`: the test must end. Older builds answer no `stand` beside a `move`. */
export type CohortNews = { move: string; stand?: CohortStand } | { stand: CohortStand } | { because: string };

export interface ContinuityActivities {
  /**
   * Whose turn it is by the receipts of both sites, and the snapshot to prove. For an operator what stands in the way is a
   * failure (`test-blackout`, `move-running`, `test-running`, `site-closed`, `input-invalid`); the schedule's is put off.
   */
  'plan-test'(input: { test: ContinuityTestInput; at: Timestamp }): Promise<TestPlan>;
  /**
   * Takes the place of the customer's one test here, removes what runs that died have left and is surely theirs, and looks what
   * is there. Safe to repeat. `test-running`, `move-running`.
   */
  'begin-test'(input: HeldTest & { kind: TestKind }): Promise<{ before: Inventory; removed: string[] }>;
  /** Ends with the reason once a move begins at this site, or it is closed or gives its users away. Heartbeats. */
  'guard-test'(input: HeldTest): Promise<{ because: string }>;
  /** What is there when it is over, and why it would have had to end; null when nothing was in its way. */
  'inspect-test'(input: HeldTest): Promise<{ after: Inventory; yields: string | null }>;
  /** Leaves the place to the next test. */
  'end-test'(input: HeldTest): Promise<void>;
  /** Plans the failover in which this site would survive, and reads out who does what in it. No effect. */
  'read-paper'(input: { customer: string; at: Timestamp }): Promise<Omit<PaperWalk, 'paged'>>;
  /**
   * Waits until the cohort is served at this site (`here`), or is home again and no move is under way that could take it away, and
   * answers the move that brought it there; until how it stands is another than what was `told`; or until the test must end.
   * Heartbeats.
   */
  'await-cohort'(input: HeldTest & { cohort: string; at: 'here' | 'home'; told?: CohortStand }): Promise<CohortNews>;
  /** Whether the cohort's users are served here, and each service does what it promises for them. No effect. Heartbeats. */
  'look-at-cohort'(input: {
    customer: string;
    cohort: string;
  }): Promise<Pick<LiveWalk, 'users' | 'unserved' | 'services'>>;
  /** Restores into a scratch database of this run. A repeated attempt starts from an empty one. Heartbeats. */
  'restore-scratch'(input: { run: string; snapshot: SnapshotId }): Promise<ApplyCounts>;
  /**
   * Compares the scratch database row by row with the vault's records, and counts the users whose block list the service could
   * not read. Heartbeats.
   */
  'compare-scratch'(input: {
    run: string;
    snapshot: SnapshotId;
  }): Promise<{ counts: SnapshotCounts; mismatches: number; quarantined?: number }>;
  /** Drops the scratch database; fine when there is none. */
  'drop-scratch'(input: HeldTest): Promise<void>;
  /** Signs it and puts it into this site's vault, locked; the peer copies it. Once a run: a repeated one finds what stands there. */
  'write-test-receipt'(input: { receipt: TestReceipt }): Promise<{ vaultKey: string }>;
}
