import { duration } from '../../workflows/model/rto.ts';
import { ageMs } from '../../workflows/model/snapshots.ts';
import { peerQuery, within } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import type { DirectoryState } from './answer.ts';

/** Whether both sites go by the same answer: told by digests, which name nobody. */

/** By what a site goes. */
export type InForce = Pick<DirectoryState, 'at' | 'users' | 'digest' | 'digestAt'>;

/** A peer is asked for no longer; it may be the lost one. */
const PEER_LIMIT_MS = 4000;
/** A look at the directory takes so long at the most. */
const LOOK_MS = 120_000;

/** Null when the peer has never asked. Fails when it does not answer. */
export async function peerAnswer(
  { id, peer, peerDatabaseUrl }: Pick<CustomerSettings, 'id' | 'peer' | 'peerDatabaseUrl'>,
  outer: AbortSignal,
): Promise<InForce | null> {
  const sql = 'select at, users, digest, digest_at as "digestAt" from tandem.observe_directory() where customer = $1';
  const rows = await within(
    PEER_LIMIT_MS,
    `database of ${id} at ${peer}`,
    (signal) =>
      peerQuery<Record<'at' | 'digestAt', Date | null> & Omit<InForce, 'at' | 'digestAt'>>(
        peerDatabaseUrl,
        PEER_LIMIT_MS,
        sql,
        [id],
        signal,
      ),
    outer,
  );
  const [row] = rows;
  return row ? { ...row, at: row.at?.toISOString() ?? null, digestAt: row.digestAt?.toISOString() ?? null } : null;
}

/**
 * How the answers of two sites differ, for people; null while they are alike, or may be by the next turn of the follower
 * that has not yet heard of the newest change. A site that has none says so itself.
 */
export function tellDifference(
  answers: readonly (readonly [site: string, answer: InForce | null])[],
  everyMs: number,
  now: number,
): string | null {
  const [[one, first] = ['', null], [two, second] = ['', null]] = answers;
  if (first?.digest == null || second?.digest == null || first.digest === second.digest) return null;
  const changes = [first, second].map(({ digestAt, at }) => Date.parse(digestAt ?? at ?? ''));
  const since = new Date(Math.max(...changes)).toISOString();
  if (ageMs(since, now) <= everyMs + LOOK_MS) return null;
  const told = (site: string, { users, at }: InForce): string =>
    `${users} users are entitled at ${site} (answer ${at === null ? '' : duration(ageMs(at, now))} old)`;
  return `the sites go by different answers of the directory since ${duration(ageMs(since, now))}: ${told(one, first)}, ${told(two, second)}`;
}
