import type { Rules } from './rules.ts';
import type { Start } from './starts.ts';

/**
 * Why each rule is there: without it, this goes wrong. The explorer must find it, from a start that is near it, within the
 * depth that stands here; with the rule it finds nothing there.
 */
export interface Mutation {
  /** The rule, as it would have to be told to somebody who wants to leave it out. */
  rule: string;
  without: Partial<Rules>;
  start: Start;
  selfFence?: boolean;
  /** Parts and links that may fail after the start. */
  faults: number;
  depth: number;
  /** What is found. */
  finds: RegExp;
}

/** Of what is found only where the second line does not mend it within a look, and so hide it. */
export const UNMENDED = { lostHandOvers: () => [] } satisfies Partial<Rules>;

export const TWICE = /both sites (still )?serve/;
export const SILENT = /nothing says why$/;
