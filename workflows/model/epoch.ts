/** The fencing token of a move (DESIGN 2): stores refuse a lower number, and an equal one of another move. */
export interface Epoch {
  number: number;
  /** The claiming site. */
  site: string;
  move: string;
}

/** What a store answers to `offered` when it holds `held`. */
export type EpochVerdict = 'newer' | 'same' | 'refused';

export function compareEpoch(held: Epoch | null, offered: Epoch): EpochVerdict {
  if (held === null || offered.number > held.number) return 'newer';
  if (offered.number < held.number) return 'refused';
  return offered.site === held.site && offered.move === held.move ? 'same' : 'refused';
}
