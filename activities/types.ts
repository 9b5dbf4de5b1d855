import type { Readiness } from '../workflows/model/readiness.ts';
import type {
  ClosedMove,
  MoveInput,
  MoveWorkflow,
  FailoverReport,
  JournalEntry,
  Resumed,
  StepInput,
  StepResult,
} from '../workflows/model/moves.ts';
import type { ExternalKey, FollowedUpdate, SignedExternalVerb } from '../workflows/model/external.ts';
import type { PerformedAct } from '../workflows/model/acts.ts';
import type { Plan } from '../workflows/model/plan.ts';
import type { ContinuityActivities } from './test-types.ts';
import type { ArchiveResult, RetentionResult } from '../workflows/model/retention.ts';
import type {
  ApplyCounts,
  Receipt,
  SalvageSummary,
  SnapshotId,
  SnapshotSummary,
  Timestamp,
} from '../workflows/model/snapshots.ts';
import type { Known, News } from '../workflows/model/watch-news.ts';
import type { Severity } from './notify/port.ts';

/** What the workflows call: the promise of each activity. Workflows import these types and nothing else from here. */

export interface SnapshotActivities {
  /**
   * Reads the users served here in one read transaction, all of them (by default) or those that changed, and writes a
   * snapshot into this site's own vault, manifest last. Safe to repeat: an attempt that died leaves garbage, never a listed snapshot. Heartbeats.
   */
  'take-snapshot'(input: { customer: string; read?: 'all' | 'changes' }): Promise<SnapshotSummary>;
  /** Tells the peer that there is something to pull. Never fails for a silent peer: it looks by itself. */
  'nudge-standby'(input: { customer: string }): Promise<{ nudged: boolean; because: string }>;
}

export interface StandbyActivities {
  /**
   * Copies what is new in the peer's vault into this one, newest first. A silent peer is an answer, not a failure. While this
   * site has what is to be salvaged it only says so, unless it is told to go on. With `follow`, what came quickly is verified and
   * applied by the same process, for users may wait for it; what fails of that is left to its own activity.
   */
  'pull-snapshots'(input: { customer: string; goOn?: boolean; follow?: boolean }): Promise<PullResult>;
  /**
   * Writes what this site served under an older epoch, and serves no longer, into its own vault as it stands on its disk. Reads
   * only. Safe to repeat: what was salvaged is answered; an attempt that died leaves garbage, never half a salvage. Heartbeats.
   */
  'salvage-halves'(input: { customer: string }): Promise<SalvageSummary[]>;
  /** Opens every byte of a pulled snapshot in this vault and signs a receipt for it. */
  'verify-snapshot'(input: { snapshot: SnapshotId }): Promise<Receipt>;
  /**
   * Opens every byte in this vault that was not opened in the last 12 hours, of both sites' snapshots; mends damage from
   * the peer's vault, and un-covers by a signed check what stays damaged. Safe to repeat: goes on where it was. Heartbeats.
   */
  'verify-held'(input: { customer: string }): Promise<HeldResult[]>;
  /** Applies a covered snapshot to this site's dormant standby copy, by the rule of the vault. */
  'apply-standby'(input: { snapshot: SnapshotId }): Promise<ApplyCounts>;
}

/** What a check of one site's snapshots came to; all of it lies in the vault. */
export interface HeldResult {
  of: string;
  snapshots: number;
  packs: number;
  bytes: number;
  /** Numbers of objects. */
  damaged: number;
  repaired: number;
  /** Versions over a key, delete markers, and keys that nothing of ours writes. */
  strays: number;
  /** Snapshots that do not count, newest first. */
  uncovered: number[];
  /** Of the first damage that stays. */
  because: string | null;
}

export interface PullResult {
  peer: 'reached' | 'unreachable';
  because: string;
  pulled: SnapshotSummary[];
  /** The newest snapshot of the peer that this vault holds without a receipt; null when all is verified. */
  unverified: SnapshotSummary | null;
  /** The newest covered snapshot that the standby copy does not hold yet. */
  unapplied: SnapshotId | null;
  /** Halves that this site alone has: nothing was pulled, they come first. Left out when there are none. */
  unsalvaged?: number;
  /** Of the newest, when it was verified at once; and what was applied of it, unless it is suspect. */
  receipt?: Receipt;
  applied?: ApplyCounts;
}

/** A move as its run tells of it: a failover, when it names no workflow. */
interface OfWorkflow {
  workflow?: MoveWorkflow;
}

