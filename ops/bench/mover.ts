import { createPrivateKey, createPublicKey } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { Database } from '../../activities/contacts/database.ts';
import { loadRecords } from '../../activities/contacts/load.ts';
import { restoreSnapshot } from '../../activities/contacts/restore.ts';
import type { Keyring } from '../../activities/settings.ts';
import { openSnapshot } from '../../activities/vault/open.ts';
import type { Vault } from '../../activities/vault/port.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { takeSnapshot } from '../../activities/vault/snapshot.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { CUSTOMER } from './data.ts';
import type { Job, Moved, Restored, Taken } from './ours.ts';

/** A process that does one piece of work for a bench: the job on standard input, what it took on standard output. */

const LIMITS = { connections: 6, connectMs: 5000, statementMs: 600_000 };
const MAX_AGE_MS = 600_000;

interface Traffic {
  put: number;
  read: number;
}

/** The vault, with what goes over the wire counted. */
function counted(vault: Vault, traffic: Traffic): Vault {
  return {
    site: vault.site,
    async put(key, body, options) {
      const result = await vault.put(key, body, options);
      if (result === 'stored') traffic.put += body.length;
      return result;
    },
    async versions(key, options) {
      const versions = await vault.versions(key, options);
      traffic.read += versions.reduce((sum, bytes) => sum + bytes.length, 0);
      return versions;
    },
    async read(key, range, options) {
      const bytes = await vault.read(key, range, options);
      traffic.read += bytes?.length ?? 0;
      return bytes;
    },
    mend: (key, body, options) => vault.mend(key, body, options),
    list: (prefix, options) => vault.list(prefix, options),
    versionCounts: (prefix, options) => vault.versionCounts(prefix, options),
    close: () => vault.close(),
  };
}

async function perform(job: Job): Promise<Omit<Taken, 'ms'> | Omit<Restored, 'ms'>> {
  const traffic: Traffic = { put: 0, read: 0 };
  const vault = counted(new S3Vault(job.vault), traffic);
  const database = new Database('bench', job.url, LIMITS);
  try {
    const done = job.work.kind === 'snapshot' ? await take(job, database, vault) : await restore(job, database, vault);
    return { ...done, ...moved(traffic) };
  } finally {
    vault.close();
    await database.close();
  }
}

const moved = (traffic: Traffic): Omit<Moved, 'ms'> => ({
  peakBytes: process.resourceUsage().maxRSS * 1024,
  bytesPut: traffic.put,
  bytesRead: traffic.read,
});

/** What both kinds of work are given. */
function common(job: Job) {
  const signingKey = createPrivateKey(job.signingKey);
  const keys: Keyring = { current: 'k1', ring: new Map([['k1', Buffer.from(job.customerKey, 'base64')]]) };
  const publicKeys = new Map([[job.vault.site, createPublicKey(signingKey)]]);
  return { signingKey, keys, publicKeys, heartbeat: () => undefined, signal: new AbortController().signal };
}

async function take(job: Job, database: Database, vault: Vault): Promise<Pick<Taken, 'id' | 'users'>> {
  if (job.work.kind !== 'snapshot') throw new Error('not a snapshot');
  const { customer, site, gen, seq, counts } = await takeSnapshot({
    ...common(job),
    vault,
    database,
    customer: CUSTOMER,
    site: job.vault.site,
    read: job.work.read,
    maxAgeMs: MAX_AGE_MS,
  });
  return { id: { customer, site, gen, seq }, users: counts.users };
}

async function restore(job: Job, database: Database, vault: Vault): Promise<Pick<Restored, 'users' | 'written'>> {
  if (job.work.kind !== 'restore') throw new Error('not a restore');
  const { id, into } = job.work;
  const { keys, publicKeys, heartbeat, signal } = common(job);
  const open = await openSnapshot({ vault, keys, publicKeys, id, signal });
  if (into === 'live') {
    const { users, written } = await restoreSnapshot({
      database,
      snapshot: open,
      halves: [id.site],
      guard: { customer: CUSTOMER, epoch: { number: 1, site: '-', move: 'provisioned' } },
      ledger: { snapshot: id, epoch: open.manifest.epoch, keys },
      heartbeat,
      signal,
    });
    return { users, written };
  }
  const { users, written } = await loadRecords({ database, records: open.records(), heartbeat, signal });
  return { users, written };
}

try {
  const job = JSON.parse(await text(process.stdin)) as Job;
  process.stdout.write(JSON.stringify(await perform(job)));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? failureText(error) : String(error)}\n`);
  process.exitCode = 1;
}
