import { nearest } from '../../runbooks/yaml.ts';
import type { Act } from '../../workflows/model/acts.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { Seen } from './check.ts';

/** What a service that is not ours is told: which step of which move asks. Nothing in here is personal. */
export interface OutsideCall {
  /** `<customer>/<epoch>/<step>/<round>`: the same in every attempt, so that what was done once is not done twice. */
  key: string;
  customer: string;
  move: string;
  epoch: number;
  act: Act;
  step: string;
  round: number;
  from: string;
  to: string;
}

export interface OutsideLimits {
  /** Of this attempt, ms. */
  limitMs: number;
  /** Ends it before that: it was cancelled, or the epoch is no longer held. */
  signal: AbortSignal;
}

/**
 * An effect outside: something that a service which is not ours does for a step. Every adapter promises:
 *
 * - only what the site's configuration lists is ever called: any other name is `not-configured`, and nothing is done;
 * - the service is told key, epoch and move, and the same key by every attempt of a step and round;
 * - no promise settles before the effect has ended at this side: at the limit, at the signal and when the answer is too
 *   large it is ended, not left alone; when this process dies, it is ended without it;
 * - a service that knows a newer epoch is `epoch-superseded`; one that says "later" or cannot be reached is a failure that
 *   is tried again; one that says no is a failure that is not;
 * - of what the service answers, only its status, sizes, digests and at most a short printable piece are handed on.
 */
export interface OutsideEffect {
  /** What the configuration gives an attempt, ms. */
  limitMs(name: string): number;
  perform(name: string, call: OutsideCall, limits: OutsideLimits): Promise<StepResult>;
  /** Whether the effect stands, whoever made it. Changes nothing; what cannot be found out is not seen. */
  check(name: string, call: OutsideCall, limits: OutsideLimits): Promise<Seen>;
}

/** The entry of this name. What the configuration of the site does not list is not called, whatever a runbook says. */
export function listed<T>(what: 'request' | 'command', entries: ReadonlyMap<string, T>, name: string, site: string): T {
  const entry = entries.get(name);
  if (entry !== undefined) return entry;
  const instead = entries.size > 0 ? nearest(name, [...entries.keys()]) : 'it lists none';
  throw failure('not-configured', `${what} ${JSON.stringify(name)}: ${site} does not list it; ${instead}`);
}
