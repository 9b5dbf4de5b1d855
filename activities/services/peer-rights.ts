import { failureText } from '../../workflows/model/failures.ts';
import { isHalf } from '../../workflows/model/half.ts';
import type { PeerHalf, PeerRights } from '../../workflows/model/opening.ts';
import { isServersAnswer, peerQuery, within } from '../probes/peer.ts';
import type { Database } from '../contacts/database.ts';
import type { CustomerSettings } from '../settings.ts';

/** What one question to the peer may take. */
const LIMIT_MS = 3000;

/** One database of one server: a peer's address that leads to this site's own would have a site confirm itself. */
const WHICH = `(select pg_postmaster_start_time()::text || ' ' || oid from pg_database where datname = current_database()) as which`;

/** What `tandem.observe()` tells of one half; numbers as texts. */
export interface ObservedRow {
  customer: string;
  half: string;
  site: string;
  epoch: string;
  newest: string;
  claimed_by: string;
  move: string;
  open: boolean;
}

type Row = ObservedRow & { which: string };

/** Asks the peer's database who serves the customer. Never rejects, but when it is told to stop. */
export async function askPeerRights(
  customer: CustomerSettings,
  own: Database,
  signal?: AbortSignal,
): Promise<PeerRights> {
  const { id, peer, peerDatabaseUrl } = customer;
  const sql = `select customer, half, site, epoch::text, newest::text, claimed_by, move, open, ${WHICH} from tandem.observe()`;
  try {
    const rows = await within(
      LIMIT_MS,
      `database of ${id} at ${peer}`,
      (limit) => peerQuery<Row & Record<string, unknown>>(peerDatabaseUrl, LIMIT_MS, sql, [], limit),
      signal,
    );
    const [mine] = await own.query<{ which: string }>(`select ${WHICH}`);
    if (rows.some((row) => row.which === mine?.which))
      return { state: 'silent', because: `the address of the database of ${peer} leads to this site's own` };
    return understood(rows, customer);
  } catch (error) {
    signal?.throwIfAborted();
    return { state: isServersAnswer(error) ? 'unclear' : 'silent', because: failureText(error) };
  }
}

/** What does not speak of this customer, with one voice, confirms nothing. */
function understood(rows: readonly Row[], { id, peer, sites }: CustomerSettings): PeerRights {
  const unclear = (because: string): PeerRights => ({ state: 'unclear', because });
  const [first] = rows;
  if (!first) return unclear(`the database of ${peer} names nobody who serves`);
  if (rows.some((row) => row.customer !== id)) return unclear(`the database of ${peer} is that of another customer`);
  const told = (row: Row): string => JSON.stringify([row.newest, row.claimed_by, row.move]);
  const names = new Set(rows.map((row) => row.half));
  if (rows.some((row) => told(row) !== told(first)) || names.size !== rows.length)
    return unclear(`the database of ${peer} contradicts itself`);
  if (rows.some((row) => !isHalf(row.half, sites) || !sites.includes(row.site)))
    return unclear(`the database of ${peer} names other sites`);
  const halves = rows.map(({ half, site, epoch, open }): PeerHalf => ({ half, site, epoch: Number(epoch), open }));
  return { state: 'says', epoch: { number: Number(first.newest), site: first.claimed_by, move: first.move }, halves };
}
