import type { Isolation } from './plan.ts';
import type { Timestamp } from './snapshots.ts';

/**
 * What looks at a peer come to. A look is a verdict of `verdictOf`; one of them settles nothing, for every network
 * stutters. It counts looks and no clock: a machine that stood still, or whose clock was set, has seen no more than it looked at.
 */
export type Verdict = Isolation['verdict'];

interface Settling {
  /** What was settled before; null: nothing yet. */
  from: readonly (Verdict | null)[];
  /** So many looks in a row that were each one of these. */
  looks: number;
  saw: readonly Verdict[];
  to: Verdict;
  /** What the operator reads. */
  because: string;
}

/** In this order: the first that fits is it. */
export const settlings: readonly Settling[] = [
  {
    from: [null, 'serving', 'unknown'],
    looks: 3,
    saw: ['dead'],
    to: 'dead',
    because: 'three looks in a row found it dead',
  },
  {
    from: [null, 'unknown', 'dead'],
    looks: 3,
    saw: ['serving'],
    to: 'serving',
    because: 'three looks in a row saw it serve',
  },
  {
    from: [null, 'serving'],
    looks: 6,
    saw: ['unknown', 'dead'],
    to: 'unknown',
    because: 'six looks in a row did not see it serve',
  },
  {
    from: ['dead'],
    looks: 6,
    saw: ['unknown', 'serving'],
    to: 'unknown',
    because: 'six looks in a row did not find it dead, and not all saw it serve',
  },
];

const MOST_LOOKS = Math.max(...settlings.map(({ looks }) => looks));

export interface Watch {
  settled: Verdict | null;
  /** Which rule settled it. */
  because: string | null;
  /**
   * Serving: the first look of those in a row that saw it serve. Else the first look that did not, of the run that never
   * recovered: from when users may have been without it.
   */
  since: Timestamp | null;
  /** The newest looks, oldest first; no more than rules ask for. */
  recent: readonly Verdict[];
  /** The first look that did not see it serve, of a run that has not recovered; null while it serves. */
  failingSince: Timestamp | null;
  /** The first of the looks in a row that saw it serve; null when the newest did not. */
  servingSince: Timestamp | null;
  /** The first look at which its client port was silent, of the run that never recovered; null while it answers, or nobody looks. */
  silentSince: Timestamp | null;
}

export const unwatched: Watch = {
  settled: null,
  because: null,
  since: null,
  recent: [],
  failingSince: null,
  servingSince: null,
  silentSince: null,
};

export interface Looked {
  at: Timestamp;
  verdict: Verdict;
  /** The peer's client port; `none`: none is named. */
  clients: 'answers' | 'silent' | 'none';
}

/** What one more look makes of it. */
export function watched(before: Watch, { at, verdict, clients }: Looked): Watch {
  const recent = [...before.recent, verdict].slice(-MOST_LOOKS);
  const servingSince = verdict === 'serving' ? (before.servingSince ?? at) : null;
  // While it is settled to serve, one look that sees it serve ends a stutter; once it is not, only the rule does.
  const stutter = verdict === 'serving' && (before.settled === null || before.settled === 'serving');
  const failingSince = stutter ? null : (before.failingSince ?? (verdict === 'serving' ? null : at));
  const silentSince = clients === 'silent' ? (before.silentSince ?? at) : null;
  const next = { ...before, recent, servingSince, failingSince, silentSince };
  const rule = settlings.find(
    ({ from, looks, saw }) =>
      from.includes(before.settled) && recent.length >= looks && recent.slice(-looks).every((v) => saw.includes(v)),
  );
  if (!rule) return next;
  const { to, because } = rule;
  if (to === 'serving') return { ...next, settled: to, because, since: servingSince, failingSince: null };
  return { ...next, settled: to, because, since: failingSince };
}

/** A part of this very site that was asked and gave no answer, or gave one again. */
export interface Health {
  ill: boolean;
  /** The first look that failed, of the run that never recovered; null while none did. */
  since: Timestamp | null;
  /** Why, by the newest look that failed. */
  because: string | null;
  /** Looks in a row that said otherwise than `ill`. */
  against: number;
}

export const healthy: Health = { ill: false, since: null, because: null, against: 0 };

/** A minute of silence makes a part ill; half a minute of answers makes it well. */
const ILL_TAKES = 6;
const WELL_TAKES = 3;

/** `failed`: why the look failed; null when it did not. */
export function nursed(before: Health, failed: string | null, at: Timestamp): Health {
  const { ill, since, against } = before;
  if (failed === null) return ill && against + 1 < WELL_TAKES ? { ...before, against: against + 1 } : healthy;
  if (ill) return { ...before, because: failed, against: 0 };
  return { ill: against + 1 >= ILL_TAKES, since: since ?? at, because: failed, against: (against + 1) % ILL_TAKES };
}
