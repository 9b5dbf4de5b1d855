import type { Timestamp } from './snapshots.ts';

/** From when the RTO counts, and by what that is known (DESIGN 4). */
export interface RtoClock {
  from: Timestamp;
  by: 'client-probe' | 'operator' | 'declaration';
}

/** In words, behind `counts from TIME: `. */
export const clockWords: Record<RtoClock['by'], string> = {
  'client-probe': 'the first look at its client port that failed, and none since did not',
  operator: 'an operator says that it was lost then',
  declaration: 'it was declared lost then, and nobody knows better',
};

/**
 * It starts at the first client probe that failed of the run that never recovered, else at the declaration. An operator may
 * move it earlier; what he says later than that changes nothing: users have been waiting since.
 */
export function rtoClock({
  declaredAt,
  disruptedAt,
  silentSince,
}: {
  declaredAt: Timestamp;
  /** As it was typed; null when nobody did. */
  disruptedAt: Timestamp | null;
  silentSince: Timestamp | null;
}): RtoClock {
  const seen: RtoClock =
    silentSince !== null && Date.parse(silentSince) < Date.parse(declaredAt)
      ? { from: silentSince, by: 'client-probe' }
      : { from: declaredAt, by: 'declaration' };
  const earlier = disruptedAt !== null && Date.parse(disruptedAt) < Date.parse(seen.from);
  // What a person says is worth more than the moment at which he said it, also where that is not earlier.
  const told = disruptedAt !== null && (earlier || seen.by === 'declaration');
  return told ? { from: disruptedAt, by: 'operator' } : seen;
}
