import { living, type Approval } from './approvals.ts';

/** One commander alone: everybody who could stop him has this long to do so, from the moment he was paged (DESIGN 4). */
export const BREAK_GLASS_MS = 600_000;

/** A commander's word that he goes on alone. */
export interface BreakGlass {
  operator: string;
  because: string;
  digest: string;
  /** Of the signed text. */
  nonce: string;
  /** When somebody was paged, ms since the epoch; null while it is tried. */
  pagedAt: number | null;
  /** The channels that took the page. */
  sent: string[];
  /** Once stopped, nobody goes on alone in this move: whoever stopped it is there to sign. */
  stoppedBy: string | null;
}

/** What reports tell of it. */
export type BrokenGlass = Pick<BreakGlass, 'operator' | 'because' | 'sent' | 'stoppedBy'> & {
  pagedAt: string | null;
  /** Whether the steps began by it. */
  counted: boolean;
};

/** When it counts as approval, unless it is stopped; null when it never will. */
export function countsAt(glass: BreakGlass | null): number | null {
  return glass && glass.pagedAt !== null && glass.stoppedBy === null ? glass.pagedAt + BREAK_GLASS_MS : null;
}

/** Whether one commander's word is enough at `now`: paged, not stopped in ten minutes, and still alive. */
export function standsAlone(glass: BreakGlass | null, approvals: readonly Approval[], now: number): boolean {
  const at = countsAt(glass);
  if (at === null || now < at) return false;
  return living(approvals, now).some((a) => a.commander && a.operator === glass?.operator);
}
