import { halvesOf, type Decisions } from './plan.ts';
import type { SnapshotId } from './snapshots.ts';

/**
 * Whose change counts where both sides have changed the same row differently; `ask`: it stays as the survivor has it, and is listed
 * as open. Denials are another matter: one that is in force on either side stays in force, whatever the rule (DESIGN 5).
 */
export const conflictRules = ['survivor', 'home', 'ask'] as const;
export type ConflictRule = (typeof conflictRules)[number];

/** What the destination alone has of these users, from when it served them last, and how it is brought together with what is here. */
export interface Reconciliation {
  rule: ConflictRule;
  /** In the destination's vault: the epoch under which it served them last, and the document's SHA-256, hex. */
  salvage: { epoch: number; manifest: string };
  /** The snapshot from which both sides began, in the vault that holds it; null when nothing had been restored. */
  base: { snapshot: SnapshotId; manifest: string; from: 'own-vault' | 'peer-vault' } | null;
}

/** Users of these halves, whose both sides are brought together. */
export interface BroughtTogether {
  halves: string[];
  reconcile: Reconciliation;
}

/** What a planned move decides beside what every move does. It runs where its users are now: `from` is its own site. */
export interface PlannedMove {
  /** Users whose home is this site. */
  half: string;
  /** Halves that the destination serves, and goes on serving under the move's epoch. */
  keeps: string[];
  /** Sites that serve users once it is through: traffic is led there. */
  servedAt: string[];
  /** Null: the destination has nothing of these users that is not here. */
  reconcile: Reconciliation | null;
  /**
   * Users who are at home where the move begins, and whom the destination has served as well, in a fork: no way home of their own will
   * ever bring that together. Left out when there are none.
   */
  stayed?: BroughtTogether[];
  /** The destination becomes their home for good, once they are served there; left out when it does not. */
  rehome?: true;
}

/** All whom a move brings together: first those who move. */
export const broughtTogether = (decisions: Pick<Decisions, 'from' | 'cohorts' | 'planned'>): BroughtTogether[] => [
  ...(decisions.planned?.reconcile ? [{ halves: halvesOf(decisions), reconcile: decisions.planned.reconcile }] : []),
  ...(decisions.planned?.stayed ?? []),
];
