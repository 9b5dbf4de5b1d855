import type { RtoClock } from './clock.ts';
import type { Epoch } from './epoch.ts';
import type { Motion } from './motions.ts';
import type { TurnBack } from './turn-back.ts';
import type { EndPhase, Phase } from './phases.ts';
import type { Approval } from './approvals.ts';
import type { BreakGlass, BrokenGlass } from './break-glass.ts';
import type { Act, Service } from './acts.ts';
import type { Plan, RecoverySource } from './plan.ts';
import { homeOf } from './half.ts';
import type { ConflictRule } from './planned-move.ts';
import type { ApplyCounts, Timestamp } from './snapshots.ts';

/** Simple enough to be typed into Temporal UI (DESIGN 4). */
export interface FailoverInput {
  customer: string;
  /** The lost site. */
  from: string;
  /** The home of the users who move; the lost site itself when it is left out. A site that had others' users loses them, too. */
  half?: string;
  /** When it was lost; the declaration when it is not known. */
  disruptedAt?: Timestamp;
  /** Restore this point or older, instead of the newest. */
  recoveryPoint?: Timestamp;
  reason: string;
  requestedBy: string;
  /** How the lost site was cut off, by whom, when: asked for unless a machine has confirmed it. */
  isolation?: string;
  /** Fail over although the lost site is seen to serve: whoever signs must then accept `source-is-serving`. */
  sourceIsServing?: boolean;
  /** Go on with the move that holds the customer's slot, from its journal; all other fields but `customer` are its own. */
  resume?: true;
}

/** A planned move, simple enough to be typed into Temporal UI. It runs at the site where its users are now. */
export interface RelocateInput {
  customer: string;
  /** Users whose home is this site. */
  half: string;
  /** Where they are now: this site. */
  from: string;
  /** Where they are to be; a move to their home is a failback. */
  to: string;
  /** Whose change counts where both sites have changed the same: needed when the destination has unsent changes. */
  rule?: ConflictRule;
  /** The destination becomes their home for good. Of a relocate only: who goes home is at home there. */
  rehome?: boolean;
  reason: string;
  requestedBy: string;
  /** As in a failover. */
  resume?: true;
}

/** What a run is given; which of both, its workflow's name says. */
export type MoveInput = FailoverInput & Partial<RelocateInput>;

/** A workflow that moves users. */
export type MoveWorkflow = 'failover' | 'relocate';

/** What people call a move. */
export type MoveName = MoveWorkflow | 'failback';

export const moveName = (workflow: MoveWorkflow, { half, to }: Partial<RelocateInput>): MoveName =>
  workflow === 'relocate' && half !== undefined && homeOf(half) === to ? 'failback' : workflow;

/** Where a move stands by its journal. */
export interface Resumed {
  move: string;
  input: MoveInput;
  declaredAt: Timestamp;
  phase: Phase;
  approvedAt: Timestamp | null;
  plan: Plan | null;
  /** Those for this plan, also what has lapsed: reports name whoever signed. */
  approvals: Approval[];
  breakGlass: BreakGlass | null;
  usedNonces: string[];
  /** Done ones are not done again; all others wait. */
  steps: StepReport[];
  owner: string | null;
  paused: FailoverStatus['paused'];
  turnBack: TurnBack | null;
  notes: FailoverStatus['notes'];
  alarms: FailoverStatus['alarms'];
}

/** Keys an effect (DESIGN 4): `<customer>/<epoch>/<step>/<round>`. A retry by an operator raises `round`, an automatic one never. */
export interface StepKey {
  customer: string;
  epoch: Epoch;
  step: string;
  round: number;
}

/** What an act hands back to the run: a line for people, and counts for the report. */
export interface StepResult {
  summary: string;
  facts: Record<string, number | string | boolean | null>;
  /** What people must hear of although the step is done. */
  alarms?: string[];
}

/** What a run hands to an act. Histories carry ids, counts and digests: the act reads the plan where the journal is. */
export interface StepInput {
  key: StepKey;
  act: Act;
  /** Digest of the plan that was signed, hex. */
  plan: string;
}

export interface JournalEntry {
  customer: string;
  move: string;
  /** The run that writes it: another one that took the move over closes the journal to it. */
  run?: string;
  /** Makes a repeated write of the same entry one entry. */
  key: string;
  kind: 'declared' | 'planned' | 'signed' | 'refused' | 'step' | 'alarm' | 'phase' | 'closed' | 'note' | 'break-glass';
  at: Timestamp;
  body: Record<string, unknown>;
}

export interface StepReport {
  id: string;
  act: Act;
  /** `failed`: for good, and the run went on or ended without it. `done-by-hand`, `skipped`: by signatures in the journal. */
  state: 'waiting' | 'running' | 'held' | 'done' | 'done-by-hand' | 'skipped' | 'failed';
  round: number;
  startedAt: Timestamp | null;
  /** Since when an operator is waited for; null when none is. */
  heldAt: Timestamp | null;
  endedAt: Timestamp | null;
  /** Since when the round that runs, or ran last, does; `startedAt` is of the first one. */
  since?: Timestamp;
  /** What the round took in which it was done, without what it waited for people. */
  tookMs?: number;
  /** Since when it is slower than it usually is, while it runs. */
  stuckAt?: Timestamp;
  summary: string;
  facts: Record<string, number | string | boolean | null>;
}

