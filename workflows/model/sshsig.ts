import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { holdsUnder } from './ed25519.ts';

/**
 * Signatures as `ssh-keygen -Y sign` makes them (OpenSSH PROTOCOL.sshsig), of Ed25519 keys. Without Buffer or atob: it
 * runs inside an update's validator.
 */

/** What operators sign in, so that no signature made for something else fits. */
export const NAMESPACE = 'tandem';

const BEGIN = '-----BEGIN SSH SIGNATURE-----';
const END = '-----END SSH SIGNATURE-----';
const MAGIC = 'SSHSIG';
const KEY_TYPE = 'ssh-ed25519';
const LONGEST = 4096;
const hashes: Record<string, (bytes: Uint8Array) => Uint8Array> = { sha256, sha512 };

export const isArmored = (signature: string): boolean => signature.trimStart().startsWith('-----BEGIN');

/** Why a signature of either form, hex or armored, does not hold over `text`; null when it does. Fails closed. */
export function whyUnsigned(signature: string, text: string, key: string): string | null {
  if (typeof signature === 'string' && isArmored(signature)) return whyNotSigned(signature, text, key);
  try {
    return holdsUnder(key, utf8ToBytes(text), hexToBytes(signature)) ? null : 'it does not hold';
  } catch {
    return 'it is no signature'; // Not hex, not a point, wrong length.
  }
}

/** Why a signature over `text` does not hold under `key` (raw, hex); null when it does. What cannot be read is refused. */
export function whyNotSigned(armored: string, text: string, key: string): string | null {
  try {
    const bytes = unarmor(armored);
    if (bytes === null) return 'it is no whole SSH signature: paste it from BEGIN to END';
    return judge(bytes, utf8ToBytes(text), key);
  } catch {
    return 'it is cut, or no SSH signature';
  }
}

function judge(bytes: Uint8Array, text: Uint8Array, key: string): string | null {
  const read = new Wire(bytes);
  if (read.raw(MAGIC.length) !== MAGIC || read.number() !== 1) return 'it is no SSH signature of version 1';
  const publicKey = new Wire(read.bytes());
  const type = publicKey.text();
  if (type !== KEY_TYPE) return `it is of a key of type ${type.slice(0, 40)}: ${KEY_TYPE} is expected`;
  const signer = publicKey.bytes();
  const namespace = read.text();
  if (namespace !== NAMESPACE)
    return `it was made for ${JSON.stringify(namespace.slice(0, 40))}: sign with -n ${NAMESPACE}`;
  const reserved = read.bytes();
  const algorithm = read.text();
  const hash = hashes[algorithm];
  if (!hash) return `its hash is ${algorithm.slice(0, 40)}: sha512 or sha256 is expected`;
  const signature = new Wire(read.bytes());
  if (signature.text() !== KEY_TYPE) return `it is no signature of type ${KEY_TYPE}`;
  const signed = signature.bytes();
  if (!read.ended || !publicKey.ended || !signature.ended) return 'it has more bytes than an SSH signature has';
  if (bytesToHex(signer) !== key) return 'it is of another key';
  const parts = [utf8ToBytes(namespace), reserved, utf8ToBytes(algorithm), hash(text)];
  const message = concatBytes(utf8ToBytes(MAGIC), ...parts.flatMap((part) => [lengthOf(part), part]));
  return holdsUnder(key, message, signed) ? null : 'it is over another text';
}

/** Fields as SSH has them: a length of four bytes, then so many. Ends that come too early throw. */
class Wire {
  private readonly from: Uint8Array;
  private at = 0;

  constructor(from: Uint8Array) {
    this.from = from;
  }

  get ended(): boolean {
    return this.at === this.from.length;
  }

  number(): number {
    return this.take(4).reduce((sum, byte) => sum * 256 + byte, 0);
  }

  bytes(): Uint8Array {
    return this.take(this.number());
  }

  text(): string {
    return String.fromCharCode(...this.bytes());
  }

  raw(length: number): string {
    return String.fromCharCode(...this.take(length));
  }

  private take(length: number): Uint8Array {
    if (this.at + length > this.from.length) throw new RangeError('too short');
    this.at += length;
    return this.from.slice(this.at - length, this.at);
  }
}

const lengthOf = ({ length }: Uint8Array): Uint8Array =>
  Uint8Array.of((length >>> 24) & 255, (length >>> 16) & 255, (length >>> 8) & 255, length & 255);

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Null when it is not whole. */
function unarmor(armored: string): Uint8Array | null {
  const text = armored.trim();
  if (text.length > LONGEST || !text.startsWith(BEGIN) || !text.endsWith(END)) return null;
  const body = text.slice(BEGIN.length, -END.length).replaceAll(/\s/g, '');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(body) || body.length % 4 !== 0) return null;
  const found: number[] = [];
  let bits = 0;
  let held = 0;
  for (const letter of body.replaceAll('=', '')) {
    held = (held << 6) | ALPHABET.indexOf(letter);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    found.push((held >>> bits) & 255);
    held &= (1 << bits) - 1;
  }
  return Uint8Array.from(found);
}
