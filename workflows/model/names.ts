import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import type { MoveWorkflow } from './moves.ts';

/** One queue a site: what runs here never waits for a worker there. */
export const taskQueue = (site: string): string => `tandem-${site}`;

/** Of the run of a move: a customer has one of each workflow at a time, and one slot for both. */
export const moveId = (workflow: MoveWorkflow, customer: string): string => `${workflow}/${customer}`;

/** The run at each site that tells what its watch has come to. */
export const watchId = (customer: string): string => `watch/${customer}`;

/** Schedule ids, per customer, on each site's own Temporal service. */
export const scheduleIds = {
  snapshotEvery: (customer: string) => `snapshot/${customer}/every`,
  snapshotBetween: (customer: string) => `snapshot/${customer}/between`,
  standby: (customer: string) => `standby/${customer}`,
  provisioning: (customer: string) => `provisioning/${customer}`,
  readiness: (customer: string) => `readiness/${customer}`,
  retention: (customer: string) => `retention/${customer}`,
  continuityTest: (customer: string) => `continuity-test/${customer}`,
} as const;

/** Visible in Temporal UI's lists without a worker. */
export const searchAttributes = {
  customer: defineSearchAttributeKey('TandemCustomer', SearchAttributeType.KEYWORD),
  phase: defineSearchAttributeKey('TandemPhase', SearchAttributeType.KEYWORD),
  held: defineSearchAttributeKey('TandemHeld', SearchAttributeType.KEYWORD),
} as const;
