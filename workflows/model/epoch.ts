/** The fencing token of a move (DESIGN 2): stores refuse a lower number, and an equal one of another move. */
export interface Epoch {
  number: number;
  /** The claiming site. */
  site: string;
  move: string;
}

/**
 * An epoch as its claimant has written it down. That of a planned move closes its peer for what is not among `keeps` only, and
 * only when the peer held the epoch that it `follows`.
 */
export interface Claim extends Epoch {
  follows?: number;
  keeps?: readonly string[];
}

/** What a store answers to `offered` when it holds `held`. */
export type EpochVerdict = 'newer' | 'same' | 'refused';

export function compareEpoch(held: Epoch | null, offered: Epoch): EpochVerdict {
  if (held === null || offered.number > held.number) return 'newer';
  if (offered.number < held.number) return 'refused';
  return offered.site === held.site && offered.move === held.move ? 'same' : 'refused';
}
