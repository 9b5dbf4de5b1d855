import { apart, differenceOf, type UserDifference } from '../vault/diff.ts';
import type { OpenSnapshot } from '../vault/open.ts';
import { encodeRecord, noRows } from '../vault/record.ts';
import type { Keyring } from '../settings.ts';
import { batches } from './batches.ts';
import type { Database } from './database.ts';
import { findDifferences } from './differences.ts';
import { readUsers } from './rows.ts';

export interface LiveDiffRequest {
  database: Database;
  snapshot: OpenSnapshot;
  keys: Keyring;
  signal: AbortSignal;
}

/** Users whose rows are read in one statement. */
const BATCH_USERS = 500;

/**
 * Users who differ between a snapshot and the rows that stand in a database, in no order: what the difference to a
 * snapshot would be that its site took of them now. Only users whom the ledger cannot vouch for are read.
 */
export async function* diffLive(request: LiveDiffRequest): AsyncGenerator<UserDifference> {
  const { database, snapshot, keys, signal } = request;
  const halves = await halvesOf(request);
  const unknown: string[] = [];
  const { mayDiffer, isHere } = await findDifferences({
    database,
    index: () => snapshot.index(),
    keys,
    halves,
    unjudged: true,
    unknown: (username) => unknown.push(username),
    signal,
  });
  const index = await snapshot.index();
  const read = async (usernames: readonly string[]): Promise<Map<string, Buffer>> => {
    const rows = await database.connection((client) => readUsers(client, usernames));
    return new Map(usernames.map((name) => [name, encodeRecord(name, rows.get(name) ?? noRows())]));
  };
  for await (const batch of batches(apart(snapshot.records((user) => mayDiffer(user) || !isHere(user))))) {
    signal.throwIfAborted();
    const here = await read(batch.map((r) => r.username).filter((name) => isHere(index.findName(name))));
    for (const { username, bytes } of batch) {
      const difference = differenceOf(username, bytes, here.get(username) ?? null);
      if (difference) yield difference;
    }
  }
  for (let first = 0; first < unknown.length; first += BATCH_USERS) {
    signal.throwIfAborted();
    for (const [username, bytes] of await read(unknown.slice(first, first + BATCH_USERS))) {
      const difference = differenceOf(username, null, bytes);
      if (difference) yield difference;
    }
  }
}

/** Whose users the site of the snapshot serves, by this database; while it serves nobody, those who belong there. */
async function halvesOf({ database, snapshot }: LiveDiffRequest): Promise<string[]> {
  const { customer, site } = snapshot.summary;
  const rows = await database.query<{ half: string }>(
    `select s.half from tandem.serving s join tandem.epoch e on e.customer = s.customer and e.number = s.epoch
      where s.customer = $1 and s.site = $2`,
    [customer, site],
  );
  return rows.length > 0 ? rows.map(({ half }) => half) : [site];
}
