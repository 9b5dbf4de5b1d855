import { spawn } from 'node:child_process';
import { sign } from 'node:crypto';
import { NAMESPACE } from '../workflows/model/sshsig.ts';
import { Fault } from './fault.ts';
import { loadPrivateKey, readSecretFile } from './keys.ts';
import { givenPassphrase } from './passphrase.ts';

const OPENSSH = '-----BEGIN OPENSSH PRIVATE KEY-----';

/**
 * Opens the key of a file, so that a wrong one is named before anything else is asked: PKCS8 PEM here, a key of OpenSSH by its
 * own ssh-keygen, which asks for the passphrase on the terminal itself or finds the key in an agent. What it gives signs a
 * text, and answers hex or an armored SSH signature.
 */
export async function openSigner(file: string, passphraseFile?: string): Promise<(text: string) => Promise<string>> {
  if ((await readSecretFile(file, 'key file')).startsWith(OPENSSH)) {
    if (passphraseFile !== undefined)
      throw new Fault(
        `key file ${file}: is a key of OpenSSH, whose passphrase ssh-keygen asks for itself`,
        'Leave out --passphrase-file; `ssh-add` keeps the key open in an agent.',
      );
    return (text) => signBySsh(file, text);
  }
  const key = await loadPrivateKey(file, await givenPassphrase(passphraseFile));
  return (text) => Promise.resolve(sign(null, Buffer.from(text), key).toString('hex'));
}

/** Signs one text with the key of a file. */
export async function signWith(file: string, text: string, passphraseFile?: string): Promise<string> {
  return (await openSigner(file, passphraseFile))(text);
}

async function signBySsh(file: string, text: string): Promise<string> {
  const child = spawn('ssh-keygen', ['-Y', 'sign', '-n', NAMESPACE, '-f', file], { stdio: ['pipe', 'pipe', 'pipe'] });
  let signature = '';
  let said = '';
  child.stdout.on('data', (part: Buffer) => (signature += part.toString()));
  child.stderr.on('data', (part: Buffer) => (said += part.toString()));
  child.stdin.on('error', () => undefined); // It ended before it read; its exit says why.
  child.stdin.end(text);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new Fault(
          `key file ${file}: is a key of OpenSSH, and ssh-keygen ${error.code === 'ENOENT' ? 'is not on this machine' : `cannot be run (${error.code})`}`,
          'Install openssh-client, or sign where the key is: `--print FILE`, then `--signed FILE`.',
        ),
      ),
    );
    child.once('close', resolve);
  });
  if (code === 0 && signature !== '') return signature;
  const last = said.trim().split('\n').at(-1) ?? '';
  throw new Fault(`key file ${file}: ssh-keygen did not sign (${last || `exit ${code}`})`, 'Nothing was sent.');
}
