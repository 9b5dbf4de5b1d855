import { failure } from '../../workflows/model/failures.ts';
import type { Keyring } from '../settings.ts';
import { KEY_BYTES } from './macs.ts';

export { derive, digestSeed, recordKeys, type RecordKeys } from './macs.ts';

/** The key of an id, else a failure `key-missing` that names the id. `where` says what could not be opened. */
export function keyOf(keys: Keyring, id: string, where: string): Buffer {
  const key = keys.ring.get(id);
  if (!key) throw failure('key-missing', `${where}: key ${JSON.stringify(id)}, which is not in the ring`);
  if (key.length !== KEY_BYTES) {
    throw failure('key-wrong', `${where}: key ${JSON.stringify(id)} has ${key.length} bytes, not ${KEY_BYTES}`);
  }
  return key;
}
