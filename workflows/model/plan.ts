import type { Again } from './again.ts';
import type { Act, MoveKind, Service, StepArgument } from './acts.ts';
import type { RtoClock } from './clock.ts';
import type { Condition } from './conditions.ts';
import type { PlannedMove } from './planned-move.ts';
import type { SnapshotId, Timestamp } from './snapshots.ts';

/**
 * What happens when a step has failed for good. `hold`: after its attempts it waits for an operator; `ask-operator`: so it
 * does after the first; `continue`: it is noted as a gap, and what needs it goes on.
 */
export const onFailures = ['hold', 'ask-operator', 'continue'] as const;
export type OnFailure = (typeof onFailures)[number];

export interface Step extends Partial<Record<Exclude<StepArgument, 'service'>, string>> {
  id: string;
  act: Act;
  needs: string[];
  /** Of one attempt; in a plan with `waitsMs`. */
  timeoutMs: number;
  /** Of `fence-site` in a plan: so long its claim stands in the witness before words or silence count. Left out: they count at once. */
  waitsMs?: number;
  /** Attempts of one round, before an operator is needed. */
  attempts: number;
  onFailure: OnFailure;
  service?: Service;
  /** Of `request-external-update`, in a plan: all parties that its `party` means. */
  parties?: string[];
  /** Only for customers who have this option or part, or all of these. */
  when?: Condition | Condition[];
  /** It is tried again for so long, counted from its first attempt; then it has failed. */
  withinMs?: number;
  /** The RTO clock does not wait for it. */
  outsideRto?: boolean;
}

export const roles = ['declare', 'approve', 'commander', 'operate'] as const;
export type Role = (typeof roles)[number];

export interface Approver {
  id: string;
  /** Raw Ed25519 public key, hex. */
  key: string;
  roles: Role[];
  /** From then on nothing that the key signs counts; left out when it does not end. */
  expires?: Timestamp;
}

/** A runbook as parsed: the order people agree on. */
export interface Runbook {
  kind: MoveKind;
  name: string;
  /** SHA-256 of the file's bytes, hex. */
  digest: string;
  steps: Step[];
}

/** How it is known that the source no longer serves. */
export interface Isolation {
  /** serving: one observer saw it serve. unknown: none did. dead: three observers, a witness among them. */
  verdict: 'serving' | 'unknown' | 'dead';
  /**
   * `answers`: a part of the site is there, and cannot tell whether users are served. `unknown`: this observer could not
   * look at all, and says nothing about the site.
   */
  observers: { name: string; saw: 'serving' | 'closed' | 'answers' | 'unreachable' | 'unknown' }[];
  /** The declarer's words: how it was cut off, by whom, when. Part of what people sign. */
  statement: string | null;
}

/** Where the data comes from (VAULT, "Covered, applied"). */
export interface RecoverySource {
  snapshot: SnapshotId;
  manifest: string;
  point: Timestamp;
  /** `standby-copy`: no vault is read, what is proven is what the ledger in this site's database says. */
  from: 'source-vault' | 'own-vault' | 'standby-copy';
  users: number;
  /** The standby copy already holds it. */
  applied: boolean;
}

/** What people sign. Anything that would change their minds is in here; measures stand beside it. */
export interface Decisions {
  format: 1;
  kind: 'failover' | 'relocate' | 'failback';
  customer: string;
  from: string;
  to: string;
  /** The epoch that `advance-epoch` will claim. */
  epoch: number;
  disruptedAt: Timestamp;
  runbook: { name: string; digest: string };
  steps: Step[];
  /** Steps of the runbook that this customer does not have: each is for what was not bought, or is not configured. */
  leftOut?: { id: string; when: Condition }[];
  isolation: Isolation;
  /** The oldest recovery point that the approval allows. */
  recoveryPoint: Timestamp;
  /** Set when the newest recovery point breaks the RPO: the loss, in ms, that the approval accepts. */
  acceptedLossMs: number | null;
  /**
   * What whoever signs must name beside the digest, because it is worse than what is promised: `data-loss 20h12m`,
   * `source-is-serving`, `over-capacity 120%`, `over-link 150%`, `survivor-unproven`. None when left out.
   */
  acceptances?: string[];
  users: number;
  /** Of a failover that moves others than the lost site's own users: whose home is here. */
  half?: string;
  /** Cohorts of that home who move along, for they are where it is: none when left out. */
  cohorts?: string[];
  /** Of a relocate and a failback; a failover has none. */
  planned?: PlannedMove;
  /** Of a failover whose users this site serves already. */
  again?: Again;
  approvers: Approver[];
  approvalsNeeded: number;
}

