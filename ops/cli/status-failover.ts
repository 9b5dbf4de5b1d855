import type { Client } from '@temporalio/client';
import type { FailoverStatus } from '../../workflows/model/moves.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { endPhases } from '../../workflows/model/phases.ts';
import { Fault } from '../fault.ts';
import { moveHandle, standsBecause, type FailoverHandle } from '../moves.ts';

/** A site's failover in one line of `status`. */
export interface FailoverLine {
  failover: string | null;
  /** What is to be looked at of one that is under way. */
  next: string | null;
  /** Whether it waits for people. */
  asks: boolean;
}

/** None was ever started here, or its worker is away. */
export const noFailover: FailoverLine = { failover: null, next: null, asks: false };

/** Of a customer's moves the one that goes on, else the one that was asked for last. */
export async function failoverOf(client: Client, customer: string): Promise<FailoverLine> {
  const known = await Promise.all(
    (['failover', 'relocate'] as const).map(async (workflow) => {
      const handle = moveHandle(client, workflow, customer);
      const s = await handle.query<FailoverStatus>('status').catch(() => null);
      return s ? [{ handle, s }] : [];
    }),
  );
  const found = known.flat().toSorted((a, b) => b.s.declaredAt.localeCompare(a.s.declaredAt));
  const live = found.find(({ s }) => !endPhases.includes(s.phase)) ?? found[0];
  if (!live) return noFailover;
  return lineOf(live.handle, live.s, customer);
}

async function lineOf(handle: FailoverHandle, s: FailoverStatus, customer: string): Promise<FailoverLine> {
  const { kind = 'failover' } = s;
  const told = `${kind}: `;
  const over = endPhases.includes(s.phase);
  const stands = await standsBecause(handle, s).catch(() => null);
  // One that failed was refused or has given up: it holds no slot, and nothing of it can be gone on with.
  if (stands && !(stands instanceof Fault)) return { ...noFailover, failover: `${told}failed: ${failureText(stands)}` };
  if (stands)
    return {
      failover: `${told}${s.phase}, STANDS: its run has been ended`,
      next: `tandem ${kind} resume --customer ${customer}`,
      asks: true,
    };
  return {
    failover: `${told}${s.phase}, waits for ${s.waitsFor}`,
    next: over ? null : `tandem ${kind} watch --customer ${customer}`,
    asks: !over && s.next !== null,
  };
}
