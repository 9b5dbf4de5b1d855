import type { PoolClient } from 'pg';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Keyring } from '../settings.ts';
import { keyOf, recordKeys } from '../vault/keys.ts';
import { makeRecord, noRows } from '../vault/record.ts';
import { ACL_RULES } from './acl.ts';
import { copyOut } from './copy.ts';
import type { Database } from './database.ts';
import { digestsOfLedger, digestSql, emptyDigest } from './digests.ts';
import { judgeUsers } from './quarantine.ts';
import { limitReading, READ_ONLY } from './reader.ts';
import { readUsers, rowQueries } from './rows.ts';
import { describeTables } from './tables.ts';
import { tupleFields } from './tuples.ts';

/** Far more than a digest of all rows takes. */
const LIMIT_MS = 600_000;

export interface ProofRequest {
  database: Database;
  keys: Keyring;
  /** Whose users. */
  halves: readonly string[];
  /** What the copy is to be as of. */
  snapshot: SnapshotId;
  /** Who serves them, and under which epoch, once they are moved: what he has taken of them since is no difference. */
  by: { site: string; epoch: number };
}

/** How the users of halves stand here, by the ledger alone. Numbers of users; each is in one of them, `users` is their sum. */
export interface StandbyProof {
  users: number;
  /** Their rows are those that came with the snapshot, or with a newer one that was begun. */
  asOf: number;
  /** Of these, from a newer one. */
  newer: number;
  /** Their rows are not those that the ledger was written for. */
  changed: number;
  /** The ledger has them from another site than the snapshot's. */
  elsewhere: number;
  /** Rows stand here that no snapshot brought. */
  unrecorded: number;
  /** No snapshot has them, and no row stands here. */
  withoutRecord: number;
  /** The ledger has them; whether they were changed since nobody here can tell: the key of its digests is gone. */
  unproven: number;
  /** Served here under the move's epoch, and in a snapshot taken here since: their rows may be newer ones of their own. */
  since: number;
  /** Of all of them, those who wait in quarantine. */
  quarantined: number;
  /** Rows of those who are as of the snapshot. */
  contacts: number;
  groups: number;
  aclItems: number;
}

/**
 * Proves what the standby copy is as of, without a vault: a snapshot was applied whole, the ledger tells which users it
 * brought, and the digests in it tell whether their rows are still those. Reads no row and needs no key but that of the
 * digests; without it, users are counted as unproven.
 */
export async function proveStandby(request: ProofRequest): Promise<StandbyProof> {
  const { database } = request;
  return database.transaction(async (client) => {
    await describeTables(client, database.name); // A schema that is not known is refused before a row is compared.
    await limitReading(client, LIMIT_MS);
    const { rows } = await client.query<Record<keyof StandbyProof, string>>(await proofSql(client, request));
    return Object.fromEntries(
      Object.entries(rows[0] ?? {}).map(([name, n]) => [name, Number(n)]),
    ) as unknown as StandbyProof;
  }, READ_ONLY);
}

/** How one user stands, in the words of the counts. */
export type StandbyState = 'as-of' | 'changed' | 'elsewhere' | 'unrecorded' | 'without' | 'unproven' | 'since';

/** The same, user by user. */
export async function eachOfStandby(
  request: ProofRequest,
  hear: (name: Buffer, state: StandbyState) => void,
  signal: AbortSignal,
): Promise<void> {
  const { database } = request;
  await database.transaction(async (client) => {
    await limitReading(client, LIMIT_MS);
    await copyOut(client, `select username, state from (${await judgedSql(client, request)}) judged`, {
      signal,
      onTuple: (buffer, name, nameEnd) => {
        const [state] = tupleFields(buffer, nameEnd, 1);
        hear(buffer.subarray(name, nameEnd), state?.toString('utf8') as StandbyState);
      },
    });
  }, READ_ONLY);
}

