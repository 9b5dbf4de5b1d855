import { Lookup } from '../vault/diff.ts';
import type { OpenRecords } from '../vault/open.ts';
import { noRows, UserRecord, type UserRows } from '../vault/record.ts';
import type { SnapshotIndex } from '../vault/snapshot-index.ts';
import type { Keyring } from '../settings.ts';
import type { Database } from './database.ts';
import { findDifferences } from './differences.ts';
import { readUsers } from './rows.ts';
import { differencesByTaken, type Own } from './taken-differences.ts';
import type { Survivor } from './three-way.ts';

interface Here {
  database: Database;
  keys: Keyring;
  halves: readonly string[];
  /** Whose database it is, when it serves these halves: its own snapshots then tell who has not changed. */
  own?: Own;
  signal: AbortSignal;
}

/**
 * Users of these halves as they stand in a database now. The ledger, with rows that are new since this site's last snapshot or
 * else with the digests of all, tells who is still as the base has him: of the others only, the rows are read.
 */
export async function liveSurvivor(here: Here, base: SnapshotIndex): Promise<Survivor> {
  const { database, halves, own } = here;
  const others: string[] = [];
  const look = { ...here, unknown: (username: string) => void others.push(username) };
  const { mayDiffer, isHere } =
    (own && (await differencesByTaken({ ...look, own, index: base }))) ??
    (await findDifferences({ ...look, index: () => Promise.resolve(base), unjudged: true }));
  const elsewhere = await database.query<{ username: string }>(
    'select username from tandem.home where site <> all($1)',
    [halves],
  );
  return {
    elsewhere: elsewhere.map(({ username }) => username),
    mayDiffer: (user) => mayDiffer(user) || !isHere(user),
    async read(usernames) {
      return database.connection(async (client) => {
        const { rows } = await client.query<{ username: string }>(
          'select username from tandem.home where username = any($1) and site = any($2)',
          [usernames, halves],
        );
        const found = await readUsers(client, usernames);
        const known = new Set(rows.map(({ username }) => username));
        return new Map(usernames.map((name) => [name, known.has(name) ? (found.get(name) ?? noRows()) : null]));
      });
    },
    async *others() {
      for (const name of others) yield await Promise.resolve(name);
    },
  };
}

/**
 * The same as a snapshot has them that was just taken. It has all whom its site serves: `names` are those who are meant, by
 * the directory, so that nobody else is read.
 */
export async function snapshotSurvivor(
  snapshot: OpenRecords,
  base: SnapshotIndex,
  names: readonly string[],
): Promise<Survivor> {
  const index = await snapshot.index();
  const lookup = new Lookup(index);
  const numberOf = (user: number): number => index.find(base.userKey(user));
  return {
    mayDiffer(user) {
      const number = numberOf(user);
      return number < 0 || !index.recordId(number).equals(base.recordId(user));
    },
    async read(usernames) {
      const numbers = usernames.map((name) => index.findName(name));
      const records = await lookup.records(numbers.filter((number) => number >= 0));
      const rowsOf = (name: string, number: number): UserRows | null => {
        const bytes = records.get(number);
        return bytes ? new UserRecord(name, bytes, bytes).rows : null;
      };
      return new Map(usernames.map((name, i) => [name, rowsOf(name, numbers[i] ?? -1)]));
    },
    async *others() {
      for (const name of names)
        if (base.findName(name) < 0 && index.findName(name) >= 0) yield await Promise.resolve(name);
    },
  };
}
