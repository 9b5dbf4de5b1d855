import type { SnapshotIndex } from '../vault/snapshot-index.ts';
import type { Keyring } from '../settings.ts';
import { copyOut } from './copy.ts';
import type { Database } from './database.ts';
import type { Differences } from './differences.ts';
import { digestsHere } from './digests.ts';
import { readMoment } from './horizon.ts';
import { notAsTaken } from './read-new.ts';
import { limitReading, READ_ONLY } from './reader.ts';
import { describeTables } from './tables.ts';
import { tupleFields } from './tuples.ts';

/** Whose ledger it is. */
export interface Own {
  customer: string;
  site: string;
}

export interface TakenRequest {
  database: Database;
  own: Own;
  index: SnapshotIndex;
  keys: Keyring;
  /** Only users of these halves. */
  halves: readonly string[];
  /** Hears of each user of these halves whom the snapshot does not have. */
  unknown: (username: string) => void;
  signal: AbortSignal;
}

const LIMIT_MS = 600_000;

/**
 * How users stand here against a snapshot, without a digest of every row: this site's own last snapshot has entered what each
 * user's record is, and only rows that are new since, or missing, can have changed that. Null where that cannot be told, and
 * where somebody of these halves is not served here: the ledger's own entries are about those who are.
 */
export async function differencesByTaken(
  request: TakenRequest,
): Promise<Pick<Differences, 'mayDiffer' | 'isHere'> | null> {
  const { database, own, index, keys, halves, signal } = request;
  const here = new Uint8Array(index.capacity);
  const differs = new Uint8Array(index.capacity);
  return database.transaction(async (client) => {
    await describeTables(client, database.name);
    await limitReading(client, LIMIT_MS);
    const { rows } = await client.query<{ served: boolean }>(
      'select $1::text[] <@ array(select distinct half from tandem.served) as served',
      [halves],
    );
    if (rows[0]?.served !== true) return null;
    const digests = await digestsHere(client, keys);
    const changed = await notAsTaken({ client, request: own, digests, moment: await readMoment(client), signal });
    if (!changed) return null;
    const sql = `select h.username, case when l.served_by = ${client.escapeLiteral(own.site)} then l.record_id end
        from tandem.home h left join tandem.ledger l on l.username = h.username
       where h.site in (${halves.map((half) => client.escapeLiteral(half)).join(', ')})`;
    await copyOut(client, sql, {
      signal,
      onTuple(buffer, name, nameEnd) {
        const username = buffer.toString('utf8', name, nameEnd);
        const user = index.findName(buffer.subarray(name, nameEnd));
        if (user < 0) return request.unknown(username);
        here[user] = 1;
        const [recordId] = tupleFields(buffer, nameEnd, 1);
        if (changed.has(username) || recordId?.equals(index.recordId(user)) !== true) differs[user] = 1;
      },
    });
    return { mayDiffer: (user) => differs[user] === 1, isHere: (user) => here[user] === 1 };
  }, READ_ONLY);
}
