import { createHash } from 'node:crypto';
import type { Keyring } from '../../activities/settings.ts';
import { Fault } from '../fault.ts';
import type { Configuration, CustomerConfiguration, SecretReference } from './configuration.ts';
import { secretText } from './secrets.ts';

/** The ring of a customer as it can be read here: its keys by id, and what is wrong with each other one it names. */
export interface Ring {
  keys: ReadonlyMap<string, Buffer>;
  faults: ReadonlyMap<string, Fault>;
}

export const KEY_BYTES = 32;

/** First 8 hex of a key's SHA-256: two people compare it aloud, and it tells nobody the key. */
export function checksum(key: Buffer): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 8);
}

/** Reads every key that a customer's ring names, from its file or its environment variable. */
export async function readRing(configuration: Configuration, customer: CustomerConfiguration): Promise<Ring> {
  const keys = new Map<string, Buffer>();
  const faults = new Map<string, Fault>();
  const ids = new Map<string, string>();
  for (const [id, reference] of customer.keys) {
    try {
      const key = keyOf(id, reference, await secretText(configuration, reference));
      const twin = ids.get(key.toString('hex'));
      // A rotation to the same bytes rotates nothing, and destroying one of the two would destroy nothing.
      if (twin !== undefined)
        throw new Fault(
          `${reference.at}: ${reference.path}: key ${id} is the same as ${twin}`,
          'Each id has a key of its own: `tandem keys rotate` makes one.',
        );
      ids.set(key.toString('hex'), id);
      keys.set(id, key);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      faults.set(id, error);
    }
  }
  return { keys, faults };
}

/** The whole ring; one fault names every key that cannot be used. */
export async function keyring(configuration: Configuration, customer: CustomerConfiguration): Promise<Keyring> {
  const { keys, faults } = await readRing(configuration, customer);
  const [first, ...more] = faults.values();
  if (first && more.length === 0) throw first;
  if (first)
    throw new Fault(
      `customer ${customer.id}: ${faults.size} keys of its ring cannot be used\n${[...faults.values()].map((f) => `  ${f.message}`).join('\n')}`,
      `\`tandem keys list --customer ${customer.id}\` shows which are needed; the escrow has a copy of each.`,
    );
  return { current: customer.currentKey, ring: keys };
}

/** Base64 is read strictly: Node skips what it does not know, and a mistyped key would become another one. */
function keyOf(id: string, reference: SecretReference, given: string): Buffer {
  const text = given.trim();
  const key = Buffer.from(text, 'base64');
  const advice = `A copy that was cut or retyped? Bring it back from the escrow: \`tandem keys restore\`. A new one: \`tandem keys rotate\`.`;
  if (key.toString('base64') !== text)
    throw new Fault(
      `${reference.at}: ${reference.path}: key ${id} is no base64; ${KEY_BYTES} bytes in base64 are expected`,
      advice,
    );
  if (key.length !== KEY_BYTES)
    throw new Fault(
      `${reference.at}: ${reference.path}: key ${id} has ${key.length} bytes; ${KEY_BYTES} in base64 are expected`,
      advice,
    );
  return key;
}
