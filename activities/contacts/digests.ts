import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import { digestSeed, keyOf } from '../vault/keys.ts';
import type { Keyring } from '../settings.ts';
import { rowQueries } from './rows.ts';

/** A mark of what digests depend on, and a digest under it. */
export const DIGEST_BYTES = 20;
const TAG_BYTES = 4;

/** How a database digests the rows of a user. Digests are only ever compared within one server. */
export interface Digests {
  /** First bytes of every digest: another key or another major version of the server gives another one. */
  tag: Buffer;
  seed: string;
}

export function digestsOf(keys: Keyring, postgres: number): Digests {
  const seed = digestSeed(keyOf(keys, keys.current, 'digests'));
  const tag = createHash('sha256').update(`${postgres} ${keys.current} ${seed}`).digest().subarray(0, TAG_BYTES);
  return { tag, seed };
}

/**
 * A query for (username, digest, and the number of rows of each kind) of users that have rows. Count, xor and sum of the
 * hashes of all rows: xor alone would not see two equal rows, count and sum alone are easily balanced. Numbers are
 * hashed as numbers, so that 1 and 1.00 are the same here as in a record. `where` may restrict `username`.
 */
export function digestSql({ tag, seed }: Digests, where = 'true'): string {
  const rows = rowQueries.map(
    ({ kind, user, columns, digest, from }, number) =>
      `select ${user} as username, ${number} as kind,
              hash_record_extended(row('${kind}'::text, ${digest ?? columns}), ${seed}) as hash
         from ${from} where ${where.replaceAll('username', user)}`,
  );
  const counts = rowQueries.map(({ kind }, number) => `count(*) filter (where kind = ${number}) as ${kind}`);
  return `select username,
                 '\\x${tag.toString('hex')}'::bytea || decode(md5(concat_ws(':', count(*), bit_xor(hash), sum(hash))), 'hex') as digest,
                 ${counts.join(', ')}
            from (${rows.join(' union all ')}) rows group by username`;
}

/** As the server at the other end of a connection makes them. */
export async function digestsHere(client: PoolClient, keys: Keyring): Promise<Digests> {
  const { rows } = await client.query<{ version: string }>(`select current_setting('server_version_num') as version`);
  return digestsOf(keys, Math.floor(Number(rows[0]?.version) / 10_000));
}

/** As those of some halves in the ledger were made: their key may have been replaced since. Null when no key here made them. */
export async function digestsOfLedger(
  client: PoolClient,
  keys: Keyring,
  halves: readonly string[],
): Promise<Digests | null> {
  const { rows } = await client.query<{ tag: Buffer; version: string }>(
    `select substring(l.digest for ${TAG_BYTES}) as tag, current_setting('server_version_num') as version
       from tandem.ledger l join tandem.home h using (username) where h.site = any($1) and l.digest is not null
      group by 1 order by count(*) desc limit 1`,
    [halves],
  );
  const [row] = rows;
  if (!row) return null;
  const major = Math.floor(Number(row.version) / 10_000);
  const made = [...keys.ring.keys()].map((current) => digestsOf({ ...keys, current }, major));
  return made.find(({ tag }) => tag.equals(row.tag)) ?? null;
}

/** The digest of a user without rows. */
export function emptyDigest({ tag }: Digests): Buffer {
  return Buffer.concat([tag, createHash('md5').update('').digest()]);
}

/** Digests of a few users, as they stand in this transaction. */
export async function digestUsers(
  client: PoolClient,
  digests: Digests,
  usernames: readonly string[],
): Promise<Map<string, Buffer>> {
  const { rows } = await client.query<{ username: string; digest: Buffer }>(digestSql(digests, 'username = any($1)'), [
    usernames,
  ]);
  const found = new Map(rows.map(({ username, digest }) => [username, digest]));
  const empty = emptyDigest(digests);
  return new Map(usernames.map((username) => [username, found.get(username) ?? empty]));
}
