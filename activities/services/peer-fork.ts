import { failureText } from '../../workflows/model/failures.ts';
import type { Epoch } from '../../workflows/model/epoch.ts';
import type { ForkLines } from '../../workflows/model/fork.ts';
import { peerQuery, within } from '../probes/peer.ts';
import type { Database } from '../contacts/database.ts';
import type { CustomerSettings } from '../settings.ts';
import { askPeerRights } from './peer-rights.ts';
import type { PickWord } from './pick-words.ts';

/** What one question to the peer may take. */
const LIMIT_MS = 3000;

/** What the peer's own database was heard to say of a fork. */
export type PeerFork =
  | { state: 'silent'; because: string }
  | {
      state: 'says';
      epoch: Epoch;
      /** What it has noted; null when nothing. */
      fork: ForkLines | null;
      /** Signed words that were given there: judged here. */
      words: PickWord[];
    };

interface Row extends Record<string, unknown> {
  fork: { number: number; here_site: string; here_move: string; there_site: string; there_move: string } | null;
  words: PickWord[] | null;
}

const SQL = `select (select to_jsonb(f) from tandem.observe_fork() f where f.customer = $1) as fork,
                    (select jsonb_agg(p.word) from tandem.observe_picks() p where p.customer = $1) as words`;

/** Asks whether the peer's database, and no other, has noted a fork. Never rejects, but when it is told to stop. */
export async function askPeerFork(customer: CustomerSettings, own: Database, signal?: AbortSignal): Promise<PeerFork> {
  const { id, peer, peerDatabaseUrl } = customer;
  // By that it is known to be the peer's, and of this customer.
  const rights = await askPeerRights(customer, own, signal);
  if (rights.state !== 'says') return { state: 'silent', because: rights.because };
  try {
    const [row] = await within(
      LIMIT_MS,
      `database of ${id} at ${peer}`,
      (limit) => peerQuery<Row>(peerDatabaseUrl, LIMIT_MS, SQL, [id], limit),
      signal,
    );
    const { fork = null, words = null } = row ?? {};
    return {
      state: 'says',
      epoch: rights.epoch,
      fork: fork && {
        number: fork.number,
        here: { site: fork.here_site, move: fork.here_move },
        there: { site: fork.there_site, move: fork.there_move },
      },
      words: words ?? [],
    };
  } catch (error) {
    signal?.throwIfAborted();
    return { state: 'silent', because: failureText(error) };
  }
}
