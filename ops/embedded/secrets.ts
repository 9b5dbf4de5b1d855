import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** A secret of the stack: made once, kept in a file that only its owner can read. */
export async function secret(
  folder: string,
  name: string,
  make: () => string = () => randomBytes(18).toString('base64url'),
): Promise<string> {
  const path = join(folder, 'secrets', name);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  try {
    await writeFile(path, make(), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return readFile(path, 'utf8');
}

/** An Ed25519 key in PKCS8 PEM. */
export const newSigningKey = (): string =>
  generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();

export const databasePassword = (folder: string, site: string, role: string): Promise<string> =>
  secret(folder, `${site}-postgres-${role}`);

export async function databaseUrl(
  folder: string,
  site: string,
  role: string,
  port: number,
  database: string,
): Promise<string> {
  return `postgresql://${role}:${await databasePassword(folder, site, role)}@127.0.0.1:${port}/${database}`;
}

export interface VaultUser {
  accessKeyId: string;
  secretAccessKey: string;
}

/** The accounts of a site's vault: `root` administers it, `writer` is the site's own, `reader` its peer's. */
export async function vaultUser(folder: string, site: string, role: 'root' | 'writer' | 'reader'): Promise<VaultUser> {
  return {
    accessKeyId: await secret(folder, `${site}-vault-${role}-id`, () => `tandem-${site}-${role}`),
    secretAccessKey: await secret(folder, `${site}-vault-${role}-secret`, () => randomBytes(24).toString('base64url')),
  };
}
