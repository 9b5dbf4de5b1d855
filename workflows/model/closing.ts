import { duration } from './rto.ts';
import type { Timestamp } from './snapshots.ts';

/** When a site closes itself. While it is closed it serves nobody of the customer, whatever its serving rows say. */

/**
 * cut-off: it saw neither its peer nor the witness. was-down: it was away, and what it may serve may have been taken
 * from it meanwhile. fork: two sites claimed one epoch. operator: somebody said so.
 */
export const closingKinds = ['cut-off', 'was-down', 'fork', 'operator'] as const;
export type ClosingKind = (typeof closingKinds)[number];

export interface Closing {
  /** One closing: a word to open counts for it, and for no other. */
  id: string;
  kind: ClosingKind;
  because: string;
  since: Timestamp;
  /** Why it was not opened when that was last tried, and when; null when it never was. */
  waitsFor: string | null;
  triedAt: Timestamp | null;
}

/** A site that was away for longer does not know whether it may still serve. */
export const DOWN_MS = 300_000;
/** Two connections read one clock a moment apart. A sign of life from further ahead is none: the clock was changed. */
const AHEAD_MS = 10_000;

/** What is known when a worker is about to say that its site lives. */
export interface Absence {
  /** Of the last sign of life, by the clock of the database that keeps it; null when it keeps none. */
  signAgeMs: number | null;
  /** Since this very process last said so, by a clock that nobody can set; null when it never did. */
  ranMs: number | null;
  /** By its rows and the newest epoch it would serve somebody. */
  serves: boolean;
  /** The peer says that it may, now. */
  confirmed: boolean;
  /** Its service has been there all the while: only the worker was away. */
  serviceRan: boolean;
}

/**
 * Why a site must be taken for one that was down; null when it need not be. Of a database whose clock was set by more than
 * DOWN_MS while no worker ran nobody can tell how long ago that was: without a word of the peer or of the service it counts
 * as down. So does one without any sign of life, for a database has one from the moment it is prepared.
 */
export function whyWasDown({ signAgeMs, ranMs, serves, confirmed, serviceRan }: Absence): string | null {
  if (!serves || confirmed || serviceRan) return null;
  if (ranMs !== null && ranMs <= DOWN_MS) return null;
  if (signAgeMs === null) return 'its database holds no sign of life of this site';
  if (signAgeMs < -AHEAD_MS) return `its last sign of life is ${duration(-signAgeMs)} ahead of its database's clock`;
  if (signAgeMs <= DOWN_MS) return null;
  return `its last sign of life is ${duration(signAgeMs)} old, limit ${duration(DOWN_MS)}`;
}

/** How long a site has seen neither its peer nor the witness. Moments in ms, of a clock that nobody can set. */
export interface Lookout {
  /** When one of them was last seen, or the looking began. */
  seenAt: number;
  /** Looks since then. */
  missed: number;
}

/** A process that stood still has looked at nobody meanwhile: its first look after that says little. */
const LOOKS = 3;

export const beginLookout = (now: number): Lookout => ({ seenAt: now, missed: 0 });

/** One look at either of them begins anew. */
export function lookOut(was: Lookout, now: number, saw: boolean): Lookout {
  return saw ? beginLookout(now) : { ...was, missed: was.missed + 1 };
}

/** Why a site must close itself (`self-fence`); null while it need not. */
export function whyCutOff({ seenAt, missed }: Lookout, now: number, limitMs: number): string | null {
  const silentMs = now - seenAt;
  if (silentMs < limitMs || missed < LOOKS) return null;
  return `neither its peer nor the witness was seen for ${duration(silentMs)}, limit ${duration(limitMs)}`;
}
