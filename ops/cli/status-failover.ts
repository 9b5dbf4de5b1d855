import type { Client } from '@temporalio/client';
import type { FailoverStatus } from '../../workflows/model/moves.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { endPhases } from '../../workflows/model/phases.ts';
import { Fault } from '../fault.ts';
import { failoverHandle, standsBecause } from '../moves.ts';

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

export async function failoverOf(client: Client, customer: string): Promise<FailoverLine> {
  const handle = failoverHandle(client, customer);
  const s = await handle.query<FailoverStatus>('status').catch(() => null);
  if (!s) return noFailover;
  const over = endPhases.includes(s.phase);
  const stands = await standsBecause(handle, s).catch(() => null);
  // One that failed was refused or has given up: it holds no slot, and nothing of it can be gone on with.
  if (stands && !(stands instanceof Fault)) return { ...noFailover, failover: `failed: ${failureText(stands)}` };
  if (stands)
    return {
      failover: `${s.phase}, STANDS: its run has been ended`,
      next: `tandem failover resume --customer ${customer}`,
      asks: true,
    };
  return {
    failover: `${s.phase}, waits for ${s.waitsFor}`,
    next: over ? null : `tandem failover watch --customer ${customer}`,
    asks: !over && s.next !== null,
  };
}
