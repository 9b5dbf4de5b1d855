import type { Client } from '@temporalio/client';
import { moveCommand, type FailoverStatus, type MoveName } from '../../workflows/model/moves.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { endPhases } from '../../workflows/model/phases.ts';
import { Fault } from '../fault.ts';
import { lastBegun, standsBecause } from '../moves.ts';
import { waitingOf, type Waiting } from './as-planned.ts';

/** A site's move in one line of `status`. */
export interface FailoverLine {
  failover: string | null;
  kind: MoveName | null;
  /** What is to be looked at of one that is under way. */
  next: string | null;
  /** Whether it waits for people. */
  asks: boolean;
  /** A planned move that they are asked to sign. */
  waiting: Waiting | null;
}

/** None was ever started here, or its worker is away. */
export const noFailover: FailoverLine = { failover: null, kind: null, next: null, asks: false, waiting: null };

/** Of a customer's moves the one that goes on, else the one that was asked for last; what was refused never began. */
export async function failoverOf(client: Client, customer: string): Promise<FailoverLine> {
  const known = await Promise.all(
    (['failover', 'relocate'] as const).map(async (workflow) => {
      const handle = await lastBegun(client, workflow, customer).catch(() => null);
      const s = await handle?.query<FailoverStatus>('status').catch(() => null);
      return handle && s ? [{ handle, s }] : [];
    }),
  );
  const found = known.flat().toSorted((a, b) => b.s.declaredAt.localeCompare(a.s.declaredAt));
  const lines = await Promise.all(
    found.map(async ({ handle, s }) => {
      const stands = await standsBecause(handle, s).catch(() => null);
      return { line: lineOf(s, stands), runs: !stands && !endPhases.includes(s.phase) };
    }),
  );
  // One whose run is gone holds the slot only while no newer one has taken it.
  return (lines.find(({ runs }) => runs) ?? lines[0])?.line ?? noFailover;
}

function lineOf(s: FailoverStatus, stands: Error | null): FailoverLine {
  const { kind = 'failover' } = s;
  const told = `${kind}: `;
  const over = endPhases.includes(s.phase);
  // One that has given up holds no slot, and nothing of it can be gone on with.
  if (stands && !(stands instanceof Fault))
    return { ...noFailover, kind, failover: `${told}failed: ${failureText(stands)}` };
  if (stands)
    return {
      ...noFailover,
      kind,
      failover: `${told}${s.phase}, STANDS: its run has been ended`,
      next: moveCommand(s, 'resume'),
      asks: true,
    };
  return {
    failover: over && !s.notSealed ? `${told}${s.phase}` : `${told}${s.phase}, waits for ${s.waitsFor}`,
    kind,
    next: over ? null : moveCommand(s, 'watch'),
    asks: !over && s.next !== null,
    waiting: waitingOf(s),
  };
}
