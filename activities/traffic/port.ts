import type { Seen } from '../services/check.ts';
import type { Epoch } from '../../workflows/model/epoch.ts';
import type { StepResult } from '../../workflows/model/moves.ts';

/** Where users are to be led, and by which move. */
export interface Shift {
  customer: string;
  epoch: Epoch;
  /** Sites that serve after it. Users are led to these, and to no other site. */
  to: readonly string[];
}

/**
 * A switch that leads users to sites: names they look up, or a proxy they come through. Every adapter promises:
 *
 * - `shift` leads them to the sites of `to` only, whatever stood there, or fails; and looks that it is so before it answers;
 * - it is safe to repeat: what stands as it should is not changed;
 * - what holds its own epoch, or can, refuses a stale one with `epoch-superseded`; the others are called under a lock on the
 *   epoch that their caller holds;
 * - a switch that is silent, hangs or is gone is a failure within seconds, that is tried again; one that says no is a
 *   failure that is not; the signal ends it at once, with the signal's own reason;
 * - `look` and `prove` change nothing.
 */
export interface TrafficSwitch {
  shift(shift: Shift, signal: AbortSignal): Promise<StepResult>;
  /** Whether users are led as `shift` would. */
  look(shift: Shift, signal: AbortSignal): Promise<Seen>;
  /** Before anything is lost: whether it is there, obeys, and knows what the configuration names. One line; a failure says what is wrong. */
  prove(signal: AbortSignal): Promise<string>;
}
