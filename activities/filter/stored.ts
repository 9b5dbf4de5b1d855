import type { PoolClient } from 'pg';
import type { Database } from '../contacts/database.ts';
import { sha256 } from '../vault/signed.ts';
import { defaultFilter, filterDigest, filterDocument, type FilterPolicy } from './policy.ts';

/** A policy as a database has it. */
export interface StoredFilter {
  document: string;
  /** What its row says; the service takes a document by its own digest only. */
  digest: string;
}

/** Whether the service takes it. */
export const isWhole = ({ document, digest }: StoredFilter): boolean => sha256(document) === digest;

/**
 * Makes a customer's row what the policy says; without a policy the default is written where none stands. Nothing is touched
 * when it stands already. Answers whether it was written.
 */
export async function writeFilter(
  client: PoolClient,
  customer: string,
  policy: FilterPolicy | undefined,
): Promise<boolean> {
  const stands = await storedIn(client, customer);
  if (stands && !policy) return false;
  const wanted = policy ?? defaultFilter;
  const [document, digest] = [filterDocument(wanted), filterDigest(wanted)];
  if (stands?.document === document && stands.digest === digest) return false;
  await client.query(
    `insert into tandem.filter_policy (customer, document, digest) values ($1, $2, $3)
     on conflict (customer) do update set document = excluded.document, digest = excluded.digest, at = now()`,
    [customer, document, digest],
  );
  return true;
}

/** Null when there is none: the service then delivers nothing. */
export const readFilter = (database: Database, customer: string): Promise<StoredFilter | null> =>
  database.connection((client) => storedIn(client, customer));

async function storedIn(client: PoolClient, customer: string): Promise<StoredFilter | null> {
  const { rows } = await client.query<StoredFilter>(
    'select document, digest from tandem.filter_policy where customer = $1',
    [customer],
  );
  return rows[0] ?? null;
}