async function proofSql(client: PoolClient, request: ProofRequest): Promise<string> {
  const sum = (kind: string, name: string): string =>
    `coalesce(sum(${kind}) filter (where state = 'as-of'), 0) as "${name}"`;
  const of = (state: StandbyState, name: string): string => `count(*) filter (where state = '${state}') as "${name}"`;
  return `
    with judged as materialized (${await judgedSql(client, request)})
    select count(*) as users, ${of('as-of', 'asOf')},
           count(*) filter (where state = 'as-of' and newer) as newer,
           ${of('changed', 'changed')}, ${of('elsewhere', 'elsewhere')}, ${of('unrecorded', 'unrecorded')},
           ${of('without', 'withoutRecord')}, ${of('unproven', 'unproven')}, ${of('since', 'since')},
           count(*) filter (where waits) as quarantined,
           ${sum('contacts', 'contacts')}, ${sum('groups', 'groups')}, ${sum('items', 'aclItems')}
      from judged`;
}

/** The state of each of their users. Without parameters: a COPY has none. */
async function judgedSql(client: PoolClient, { keys, halves, snapshot, by }: ProofRequest): Promise<string> {
  const digests = await digestsOfLedger(client, keys, halves);
  // Digests under a key that is gone can be compared with nothing.
  const foreign = digests
    ? `l.digest is null or substring(l.digest for ${digests.tag.length}) <> '\\x${digests.tag.toString('hex')}'::bytea`
    : 'true';
  const none = digests ? `'\\x${emptyDigest(digests).toString('hex')}'::bytea` : 'null::bytea';
  const counts = rowQueries.map(({ kind }) => kind).join(', ');
  const made = digestSql(digests ?? { tag: Buffer.alloc(0), seed: '0' });
  return `
      select h.username,
             case
               when l.username is null then case when d.username is null then 'without' else 'unrecorded' end
               when l.served_by = ${client.escapeLiteral(by.site)} and l.epoch >= ${by.epoch} then 'since'
               when l.served_by <> ${client.escapeLiteral(snapshot.site)} then 'elsewhere'
               when ${foreign} then 'unproven'
               when l.digest = coalesce(d.digest, ${none}) then 'as-of'
               else 'changed'
             end as state,
             l.seq > ${snapshot.seq} as newer, q.username is not null as waits, ${counts}
        from tandem.home h
        left join tandem.ledger l on l.username = h.username
        left join tandem.quarantine q on q.username = h.username and q.release is null
        left join (${made}) d on d.username = h.username
       where h.site in (${halves.map((half) => client.escapeLiteral(half)).join(', ')})`;
}

/** Judged at once, and locked for so long. */
const BATCH_USERS = 500;

/**
 * Puts into quarantine those whose ACL was never judged by the rules of today, and could not be read: they would be let in
 * with it. Judged are the rows that stand here. `guard` runs first in every transaction. Answers how many were looked at.
 */
export async function judgeStandby(
  { database, keys, halves }: Pick<ProofRequest, 'database' | 'keys' | 'halves'>,
  guard: (client: PoolClient) => Promise<void>,
  signal: AbortSignal,
): Promise<number> {
  let judged = 0;
  for (let after = ''; ;) {
    signal.throwIfAborted();
    const names = await database.transaction(async (client) => {
      await guard(client);
      const { rows } = await client.query<{ username: string }>(
        `select h.username from tandem.home h left join tandem.ledger l using (username)
          where h.site = any($1) and h.username > $2 and l.judged is distinct from ${ACL_RULES}
            and exists (select from privacy_list p where p.username = h.username)
          order by h.username limit ${BATCH_USERS}`,
        [halves, after],
      );
      const found = rows.map(({ username }) => username);
      if (found.length === 0) return found;
      const macs = recordKeys(keyOf(keys, keys.current, 'standby copy'));
      const here = await readUsers(client, found);
      await judgeUsers(
        client,
        found.map((username) => makeRecord(username, here.get(username) ?? noRows(), macs)),
      );
      return found;
    });
    judged += names.length;
    const last = names.at(-1);
    if (last === undefined) return judged;
    after = last;
  }
}
