/**
 * What became of the subscriptions between users of the lost half, whose contacts are as old as the snapshot, and users of
 * the survivor, whose contacts are of now. Numbers of pairs of users, as facts of the step that restored.
 */
export interface PairCounts {
  /** Pairs of a restored user and one of the survivor's, of whom one at the least has a subscription or a request. */
  pairs: number;
  /** Of these, whose two sides said different things; the sum of the next four. */
  pairsDisagreed: number;
  /** Restored sides that say what the current one says now. */
  pairsMended: number;
  /** A block or privacy list of one denies the other: what it had more was taken away, nothing was granted. */
  pairsBlocked: number;
  /** The contact list of the restored user is full. */
  pairsOverLimit: number;
  /** One side has a subscription and the other none at all, with so many that these rosters were never kept on both. */
  pairsOneSided: number;
  /** Pairs of two restored users that disagree: both are of the same time, so that none is current. */
  pairsWithin: number;
  /** Contacts of restored users at other domains, whose side is not ours to see. */
  pairsElsewhere: number;
}

/** What was found and done, in one line; empty where both sides of all pairs said the same. */
export function tellPairs(counts: PairCounts): string {
  const { pairsDisagreed, pairs, pairsMended } = counts;
  const rest: [number, string][] = [
    [counts.pairsBlocked, 'left because of a block'],
    [counts.pairsOverLimit, 'left because the contact list is full'],
    [counts.pairsOneSided, 'left because so many stand on one side only'],
  ];
  const left = rest.flatMap(([n, because]) => (n > 0 ? [`, ${n} ${because}`] : [])).join('');
  const within = counts.pairsWithin > 0 ? `; ${counts.pairsWithin} pairs of restored users disagree` : '';
  if (pairsDisagreed === 0) return within.slice(2);
  return `subscriptions: ${pairsDisagreed} of ${pairs} pairs disagreed, ${pairsMended} mended from the current side${left}${within}`;
}

/** The counts among the facts of a step; null when it has none, as before they were taken. */
export function pairsOf(facts: Readonly<Record<string, unknown>>): PairCounts | null {
  return typeof facts['pairs'] === 'number' ? (facts as unknown as PairCounts) : null;
}

/** For a report: also that nothing was found, and what nobody could look at. */
export function describePairs(counts: PairCounts): string {
  const told = tellPairs(counts).replace(/^subscriptions: /, '');
  const agreed = `both sides of all ${counts.pairs} pairs say the same`;
  const found = counts.pairsDisagreed > 0 ? told : told === '' ? agreed : `${agreed}; ${told}`;
  const elsewhere = `${counts.pairsElsewhere} contacts at other domains cannot be compared`;
  return counts.pairsElsewhere > 0 ? `${found}; ${elsewhere}` : found;
}
