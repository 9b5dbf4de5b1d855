import { createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import { failure } from '../../workflows/model/failures.ts';
import type { Keyring } from '../settings.ts';

/** Names of users and contents of records, as far as a vault may show them: 16 bytes each. */
export interface RecordKeys {
  userKey: (username: string) => Buffer;
  recordId: (record: Uint8Array) => Buffer;
}

const KEY_BYTES = 32;
const ID_BYTES = 16;

/** HKDF-SHA256 of a customer's key; `purpose` keeps the uses of one key apart. */
export function derive(key: Buffer, purpose: string, salt: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, purpose, KEY_BYTES));
}

export function recordKeys(key: Buffer): RecordKeys {
  const user = createSecretKey(derive(key, 'user/1'));
  const record = createSecretKey(derive(key, 'rec/1'));
  const mac = (by: KeyObject, bytes: Uint8Array | string): Buffer =>
    createHmac('sha256', by).update(bytes).digest().subarray(0, ID_BYTES);
  return { userKey: (username) => mac(user, username), recordId: (bytes) => mac(record, bytes) };
}

/** The key of an id, else a failure `key-missing` that names the id. `where` says what could not be opened. */
export function keyOf(keys: Keyring, id: string, where: string): Buffer {
  const key = keys.ring.get(id);
  if (!key) throw failure('key-missing', `${where}: key ${JSON.stringify(id)}, which is not in the ring`);
  if (key.length !== KEY_BYTES) {
    throw failure('key-wrong', `${where}: key ${JSON.stringify(id)} has ${key.length} bytes, not ${KEY_BYTES}`);
  }
  return key;
}
