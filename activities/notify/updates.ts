import { createHash, hkdfSync, type KeyObject } from 'node:crypto';
import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import { type ExternalKey, type ExternalState, type ExternalUpdate } from '../../workflows/model/external.ts';

/** Requests to parties outside, as rows of the survivor's database. */

interface Row {
  customer: string;
  party: string;
  epoch: string;
  move: string;
  option: string;
  from_site: string;
  to_site: string;
  state: ExternalState;
  sent: number;
  sent_at: Date | null;
  requested_at: Date;
  changed_at: Date;
  because: string;
}

const columns =
  'customer, party, epoch, move, option, from_site, to_site, state, sent, sent_at, requested_at, changed_at, because';

const fromRow = (row: Row): ExternalUpdate => ({
  customer: row.customer,
  party: row.party,
  epoch: Number(row.epoch),
  move: row.move,
  option: row.option,
  from: row.from_site,
  to: row.to_site,
  state: row.state,
  sent: row.sent,
  sentAt: row.sent_at?.toISOString() ?? null,
  requestedAt: row.requested_at.toISOString(),
  changedAt: row.changed_at.toISOString(),
  because: row.because,
});

type Client = Pick<PoolClient, 'query'>;

/** All requests of a customer, the newest epoch first. */
export async function readUpdates(client: Client, customer: string): Promise<ExternalUpdate[]> {
  const { rows } = await client.query<Row>(
    `select ${columns} from tandem.external_update where customer = $1 order by epoch desc, party`,
    [customer],
  );
  return rows.map(fromRow);
}

/** One request, locked until the transaction ends. */
export async function lockUpdate(client: Client, { customer, party, epoch }: ExternalKey): Promise<ExternalUpdate> {
  const { rows } = await client.query<Row>(
    `select ${columns} from tandem.external_update where customer = $1 and party = $2 and epoch = $3 for update`,
    [customer, party, epoch],
  );
  if (rows[0]) return fromRow(rows[0]);
  throw failure('input-invalid', `${customer}: nothing was ever asked of ${party} under epoch ${epoch} here`);
}

/** The request that a word opens, locked; null when there is none. */
export async function lockByToken(client: Client, customer: string, token: string): Promise<ExternalUpdate | null> {
  const { rows } = await client.query<Row>(
    `select ${columns} from tandem.external_update where customer = $1 and token = $2 for update`,
    [customer, tokenHash(token)],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Moves a request to another state, with who said so. Call it with the row locked. */
export async function settle(
  client: Client,
  { customer, party, epoch }: ExternalKey,
  entry: { state: ExternalState; by: string; because: string; signed?: unknown },
): Promise<void> {
  await client.query(
    `update tandem.external_update
        set state = $4, because = $5, changed_at = now(), history = history || jsonb_build_array($6::jsonb)
      where customer = $1 and party = $2 and epoch = $3`,
    [customer, party, epoch, entry.state, entry.because, { ...entry, at: new Date().toISOString() }],
  );
}

/** Notes that the n-th message was accepted, or why it was not. */
export async function noteSending(
  client: Client,
  { customer, party, epoch }: ExternalKey,
  { n, because }: { n: number; because: string },
): Promise<void> {
  await client.query(
    because === ''
      ? `update tandem.external_update set sent = $4, sent_at = now(), because = $5 where customer = $1 and party = $2 and epoch = $3`
      : `update tandem.external_update set because = $5 where customer = $1 and party = $2 and epoch = $3 and sent < $4`,
    [customer, party, epoch, n, because],
  );
}

/**
 * The word by which a party answers: it cannot be guessed, and is the same whenever the request is sent again. It comes
 * from this site's private key, so that no secret more has to be kept.
 */
export function tokenOf(
  signingKey: KeyObject,
  { customer, party, epoch, move }: ExternalKey & { move: string },
): string {
  const secret = signingKey.export({ format: 'der', type: 'pkcs8' });
  const info = JSON.stringify(['tandem external-update', customer, party, epoch, move]);
  return Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), info, 32)).toString('base64url');
}

export const tokenHash = (token: string): Buffer => createHash('sha256').update(token).digest();
