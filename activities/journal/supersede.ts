import type { PoolClient } from 'pg';
import { moveName, type FailoverReport, type MoveInput, type Resumed } from '../../workflows/model/moves.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import { claimsOf } from '../services/claims.ts';
import { appendJournal } from './chain.ts';
import { readMove } from './resume.ts';
import { CLOSE } from './seal.ts';

export interface Superseded {
  customer: string;
  move: string;
  input: MoveInput;
  startedAt: Timestamp;
  /** The move that takes the slot. */
  by: string;
  at: Timestamp;
}

/**
 * Ends a planned move in favour of a failover (DESIGN 2: failover > relocate), in the transaction that gives that one the slot:
 * its journal is closed from then on, so that no effect of it which is under way can be noted any more, and none lands.
 */
export async function supersede(client: PoolClient, lower: Superseded): Promise<void> {
  const { customer, move, by, at } = lower;
  const state = await readMove(client, lower);
  const claims = await claimsOf(client, move);
  const report = reportOf(lower, state);
  await appendJournal(client, {
    customer,
    move,
    key: CLOSE,
    kind: 'closed',
    at,
    body: { outcome: 'superseded', by, report: claims.length > 0 ? { ...report, claims } : report },
  });
  await client.query(`update tandem.move set phase = 'superseded', ended_at = $2 where move = $1`, [move, at]);
}

/** What is known of it by its journal: its run may be gone. */
function reportOf(
  { customer, move, input, by, at }: Superseded,
  { declaredAt, approvedAt, plan, approvals, steps, notes, alarms }: Resumed,
): Omit<FailoverReport, 'journalHead'> {
  const served = steps.find((s) => s.act === 'serve-users' && s.state === 'done');
  const claimed = steps.some((s) => s.act === 'advance-epoch' && s.state === 'done');
  return {
    format: 1,
    kind: moveName('relocate', input),
    unreachableMs: null,
    customer,
    move,
    from: input.from,
    to: input.to ?? '',
    epoch: claimed ? (plan?.decisions.epoch ?? null) : null,
    outcome: 'superseded',
    reason: input.reason,
    requestedBy: input.requestedBy,
    declaredAt,
    disruptedAt: declaredAt,
    approvedAt,
    servedAt: served?.endedAt ?? null,
    endedAt: at,
    planDigest: plan?.digest ?? null,
    approvals: approvals.map((a) => ({ operator: a.operator, at: new Date(a.receivedAt).toISOString() })),
    recoveryPoint: null,
    recoveryPointAgeMs: null,
    rtoMs: null,
    rtoPromiseMs: null,
    services: [],
    source: null,
    steps,
    restored: null,
    mismatches: null,
    notes,
    alarms,
    notTested: [`all that was still to come: failover ${by} took the slot`],
  };
}