export interface FailoverActivities extends Record<PerformedAct, (input: StepInput) => Promise<StepResult>> {
  /** Takes the customer's one slot, or names the move that holds it; with `resume`, takes that move over from its run. */
  'claim-move'(
    input: { input: MoveInput; run: string; workflowId: string; at: Timestamp } & OfWorkflow,
  ): Promise<ClaimResult>;
  /**
   * Looks at the world and binds the runbook to it. The same world gives the same digest, and one that has only drifted
   * keeps that of the plan which people have signed in this move.
   */
  'make-plan'(input: { input: MoveInput; declaredAt: Timestamp; move?: string } & OfWorkflow): Promise<Plan>;
  /** Looks whether a step's effect stands, whoever made it; changes nothing. */
  'check-effect'(input: StepInput): Promise<{ seen: boolean; summary: string }>;
  /**
   * Appends to the hash chain of the move, once per key; returns the newest hash, hex. `mirrored`: this site's vault holds
   * all lines; when it is away, a later call or the closing brings them there.
   */
  'write-journal'(input: { entries: JournalEntry[] }): Promise<{ head: string; mirrored?: boolean }>;
  /**
   * Pages whoever is on duty at this site, by all its paging channels at once. A channel that is away is named in the
   * answer, and never fails it. Safe to repeat: the key makes it one page.
   */
  'page-operators'(input: PageInput): Promise<PageResult>;
  /**
   * Frees the slot, and seals the evidence on disk and in the vault; what a vault that is away has not taken is `notSealed`.
   */
  'close-move'(input: { report: Omit<FailoverReport, 'journalHead'> }): Promise<ClosedMove>;
  /** Seals the evidence of a move that has ended in the vault. Fails while that is away. Safe to repeat. */
  'seal-move'(input: { customer: string; move: string }): Promise<void>;
}

export interface ExternalUpdateActivities {
  /** A request as it stands, with what its run needs. `superseded` is written when the customer has moved again. */
  'read-external-update'(input: ExternalKey): Promise<FollowedUpdate>;
  /**
   * Sends its n-th message, unless that was sent, it is closed, or a newer epoch stands: then nothing is. A channel that is
   * away is a reason in the answer. Safe to repeat.
   */
  'send-external-update'(input: ExternalKey & { n: number }): Promise<FollowedUpdate>;
  /** Writes what an operator signed, or that its time is over; `now` by the run's clock, in ms. One that is closed stays as it is. */
  'settle-external-update'(
    input: ExternalKey & { word: SignedExternalVerb | 'lapsed'; now: number },
  ): Promise<FollowedUpdate>;
}

export interface ProvisioningActivities {
  /**
   * Asks the customer's directory, and enables and disables accounts at this site by its answer: all of it or nothing. An
   * answer that would disable too many is held until an operator accepts it; he is paged, once. Fails when the directory
   * gives no whole answer; then the last good one stays in force. Safe to repeat.
   */
  'follow-directory'(input: { customer: string }): Promise<Followed>;
}

export interface ReadinessActivities {
  /**
   * Evaluates the failover in which this site would survive, as it would be planned now, and keeps what it finds. Has no
   * other effect. What would stop it is an answer, and not a failure.
   */
  'evaluate-readiness'(input: { customer: string }): Promise<Readiness>;
}

export interface WatchActivities {
  /**
   * What this site's watch of a customer has come to, once it is other than `known`, or after `forMs`. The looking goes on
   * without it, in the worker's process: this only tells. Heartbeats.
   */
  'watch-peer'(input: { customer: string; known: Known; forMs: number }): Promise<{ news: News[] }>;
}

/** How a look at the directory ended. Numbers only. */
export interface Followed {
  /** `none`: there is no directory. `overtaken`: a later look was quicker. */
  state: 'applied' | 'held' | 'overtaken' | 'none';
  /** For people. */
  told: string;
  /** Of the answer in force. */
  at?: Timestamp | null;
  counts?: Record<string, number | null>;
}

export interface PageInput {
  customer: string;
  /** The move it is about; null when it is about none. */
  move: string | null;
  /** The same key is the same page. */
  key: string;
  subject: string;
  text: string;
  /** `critical` when it is not given. */
  severity?: Severity;
}

export interface PageResult {
  /** Names of channels. */
  sent: string[];
  failed: { channel: string; because: string }[];
}

export interface ClaimResult {
  /** With `resume`: where the move stands that is gone on with. */
  resumed: Resumed | null;
  /** Whether anybody is paged at this site. */
  paging: boolean;
  /** The workflow of a planned move that gave its slot to this failover; left out when there was none. */
  superseded?: string;
}

export interface RetentionActivities {
  /**
   * Deletes from this site's own vault the generations of a customer that are past their keeping, of both sites' snapshots,
   * or tells which it would. What Object Lock holds stays. Safe to repeat. Heartbeats.
   */
  'delete-expired'(input: { customer: string; dryRun?: boolean }): Promise<RetentionResult>;
}

export interface ArchiveActivities {
  /**
   * Deletes from this site's archive what is past its keeping, for a customer who has bought content archiving. Safe to
   * repeat. Heartbeats.
   */
  'delete-expired-archive'(input: { customer: string }): Promise<ArchiveResult>;
}

/** Acts of a planned move that move bulk data. */
export type PlannedDataActivities = Record<
  'salvage-contacts' | 'take-snapshot' | 'reconcile-contacts' | 'reconcile-archive',
  (input: StepInput) => Promise<StepResult>
>;

export interface SiteActivities
  extends
    SnapshotActivities,
    StandbyActivities,
    RetentionActivities,
    ArchiveActivities,
    FailoverActivities,
    ContinuityActivities,
    ExternalUpdateActivities,
    ProvisioningActivities,
    ReadinessActivities,
    WatchActivities,
    PlannedDataActivities {
  /** As the schedule takes it, and as the act of a move, which also waits until the destination has applied it. */
  'take-snapshot': SnapshotActivities['take-snapshot'] & PlannedDataActivities['take-snapshot'];
}
