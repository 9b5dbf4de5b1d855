import type { KeyObject } from 'node:crypto';
import type { CustomerRecord } from '../../workflows/model/customer.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import { sitePrefix } from './manifest.ts';
import { digits } from './pack-reader.ts';
import type { Vault } from './port.ts';
import { seal, sha256, unseal } from './signed.ts';
import { unlessUnsigned } from './test-receipts.ts';

/** Records of a customer's coming and going, of both sites in each vault. An id is never given again: they outlive every keeping. */

/** As a configuration allows it. */
const ID = /^[a-z][a-z0-9-]{0,62}$/;
const LOCK_MS = 3650 * 24 * 3_600_000;

export const recordPrefix = (customer: string, site: string): string => `${sitePrefix(customer, site)}customer/`;

/** Of what can be said once, there is one place. */
function nameOf(record: CustomerRecord): string {
  if (record.kind === 'word') return `words/${sha256(record.word.nonce).slice(0, 32)}`;
  return record.kind === 'decision' ? `decisions/${digits(record.number)}` : record.kind;
}

const keyOf = (record: CustomerRecord): string => `${recordPrefix(record.customer, record.site)}${nameOf(record)}.json`;

/** What was recorded, but for who and when. */
type Body<R> = R extends unknown ? Omit<R, 'format' | 'site' | 'at'> : never;

/**
 * Records something in this site's own vault, as of now. Safe to repeat: what stands there already stands, and is answered.
 */
export async function putRecord(
  { vault, site, signingKey, publicKeys }: Omit<Writer, 'signal'>,
  body: Body<CustomerRecord>,
  signal: AbortSignal,
): Promise<CustomerRecord> {
  const at: Timestamp = new Date().toISOString();
  const record = { ...body, format: 1, site, at } as CustomerRecord;
  const key = keyOf(record);
  const lockUntil = new Date(Date.now() + LOCK_MS);
  if ((await vault.put(key, seal('customer', site, signingKey, record), { lockUntil, signal })) !== 'taken')
    return record;
  const stands = await readRecord({ vault, customer: body.customer, site, publicKeys, signal }, key);
  if (stands) return stands.record;
  throw failure('signature-invalid', `vault ${vault.site}: ${key}: what stands there was not signed by ${site}`);
}

export interface Writer {
  vault: Vault;
  site: string;
  signingKey: KeyObject;
  publicKeys: ReadonlyMap<string, KeyObject>;
  signal: AbortSignal;
}

interface Shelf {
  vault: Vault;
  customer: string;
  /** Whose records. */
  site: string;
  publicKeys: ReadonlyMap<string, KeyObject>;
  signal: AbortSignal;
}

export interface StoredRecord {
  key: string;
  record: CustomerRecord;
  bytes: Buffer;
}

/** What stands under a key, when the very site has signed it for this very key; null when it was never written or is not signed. */
async function readRecord(
  { vault, customer, site, publicKeys, signal }: Shelf,
  key: string,
): Promise<StoredRecord | null> {
  const own = new Map([...publicKeys].filter(([name]) => name === site));
  for (const bytes of await vault.versions(key, { signal })) {
    const sealed = await unlessUnsigned(() =>
      Promise.resolve().then(() => unseal<CustomerRecord>('customer', own, bytes, key)),
    );
    const record = sealed?.document;
    if (record?.format === 1 && record.customer === customer && record.site === site && keyOf(record) === key)
      return { key, record, bytes };
  }
  return null;
}

/** The records of these sites, as one vault has them. What its site has not signed counts for nothing. */
export async function readRecords(shelf: Omit<Shelf, 'site'>, sites: Iterable<string>): Promise<StoredRecord[]> {
  const found: StoredRecord[] = [];
  for (const site of sites)
    for await (const { key } of shelf.vault.list(recordPrefix(shelf.customer, site), { signal: shelf.signal })) {
      const record = await readRecord({ ...shelf, site }, key);
      if (record) found.push(record);
    }
  return found;
}

/** Keeps a record of the other site in this vault, byte for byte. */
export async function copyRecord(own: Vault, { key, bytes }: StoredRecord, signal: AbortSignal): Promise<void> {
  await own.put(key, bytes, { lockUntil: new Date(Date.now() + LOCK_MS), signal });
}

/** Ids of all customers of whom anything lies in a vault: one question each, whatever they keep there. */
export async function customersIn(vault: Vault, signal: AbortSignal): Promise<string[]> {
  const ids: string[] = [];
  for (let after = ''; ;) {
    const keys = vault.list('', { ...(after !== '' && { after }), signal });
    const first = await keys[Symbol.asyncIterator]().next();
    const id = first.done ? undefined : first.value.key.split('/')[0];
    if (id === undefined) return ids;
    if (ID.test(id)) ids.push(id); // Others are no customer's.
    after = `${id}0`; // The byte after the slash: behind all that is this customer's.
  }
}