/** The half whose users move: of a failover, that of the lost site if nothing else is said. */
export const halfOf = ({ from, half, planned }: Pick<Decisions, 'from' | 'half' | 'planned'>): string =>
  planned?.half ?? half ?? from;

/** All halves whose users move. */
export const halvesOf = (decisions: Pick<Decisions, 'from' | 'half' | 'cohorts' | 'planned'>): string[] => [
  ...(decisions.cohorts ?? []),
  halfOf(decisions),
];

/** The site that runs the move, and claims its epoch. */
export const claimantOf = ({ from, to, planned }: Pick<Decisions, 'from' | 'to' | 'planned'>): string =>
  planned ? from : to;

/** A decision by its name, and what it means for people. */
export interface Named {
  name: string;
  because: string;
}

/** What the survivor would carry, against what it can; null where nobody has configured it, or it cannot be counted. */
export interface Capacity {
  /** Users of all customers served at the survivor now. */
  served: number | null;
  /** Users who come to it with this move. */
  moves: number;
  /** Users it has capacity for. */
  users: number | null;
  /** What all of the customer's traffic takes. */
  trafficBytesPerSecond: number | null;
  /** What the customer's link to the survivor carries. */
  linkBytesPerSecond: number | null;
}

/** Who loses how much, in numbers of users. */
export interface Loss {
  /** Lose what they changed in `ms` before the loss, at most. */
  users: number;
  ms: number;
  /** No snapshot has them: they have lost all, if they had anything. */
  withoutSnapshot: number;
  /** Are not let in until an operator decides. */
  quarantined: number;
  /** By the ledger; else by the snapshot's own number of users, which may be others. */
  exact: boolean;
}

/** Messages for users who were away, in the store of one site alone. */
export interface Undelivered {
  messages: number;
  /** For whom they are. */
  users: number;
  at: Timestamp;
}

/** How long a move is expected to take once it is approved, by measured times of its steps. */
export interface Forecast {
  /** The longest way through the steps inside the RTO, by medians, and by p75. */
  ms: number;
  p75Ms: number;
  /** `basis`: `measured N` times, or `default` when there are none. */
  steps: { id: string; ms: number; p75Ms: number; basis: string }[];
  /** Steps on which an operator is waited for: they count nothing here. */
  waits: string[];
}

export interface Plan {
  decisions: Decisions;
  /** SHA-256 of the canonical JSON of the decisions, hex. */
  digest: string;
  source: RecoverySource;
  /** Taken instead when the source is the lost site's vault and stops answering; as new as `recoveryPoint` at least. */
  fallback?: RecoverySource;
  /** What each name among `decisions.acceptances` means. */
  acceptances?: Named[];
  loss?: Loss;
  /** What waits at the source for users who were away, as far as it was heard; null when it was not. */
  undelivered?: Undelivered | null;
  capacity?: Capacity;
  forecast?: Forecast;
  /** The last moment to sign at which the target, and the promise, can still be kept, by the forecast's p75. */
  decideBy?: { target: Timestamp; promise: Timestamp };
  /** Sources that were tried before the chosen one, and why they were not taken. */
  notTaken: { from: string; because: string }[];
  /** Operators of the configuration whose word does not count, because two have not admitted them; none when left out. */
  notAdmitted?: { operator: string; because: string }[];
  /** From when the RTO counts; the disruption when an older version made the plan. */
  clock?: RtoClock;
  rpoMs: number;
  rtoMs: number;
  targetRtoMs: number;
  /** By observer, why it is not sure, or what it has seen; beside the decisions, for times are in it. */
  observed?: Record<string, string>;
  /** What this site was asked about itself. What failed is why `survivor-unproven` is among the acceptances. */
  survivor?: { name: string; ok: boolean; told: string }[];
  /** What whoever signs should know, and what is no reason not to. */
  notes?: string[];
  /** Reasons for which this plan cannot be approved; empty when it can. */
  blockers: {
    kind:
      | 'source-serves'
      | 'isolation-unknown'
      | 'act-missing'
      | 'not-configured'
      | 'destination-unready'
      | 'already-served'
      | 'forked';
    text: string;
  }[];
  madeAt: Timestamp;
}

/** JSON with sorted keys and no white space: the same decisions always give the same bytes. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value)
    .filter(([, v]) => v !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonicalJson(v)}`).join(',')}}`;
}
