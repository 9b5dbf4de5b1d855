import type { PoolClient } from 'pg';
import type { Keyring } from '../settings.ts';
import { digestsOfLedger, digestUsers } from './digests.ts';

/** A move that has brought users, and serves them at this site. */
export interface Brought {
  keys: Keyring;
  halves: readonly string[];
  by: { site: string; epoch: number };
}

/**
 * Which of these users have other rows than the move left: the ledger has the digest of what it wrote, taken in the same
 * transaction, so a row that the restore itself has got wrong is none of these. Users who are in a snapshot of this site's
 * own since then count: the ledger speaks of that one now.
 */
export async function changedSince(
  client: PoolClient,
  names: readonly string[],
  { keys, halves, by }: Brought,
): Promise<Set<string>> {
  const digests = await digestsOfLedger(client, keys, halves);
  if (!digests) return new Set();
  const now = await digestUsers(client, digests, names);
  const { rows } = await client.query<{ username: string; digest: Buffer | null; own: boolean }>(
    `select username, digest, served_by = $2 and epoch >= $3 as own from tandem.ledger where username = any($1)`,
    [names, by.site, by.epoch],
  );
  const changed = rows.filter(
    ({ username, digest, own }) =>
      own ||
      (digest?.subarray(0, digests.tag.length).equals(digests.tag) && now.get(username)?.equals(digest) === false),
  );
  return new Set(changed.map(({ username }) => username));
}
