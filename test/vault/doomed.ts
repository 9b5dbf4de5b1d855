import { createPrivateKey, createPublicKey } from 'node:crypto';
import { Database } from '../../activities/contacts/database.ts';
import type { VaultAccess } from '../../activities/settings.ts';
import type { Vault } from '../../activities/vault/port.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { salvageHalves } from '../../activities/vault/salvage.ts';
import { takeSnapshot } from '../../activities/vault/snapshot.ts';

/** What a process is told that takes a snapshot, or salvages, and kills itself on the way. */
export interface Doom {
  work: 'snapshot' | 'salvage';
  url: string;
  access: VaultAccess;
  signingKey: string;
  key: string;
  customer: string;
  site: string;
  /** Part of a key: the process dies right before, or right after, it has stored one like it. */
  at: string;
  when: 'before' | 'after';
}

const doom = JSON.parse(process.argv[2] ?? '') as Doom;
const vault = new S3Vault(doom.access);
const die = (): void => {
  process.kill(process.pid, 'SIGKILL');
};
const dying: Vault = {
  site: vault.site,
  async put(key, body, options) {
    if (key.includes(doom.at) && doom.when === 'before') die();
    const result = await vault.put(key, body, options);
    if (key.includes(doom.at) && doom.when === 'after') die();
    return result;
  },
  versions: (key, options) => vault.versions(key, options),
  read: (key, range, options) => vault.read(key, range, options),
  mend: (key, body, options) => vault.mend(key, body, options),
  list: (prefix, options) => vault.list(prefix, options),
  versionCounts: (prefix, options) => vault.versionCounts(prefix, options),
  close: () => vault.close(),
};
const signingKey = createPrivateKey(doom.signingKey);
const request = {
  vault: dying,
  database: new Database('database', doom.url, { connections: 2, connectMs: 2000, statementMs: 60_000 }),
  customer: doom.customer,
  site: doom.site,
  keys: { current: 'k1', ring: new Map([['k1', Buffer.from(doom.key, 'hex')]]) },
  signingKey,
  publicKeys: new Map([[doom.site, createPublicKey(signingKey)]]),
  read: 'all' as const,
  maxAgeMs: 60_000,
  restored: () => Promise.resolve(null),
  heartbeat: () => undefined,
  signal: new AbortController().signal,
};
await (doom.work === 'snapshot' ? takeSnapshot(request) : salvageHalves(request));
