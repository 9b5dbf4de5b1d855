import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Keyring } from '../../activities/settings.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import { checksum, KEY_BYTES } from '../config/keyring.ts';
import { Fault } from '../fault.ts';

/** The part of an escrow that anybody may read: printed on paper it can be compared, and it opens nothing. */
export interface EscrowHead {
  format: 1;
  kind: 'tandem-escrow';
  customer: string;
  madeAt: string;
  current: string;
  /** Checksums by key id. */
  keys: Record<string, string>;
  scrypt: { N: number; r: number; p: number; salt: string };
  nonce: string;
}

export interface Escrow {
  head: EscrowHead;
  keys: Keyring;
}

/** OWASP's recommendation for scrypt: 128 MiB and some tenths of a second for each guess at the passphrase. */
const COST = { N: 2 ** 17, r: 8, p: 1 };
/** What a file may ask of the machine that opens it: four times as much memory. */
const MOST = { N: 2 ** 19, r: 8, p: 4 };
const TAG_BYTES = 16;
const NONCE_BYTES = 12;
/** A guesser has the file and all the time there is; scrypt alone does not save a short word. */
const PASSPHRASE_CHARACTERS = 12;
/** Ids as a configuration allows them. */
const ID = /^[a-z][a-z0-9-]{0,62}$/;
/** Ten thousand keys would fit. */
const FILE_BYTES = 1 << 20;

/** The file: the ring, sealed under a passphrase with scrypt and AES-256-GCM. The head is authenticated with it. */
export async function sealEscrow(customer: string, keys: Keyring, passphrase: string, at: Date): Promise<string> {
  if (passphrase.length < PASSPHRASE_CHARACTERS)
    throw new Fault(
      `passphrase: ${passphrase.length} characters, at least ${PASSPHRASE_CHARACTERS} are expected`,
      'Take five or six random words; whoever has them and the file has every key.',
    );
  const head: EscrowHead = {
    format: 1,
    kind: 'tandem-escrow',
    customer,
    madeAt: at.toISOString(),
    current: keys.current,
    keys: Object.fromEntries([...keys.ring].map(([id, key]) => [id, checksum(key)])),
    scrypt: { ...COST, salt: randomBytes(KEY_BYTES).toString('base64') },
    nonce: randomBytes(NONCE_BYTES).toString('base64'),
  };
  const cipher = createCipheriv(
    'aes-256-gcm',
    await passphraseKey(passphrase, head),
    Buffer.from(head.nonce, 'base64'),
  );
  cipher.setAAD(Buffer.from(canonicalJson(head)));
  const secret = JSON.stringify(Object.fromEntries([...keys.ring].map(([id, key]) => [id, key.toString('base64')])));
  const sealed = Buffer.concat([cipher.update(secret), cipher.final(), cipher.getAuthTag()]).toString('base64');
  return `${JSON.stringify({ ...head, sealed }, null, 2)}\n`;
}

/** Opens an escrow file. A wrong passphrase and a changed byte look the same: AES-GCM tells that it does not open. */
export async function openEscrow(file: string, passphrase: string): Promise<Escrow> {
  const { head, sealed } = await readEscrow(file);
  const cipher = createDecipheriv(
    'aes-256-gcm',
    await passphraseKey(passphrase, head),
    Buffer.from(head.nonce, 'base64'),
    { authTagLength: TAG_BYTES },
  );
  cipher.setAAD(Buffer.from(canonicalJson(head)));
  cipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  let plain: string;
  try {
    plain = Buffer.concat([cipher.update(sealed.subarray(0, -TAG_BYTES)), cipher.final()]).toString('utf8');
  } catch {
    throw new Fault(
      `escrow ${file}: this passphrase does not open it, or the file was changed`,
      'Check the passphrase; then try another copy of the file.',
    );
  }
  const keys = JSON.parse(plain) as Record<string, string>;
  const ring = new Map(Object.entries(keys).map(([id, key]) => [id, Buffer.from(key, 'base64')]));
  // Ids become names of files.
  const sound = ([id, key]: [string, Buffer]): boolean => ID.test(id) && key.length === KEY_BYTES;
  if (ID.test(head.customer) && [...ring].every(sound)) return { head, keys: { current: head.current, ring } };
  throw new Fault(
    `escrow ${file}: opens, but holds no keys of a customer`,
    'Try another copy, and find out who made it.',
  );
}

function passphraseKey(passphrase: string, { scrypt: { N, r, p, salt } }: EscrowHead): Promise<Buffer> {
  // Two ways to type one accented letter must be one passphrase, on any keyboard.
  const text = passphrase.normalize('NFC');
  const maxmem = 128 * N * r * 2;
  return new Promise((resolve, reject) => {
    scrypt(text, Buffer.from(salt, 'base64'), KEY_BYTES, { N, r, p, maxmem }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}

/** The head as the file says it: nothing vouches for it before the escrow is open. */
async function readEscrow(file: string): Promise<{ head: EscrowHead; sealed: Buffer }> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Fault(
      `escrow ${file}: ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`}`,
      'Name the file that `tandem keys escrow` wrote.',
    );
  }
  const parsed = text.length <= FILE_BYTES ? jsonOf(text) : null;
  if (parsed === null || parsed['kind'] !== 'tandem-escrow')
    throw new Fault(`escrow ${file}: is no escrow file`, 'Name the file that `tandem keys escrow` wrote.');
  if (parsed['format'] !== 1)
    throw new Fault(
      `escrow ${file}: format ${JSON.stringify(parsed['format'])}, this Tandem knows 1`,
      'Open it with the Tandem that wrote it, or with a newer one.',
    );
  const { sealed, ...head } = parsed;
  const bytes = Buffer.from(typeof sealed === 'string' ? sealed : '', 'base64');
  if (bytes.length < TAG_BYTES || !wellFormed(head))
    throw new Fault(
      `escrow ${file}: it lacks what an escrow must say`,
      'The file was cut or changed: try another copy.',
    );
  return { head, sealed: bytes };
}

function jsonOf(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function wellFormed(head: Record<string, unknown>): head is Record<string, unknown> & EscrowHead {
  const { customer, current, madeAt, keys, nonce, scrypt: cost } = head as Partial<EscrowHead>;
  const upTo = (value: unknown, most: number): boolean =>
    Number.isInteger(value) && Number(value) > 0 && Number(value) <= most;
  const text = (value: unknown): boolean => typeof value === 'string';
  return (
    [customer, current, madeAt, nonce, cost?.salt].every(text) &&
    Buffer.from(nonce ?? '', 'base64').length === NONCE_BYTES &&
    typeof keys === 'object' &&
    keys !== null &&
    Object.values(keys).every(text) &&
    upTo(cost?.N, MOST.N) &&
    Number.isInteger(Math.log2(cost?.N ?? 0)) &&
    upTo(cost?.r, MOST.r) &&
    upTo(cost?.p, MOST.p)
  );
}

export type Comparison = 'same' | 'differs' | 'not in the ring' | 'not in the escrow';

/** Key by key, whether an escrow and a ring are the same. */
export function compareRings(escrow: Keyring, ring: ReadonlyMap<string, Buffer>): { id: string; says: Comparison }[] {
  return [...new Set([...ring.keys(), ...escrow.ring.keys()])].map((id) => {
    const [kept, used] = [escrow.ring.get(id), ring.get(id)];
    if (!used) return { id, says: 'not in the ring' };
    if (!kept) return { id, says: 'not in the escrow' };
    return { id, says: kept.equals(used) ? 'same' : 'differs' };
  });
}
