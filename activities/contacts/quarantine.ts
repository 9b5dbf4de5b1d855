import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { Approver } from '../../workflows/model/plan.ts';
import { whyRefused } from '../vault/accept.ts';
import type { UserRecord } from '../vault/record.ts';
import { aclFaults } from './acl.ts';
import type { Database } from './database.ts';

/** A user who is not let in: `because` names places in his ACL, or why his record cannot be read. */
export interface Held {
  username: string;
  recordId: Buffer;
  because: string;
}

/** More are not worth a line each. */
const SHOWN_FAULTS = 5;

/**
 * Holds back the users of these records whose ACL the service could not read, and lets go of the others. Their rows stand
 * as the records say: nothing is dropped. A user whose record has changed since an operator let him in is held anew. To
 * be called in the transaction that wrote the rows. Answers how many of these users are held.
 */
export async function judgeUsers(client: PoolClient, records: readonly UserRecord[]): Promise<number> {
  const free = records.filter((record) => aclFaults(record).length === 0).map(({ username }) => username);
  if (free.length > 0) await client.query('delete from tandem.quarantine where username = any($1)', [free]);
  return holdFaulty(client, records);
}

/** The same for users who are served here: whoever waits, for whatever reason, goes on waiting. */
export async function holdFaulty(client: PoolClient, records: readonly UserRecord[]): Promise<number> {
  const held = records.flatMap((record): Held[] => {
    const faults = aclFaults(record);
    return faults.length === 0 ? [] : [{ username: record.username, recordId: record.recordId, because: tell(faults) }];
  });
  return holdUsers(client, held);
}

/** The same for users whose rows the database refuses: they keep those they had, and are no part of what was brought. */
export async function holdRefused(
  client: PoolClient,
  records: readonly UserRecord[],
  refused: ReadonlyMap<string, string>,
): Promise<number> {
  return holdUsers(
    client,
    records.flatMap(({ username, recordId }): Held[] => {
      const because = refused.get(username);
      return because === undefined ? [] : [{ username, recordId, because }];
    }),
  );
}

/** Holds users; one who was let in with this very record, for this very fault, stays so. Answers how many are held. */
export async function holdUsers(client: PoolClient, held: readonly Held[]): Promise<number> {
  if (held.length === 0) return 0;
  const names = held.map(({ username }) => username);
  await client.query(
    `insert into tandem.quarantine as q (username, record_id, because)
     select * from unnest($1::text[], $2::bytea[], $3::text[])
     on conflict (username) do update
       set record_id = excluded.record_id, because = excluded.because, since = now(), release = null
       where (q.record_id, q.because) is distinct from (excluded.record_id, excluded.because)`,
    [names, held.map(({ recordId }) => recordId), held.map(({ because }) => because)],
  );
  const { rows } = await client.query<{ held: number }>(
    'select count(*)::int as held from tandem.quarantine where username = any($1) and release is null',
    [names],
  );
  return rows[0]?.held ?? 0;
}

function tell(faults: readonly string[]): string {
  const more = faults.length > SHOWN_FAULTS ? `; and ${faults.length - SHOWN_FAULTS} more` : '';
  return `${faults.slice(0, SHOWN_FAULTS).join('; ')}${more}`;
}

/** A user in quarantine, as operators see him. */
export interface Quarantined {
  username: string;
  /** Hex. */
  recordId: string;
  because: string;
  since: Date;
  release: Release | null;
}

/** An operator's word that a user is to be let in as his rows stand. It counts for this record of his, and for no other. */
export interface Release {
  customer: string;
  site: string;
  username: string;
  recordId: string;
  operator: string;
  because: string;
  at: string;
  /** Ed25519 of the operator over `releaseText`, hex. */
  signature: string;
}

/** What an operator signs: readable, so that it can be read aloud. */
export function releaseText(r: Omit<Release, 'signature'>): string {
  return [
    'tandem/1 quarantine release',
    `customer: ${r.customer}`,
    `site: ${r.site}`,
    `user: ${JSON.stringify(r.username)}`,
    `record: ${r.recordId}`,
    `operator: ${r.operator}`,
    `because: ${JSON.stringify(r.because)}`,
    `at: ${r.at}`,
    '',
  ].join('\n');
}

/** Users in quarantine, those who wait first. `names`: only these. */
export async function readQuarantine(database: Database, names: readonly string[] = []): Promise<Quarantined[]> {
  return database.query<Quarantined & Record<string, unknown>>(
    `select username, encode(record_id, 'hex') as "recordId", because, since, release from tandem.quarantine
      where cardinality($1::text[]) = 0 or username = any($1)
      order by release is not null, since, username collate "C"`,
    [names],
  );
}

/**
 * Lets users in, all or none. Fails with `signature-invalid` when a word is not that of an operator who may give it, and
 * `input-invalid` when a user is not in quarantine, or no longer with that record.
 */
export async function releaseUsers(
  database: Database,
  operators: readonly Approver[],
  releases: readonly Release[],
): Promise<void> {
  for (const release of releases) {
    const { operator, signature } = release;
    const refusal = whyRefused(operators, { operator, text: releaseText(release), signature });
    if (refusal !== null) throw failure('signature-invalid', `release of a user: ${refusal}`);
  }
  await database.transaction(async (client) => {
    const { rowCount } = await client.query(
      `update tandem.quarantine q set release = r.word
         from unnest($1::text[], $2::text[], $3::jsonb[]) r (username, record, word)
        where q.username = r.username and encode(q.record_id, 'hex') = r.record and q.release is null`,
      [
        releases.map(({ username }) => username),
        releases.map(({ recordId }) => recordId),
        releases.map((release) => JSON.stringify(release)),
      ],
    );
    if (rowCount !== releases.length)
      throw failure('input-invalid', `${database.name}: ${rowCount} of ${releases.length} users wait with that record`);
  });
}

/** How many users wait for an operator. */
export async function countQuarantined(database: Database): Promise<number> {
  const [row] = await database.query<{ waiting: number }>(
    'select count(*)::int as waiting from tandem.quarantine where release is null',
  );
  return row?.waiting ?? 0;
}
