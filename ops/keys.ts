import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { Fault } from './fault.ts';

/** Ed25519 keys of operators and sites: public ones as OpenSSH prints them, private ones in PKCS8 PEM. */

const KIND = Buffer.from('ssh-ed25519');
/** DER of an Ed25519 public key up to its 32 bytes (RFC 8410). */
const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex');

function sshString(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** The raw 32 bytes of a public key, hex. */
export function rawHex(key: KeyObject): string {
  return key.export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex');
}

/** `ssh-ed25519 AAAA…`, as OpenSSH prints it (RFC 8709). */
export function openSshLine(key: KeyObject): string {
  const blob = Buffer.concat([sshString(KIND), sshString(Buffer.from(rawHex(key), 'hex'))]);
  return `ssh-ed25519 ${blob.toString('base64')}`;
}

/** The public key of an OpenSSH line, with or without a comment; null when it is no Ed25519 key. */
export function publicKeyOf(line: string): KeyObject | null {
  const [kind, encoded = ''] = line.trim().split(/\s+/);
  const blob = Buffer.from(encoded, 'base64');
  const head = Buffer.concat([sshString(KIND), Buffer.from([0, 0, 0, 32])]);
  if (kind !== 'ssh-ed25519' || blob.length !== head.length + 32 || !blob.subarray(0, head.length).equals(head))
    return null;
  return createPublicKey({ key: Buffer.concat([SPKI_HEAD, blob.subarray(-32)]), format: 'der', type: 'spki' });
}

/** A private key from its file, which nobody but its owner may read. A passphrase is asked for by `passphrase`. */
export async function loadPrivateKey(path: string, passphrase?: string): Promise<KeyObject> {
  const pem = await readSecretFile(path, 'key file');
  try {
    const key = createPrivateKey(passphrase === undefined ? pem : { key: pem, passphrase });
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (error) {
    const encrypted = pem.includes('ENCRYPTED');
    if (encrypted && passphrase === undefined) {
      throw new Fault(
        `key file ${path}: is encrypted`,
        'Give its passphrase in a file: `--passphrase-file FILE`, or in TANDEM_PASSPHRASE.',
      );
    }
    if (encrypted)
      throw new Fault(
        `key file ${path}: this passphrase does not open it`,
        'Check the passphrase; nothing was signed.',
      );
    throw new Fault(
      `key file ${path}: cannot be read as a key (${error instanceof Error ? error.message : String(error)})`,
      pem.includes('BEGIN OPENSSH')
        ? 'A key of OpenSSH signs what `tandem failover` and `keys admit` send; for this, take one in PKCS8 PEM: `tandem keys new`.'
        : 'Tandem takes Ed25519 keys in PKCS8 PEM: `tandem keys new` makes one.',
    );
  }
  throw new Fault(`key file ${path}: is no Ed25519 key`, '`tandem keys new` makes one.');
}

/** A secret's text without its last line feed. A file that others can read is refused: it is no secret any more. */
export async function readSecretFile(path: string, what: string): Promise<string> {
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0)
      throw new Fault(
        `${what} ${path}: others than its owner can read it (mode ${(mode & 0o777).toString(8)})`,
        `\`chmod 600 ${path}\`; if others may have read it, make a new secret.`,
      );
    const text = (await readFile(path, 'utf8')).replace(/\n$/, '');
    if (text !== '') return text;
  } catch (error) {
    if (error instanceof Fault) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new Fault(
      `${what} ${path}: ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`}`,
      'Correct the path, or put the file there with mode 600.',
    );
  }
  throw new Fault(`${what} ${path}: is empty`, 'Put the secret in it.');
}
