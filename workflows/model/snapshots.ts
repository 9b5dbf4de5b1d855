/** Times are ISO 8601 in UTC with milliseconds, as `Date.prototype.toISOString` prints them. */
export type Timestamp = string;

/** Names one snapshot: `site` took it of its served users; `seq` grows by one with each, across generations. */
export interface SnapshotId {
  customer: string;
  site: string;
  gen: number;
  seq: number;
}

/** What a snapshot holds: counts only, never a name (DESIGN 7). */
export interface SnapshotCounts {
  /** Users with a record; a user without any row has an empty one. */
  users: number;
  /** Rows of rosterusers, pending requests included. */
  contacts: number;
  groups: number;
  lists: number;
  aclItems: number;
  defaults: number;
}

export interface SnapshotSummary extends SnapshotId {
  /** The recovery point: start of the read transaction, by the database's clock. */
  point: Timestamp;
  epoch: number;
  counts: SnapshotCounts;
  packs: number;
  bytes: number;
  /** SHA-256 of the manifest's bytes, hex: the snapshot's identity. */
  manifest: string;
}

/** A site's signed statement that it holds, has opened and can read a snapshot of its peer. */
export interface Receipt {
  format: 1;
  snapshot: SnapshotId;
  manifest: string;
  point: Timestamp;
  /** The site that verified it in its own vault. */
  site: string;
  verifiedAt: Timestamp;
  counts: SnapshotCounts;
}

/** The protection of one direction: users served at `site`, covered by its peer. */
export interface Coverage {
  customer: string;
  site: string;
  newest: SnapshotSummary | null;
  covered: Receipt | null;
}

/** What applying a snapshot's records to a database did. */
export interface ApplyCounts {
  /** Users who now stand as their records say, written or found equal; the rows below are theirs. */
  users: number;
  /** Users whose rows differed and were replaced. */
  written: number;
  contacts: number;
  groups: number;
  aclItems: number;
  /** Users removed, with all rows. */
  removed: number;
  /** Users held back, because rows stood there that no ledger entry explains, or they are served here. */
  held: number;
  /** Local versions saved aside before they were replaced. */
  conflicts: number;
}

/** How old a recovery point is at a moment, in ms; never negative. */
export function ageMs(point: Timestamp, at: number): number {
  return Math.max(0, at - Date.parse(point));
}

/**
 * Whether a cadence holds the RPO: after one failed run the next must still come, be read, copied and verified in time
 * (DESIGN 3). All in ms.
 */
export function cadenceHolds(betweenMs: number, budgetMs: number, rpoMs: number): boolean {
  return 2 * betweenMs + budgetMs <= rpoMs;
}
