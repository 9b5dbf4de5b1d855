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

/** Of a site's vault: `root` administers it, `writer` is the site's own, `cleaner` its retention's, `reader` its peer's. */
export type VaultRole = 'root' | 'writer' | 'cleaner' | 'reader';

export type VaultUsers = Record<VaultRole, VaultUser>;

/** The accounts of a site's vault, made when they are first asked for. */
export async function vaultUsers(folder: string, site: string): Promise<VaultUsers> {
  const of = (role: VaultRole): Promise<VaultUser> => vaultUser(folder, site, role);
  const [root, writer, cleaner, reader] = await Promise.all([of('root'), of('writer'), of('cleaner'), of('reader')]);
  return { root, writer, cleaner, reader };
}

/** An account of the witness: its own administrator, or a site. */
export const witnessUser = (folder: string, who: string): Promise<VaultUser> => vaultUser(folder, 'witness', who);

async function vaultUser(folder: string, site: string, role: string): Promise<VaultUser> {
  return {
    accessKeyId: await secret(folder, `${site}-vault-${role}-id`, () => `tandem-${site}-${role}`),
    secretAccessKey: await secret(folder, `${site}-vault-${role}-secret`, () => randomBytes(24).toString('base64url')),
  };
}
