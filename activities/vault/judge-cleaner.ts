import { failures } from '../../workflows/model/failures.ts';
import type { VaultAccess } from '../settings.ts';
import type { BucketFacts, Finding } from './bucket.ts';

/** All that retention needs, by the names that policies give it. */
const RIGHTS =
  's3:ListBucket, s3:ListBucketVersions, s3:GetObjectRetention, s3:GetObjectLegalHold, s3:DeleteObjectVersion';

/** What is wrong with the credentials of a site's own retention; of the bucket itself, its writer tells. */
export function judgeCleaner(facts: BucketFacts): Finding[] {
  const subject = `vault ${facts.site}, bucket ${facts.bucket}`;
  const { reachable, because, rights } = facts;
  if (!reachable) {
    const observed = `the cleaner's credentials: ${because ?? 'not reachable'}`;
    return [{ severity: 'error', subject, observed, try: facts.next ?? failures['vault-unreachable'].try }];
  }
  const found: Finding[] = [];
  for (const right of ['list', 'delete'] as const)
    if (rights[right] === false)
      found.push({
        severity: 'error',
        subject,
        observed: `the cleaner's credentials cannot ${right}: nothing is ever deleted`,
        try: `Allow them ${RIGHTS} in the policy of the bucket.`,
      });
  if (rights.put)
    found.push({
      severity: 'error',
      subject,
      observed: "the cleaner's credentials can put: who deletes could then write something else in its place",
      try: `Leave them ${RIGHTS}, and no others.`,
    });
  return found;
}

/** A site without such credentials: its vault grows for ever. */
export const noCleaner = ({ site, bucket }: VaultAccess): Finding => ({
  severity: 'warning',
  subject: `vault ${site}, bucket ${bucket}`,
  observed: 'there is no cleaner: nothing is ever deleted',
  try: `Make an account with ${RIGHTS} and name it as \`vault.cleaner\` of ${site}.`,
});
