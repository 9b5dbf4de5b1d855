import { execFile } from 'node:child_process';
import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Fault } from '../fault.ts';

/** The certification authority of an embedded stack: made at its first start, trusted by nobody else. */

const run = promisify(execFile);
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc'];
const DAYS = '825';

export interface Authority {
  /** Path of its certificate, PEM. */
  certificate: string;
  key: string;
}

export async function openAuthority(folder: string): Promise<Authority> {
  const authority = { certificate: join(folder, 'ca.pem'), key: join(folder, 'ca.key') };
  await mkdir(folder, { recursive: true, mode: 0o755 });
  if (await exists(authority.certificate)) return authority;
  const draft = `${authority.certificate}.new`;
  const named = ['-subj', '/CN=Tandem embedded stack', '-days', DAYS];
  const uses = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign'];
  await openssl(['req', '-x509', ...KEY, ...named, ...uses, '-keyout', authority.key, '-out', draft]);
  await rename(draft, authority.certificate);
  return authority;
}

/**
 * A certificate with its key in one PEM file, as ejabberd takes it: for a server (and, between servers, a client) of these
 * names or IP addresses. One that is there is kept.
 */
export async function certificateFor(
  authority: Authority,
  path: string,
  names: readonly string[],
  days = DAYS,
): Promise<string> {
  if (await exists(path)) return path;
  const [key, draft] = [`${path}.key`, `${path}.new`];
  const signed = ['-CA', authority.certificate, '-CAkey', authority.key];
  const named = ['-subj', `/CN=${names[0] ?? ''}`, '-days', days];
  const extensions = [
    `subjectAltName=${names.map((name) => `${isIP(name) ? 'IP' : 'DNS'}:${name}`).join(',')}`,
    'basicConstraints=critical,CA:FALSE',
    'extendedKeyUsage=serverAuth,clientAuth',
  ].flatMap((extension) => ['-addext', extension]);
  await openssl(['req', '-x509', ...signed, ...KEY, ...named, ...extensions, '-keyout', key, '-out', draft]);
  const whole = `${await readFile(draft, 'utf8')}${await readFile(key, 'utf8')}`;
  await writeFile(draft, whole, { mode: 0o600 });
  await rename(draft, path);
  return path;
}

async function openssl(args: string[]): Promise<void> {
  try {
    await run('openssl', args, { timeout: 20_000 });
  } catch (error) {
    throw new Fault(
      `certificates: openssl failed: ${String((error as { stderr?: string }).stderr ?? error)
        .trim()
        .slice(-300)}`,
      'The reference service needs the program openssl, version 3; `apt-get install openssl`.',
    );
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