/** A step as it stands before it began. */
export const unstarted = {
  state: 'waiting',
  round: 0,
  startedAt: null,
  heldAt: null,
  endedAt: null,
  summary: '',
} as const satisfies Partial<StepReport>;

/** What needs this step may start. */
export const behind = ({ state }: Pick<StepReport, 'state'>): boolean =>
  state === 'done' || state === 'done-by-hand' || state === 'skipped';

/** When a service was back: its probe found it working. */
export interface ServiceClock {
  service: Service;
  /** The probe. */
  step: string;
  /** Null while it is not back. */
  stoppedAt: Timestamp | null;
  /** From the clock's start to then. */
  rtoMs: number | null;
}

/** The evidence of a failover, as JSON in the vault and on the operator's disk. */
export interface FailoverReport {
  format: 1;
  /** Left out: a failover. */
  kind?: MoveName;
  customer: string;
  move: string;
  from: string;
  to: string;
  epoch: number | null;
  outcome: EndPhase;
  reason: string;
  requestedBy: string;
  declaredAt: Timestamp;
  disruptedAt: Timestamp;
  /** From when the RTO counts; left out, the disruption. */
  clock?: RtoClock;
  approvedAt: Timestamp | null;
  servedAt: Timestamp | null;
  endedAt: Timestamp;
  planDigest: string | null;
  approvals: { operator: string; at: Timestamp }[];
  /** A commander's word to go on alone; left out when nobody gave it. */
  breakGlass?: BrokenGlass;
  recoveryPoint: Timestamp | null;
  recoveryPointAgeMs: number | null;
  /** From the clock's start until each service that was looked at was found working; null while one was not. */
  rtoMs: number | null;
  rtoPromiseMs: number | null;
  /** Of a planned move: how long its users were served nowhere, at most, ms; null when they were not handed over. */
  unreachableMs?: number | null;
  /** The clock of each service that a step probes. */
  services?: ServiceClock[];
  /** Where the data came from; `standby-copy`: no vault was read, and nothing was compared with one. */
  source?: RecoverySource['from'] | null;
  steps: StepReport[];
  restored: ApplyCounts | null;
  /** Rows that differ between the survivor's database and the snapshot's records, over the users moved. */
  mismatches: number | null;
  notes: { by: string; at: Timestamp; text: string }[];
  alarms: { at: Timestamp; text: string }[];
  /** The stores that were to hold the claim of the epoch beside the survivor's database; left out when none was claimed. */
  claims?: { store: string; claimed: boolean; because: string | null }[];
  /** SHA-256 of the last journal entry, hex: what the report stands on. */
  journalHead: string;
  notTested: string[];
}

/** What the query `status` answers: everything an operator's screen needs, and no name of a user. */
export interface FailoverStatus {
  /** Left out: a failover. */
  kind?: MoveName;
  customer: string;
  move: string;
  /** Whose users move: of a planned move, where it is told. */
  half?: string;
  from: string;
  to: string | null;
  phase: Phase;
  because: string;
  /** One sentence: what the run waits for now. */
  waitsFor: string;
  /** The command that helps it on; null when nothing is asked of anybody. */
  next: string | null;
  declaredAt: Timestamp;
  disruptedAt: Timestamp;
  plan: Plan | null;
  approvals: { operator: string; expiresAt: Timestamp }[];
  /** A commander's word to go on alone, with the moment at which it counts; null when there is none. */
  breakGlass: (BreakGlass & { countsAt: Timestamp | null }) | null;
  steps: StepReport[];
  /** When the run is expected to be through, as it looked after the last step; `ms` after the loss. */
  pace?: { endsAt: Timestamp; ms: number } | null;
  services?: ServiceClock[];
  /** Answers to held steps that another operator has yet to sign. */
  motions: Motion[];
  /** Who has the run in hand; null when nobody took it. */
  owner: string | null;
  paused: { by: string; at: Timestamp; because: string } | null;
  /** Who wants the source to have its users back; null when nobody does. */
  turnBack: TurnBack | null;
  notes: { by: string; at: Timestamp; text: string }[];
  alarms: { at: Timestamp; text: string }[];
  /** Why the evidence of a move that has ended is not in the vault yet; null when it is, or the move has not ended. */
  notSealed?: string | null;
  /** Pages that a channel did not take; `all`: none of them did. */
  unsent: { at: Timestamp; subject: string; channel: string; because: string }[];
}

/** Where its run is: a planned move's is where its users are, a failover's at the survivor; null before that is known. */
export const siteOfMove = ({ kind, from, to }: Pick<FailoverStatus, 'kind' | 'from' | 'to'>): string | null =>
  kind === undefined ? to : from;

/** A verb of a move as it is typed: with the site, for both may answer. Its report is in either vault. */
export function moveCommand(s: Pick<FailoverStatus, 'kind' | 'customer' | 'from' | 'to'>, verb: string): string {
  const site = verb === 'report' ? null : siteOfMove(s);
  return `tandem ${s.kind ?? 'failover'} ${verb} --customer ${s.customer}${site === null ? '' : ` --site ${site}`}`;
}

/** What an update answers; small, because it is kept in the history. */
export interface VerbAnswer {
  phase: Phase;
  waitsFor: string;
}

/** How a failover ends: the report, where people find it, and its key in the vault. */
export interface ClosedMove {
  report: FailoverReport;
  path: string;
  vaultKey: string;
  /** Why the vault of the survivor does not hold the evidence yet; left out when it does. */
  notSealed?: string;
}
