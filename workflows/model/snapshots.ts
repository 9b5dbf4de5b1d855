import type { VaultCheck } from './checks.ts';

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

/** What a site that came back has kept aside of its own disk. Never a recovery point. */
export interface SalvageSummary {
  customer: string;
  site: string;
  /** Under which it served these halves last. */
  epoch: number;
  halves: string[];
  point: Timestamp;
  counts: SnapshotCounts;
  packs: number;
  bytes: number;
  /** Why its rows may not be what people left there; null when nothing speaks against it. */
  suspect: string | null;
  /** SHA-256 of its signed bytes, hex. */
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
  /**
   * Why it shrank without a cause that is known here. Such a snapshot is kept, and neither applied nor counted until an
   * operator accepts it.
   */
  suspect?: string;
}

/** An operator's word that a suspect snapshot, and later ones that hold no less, are as they should be. */
export interface Acceptance {
  format: 1;
  snapshot: SnapshotId;
  manifest: string;
  counts: SnapshotCounts;
  operator: string;
  because: string;
  at: Timestamp;
  /** Ed25519 of the operator, over `acceptanceText`, hex. */
  operatorSignature: string;
}

/** What an operator signs: readable, so that it can be read aloud. */
export function acceptanceText(a: Omit<Acceptance, 'operatorSignature' | 'format'>): string {
  const { users, contacts, aclItems } = a.counts;
  return [
    'tandem/1 snapshot accept',
    `customer: ${a.snapshot.customer}`,
    `site: ${a.snapshot.site}`,
    `snapshot: ${a.snapshot.seq} of generation ${a.snapshot.gen}`,
    `manifest: ${a.manifest}`,
    `holds: ${users} users, ${contacts} contacts, ${aclItems} ACL items`,
    `operator: ${a.operator}`,
    `because: ${JSON.stringify(a.because)}`,
    `at: ${a.at}`,
    '',
  ].join('\n');
}

/** More than this share gone, of users, contacts or ACL items, is no day like any other. */
const SUSPECT_SHARE = 0.05;
/** Below so many rows a share says little; unless nothing at all is left. */
const SUSPECT_ROWS = 50;

/** Why `now` cannot be what became of `before` by itself; null when it can. */
export function whyShrunk(before: SnapshotCounts, now: SnapshotCounts): string | null {
  const kinds = { users: 'users', contacts: 'contacts', aclItems: 'ACL items' } as const;
  for (const [kind, name] of Object.entries(kinds) as [keyof typeof kinds, string][]) {
    const lost = before[kind] - now[kind];
    if (lost > SUSPECT_SHARE * before[kind] && (lost > SUSPECT_ROWS || now[kind] === 0)) {
      return `${lost} of ${before[kind]} ${name} are gone`;
    }
  }
  return null;
}

/** The protection of one direction: users served at `site`, covered by its peer. */
export interface Coverage {
  customer: string;
  site: string;
  newest: SnapshotSummary | null;
  covered: Receipt | null;
  /** A newer one that waits for an operator to accept it. */
  suspect: Receipt | null;
  /** The newest check of its snapshots in each vault that was asked. */
  checks: VaultCheck[];
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
  /** Of the users that were looked at, those who are not let in until an operator decides: their ACL cannot be read. */
  quarantined: number;
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
