import { judgeBucket, type BucketFacts, type Finding } from './bucket.ts';

/** What is wrong with the witness, as the account of one site sees it: it must do what a vault must, and be nobody's alone. */
export function judgeWitness(facts: BucketFacts): Finding[] {
  return judgeBucket(facts, 'own').map((finding) => ({ ...finding, subject: `witness, bucket ${facts.bucket}` }));
}

/** Sites that share an account: what one of them may do cannot be taken from it alone. `accounts`: access key ids by site. */
export function sharedWitness(accounts: ReadonlyMap<string, string>): Finding[] {
  const first = new Map<string, string>();
  return [...accounts].flatMap(([site, id]): Finding[] => {
    const other = first.get(id);
    first.set(id, other ?? site);
    if (other === undefined) return [];
    return [
      {
        severity: 'error',
        subject: 'witness',
        observed: `${other} and ${site} have the same account: a break-in at one would speak for the other`,
        try: 'Give each site an account of its own.',
      },
    ];
  });
}

export const noWitness: Finding = {
  severity: 'warning',
  subject: 'witness',
  observed:
    'none is configured: a lost site is never known to be dead, and how it is isolated must be stated each time',
  try: 'Make a bucket at neither site, with an account for each, and name it as `witness`.',
};
