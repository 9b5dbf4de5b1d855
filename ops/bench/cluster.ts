import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import type { VaultAccess } from '../../activities/settings.ts';
import { down } from '../embedded/control.ts';
import { choosePorts } from '../embedded/ports.ts';
import { startPostgres } from '../embedded/postgres.ts';
import { startProcess } from '../embedded/processes.ts';
import { untilHealthy } from '../embedded/until-healthy.ts';
import { databasePassword, databaseUrl, vaultUsers } from '../embedded/secrets.ts';
import { findServers } from '../embedded/servers.mjs';
import { makeBucket, prepareVault, REGION, startVault } from '../embedded/vault.ts';
import { run } from './run.ts';
import type { Tools } from './tools.ts';

/**
 * The ground on which both sides are measured: one PostgreSQL and one S3 gateway, both on loopback, in a folder that is
 * deleted afterwards.
 */
export interface Ground {
  folder: string;
  /** What stands in a report: the server's version and its settings. */
  conditions: string[];
  url: (database: string) => string;
  /** An empty bucket, locked and with the rights of a vault. */
  newVault: () => Promise<VaultAccess>;
  /** Deletes a bucket behind the gateway's back: its objects are locked for weeks, and the disk is not ours to fill. */
  dropVault: (vault: VaultAccess) => Promise<void>;
  close: () => Promise<void>;
}

export const SITE = 'east';

/** Memory for one customer's tables, as a small server has it; all else is as Debian ships it unless it says why. */
const settings = {
  shared_buffers: '1GB',
  maintenance_work_mem: '256MB',
  // The data is made in bulk: no checkpoint of the making shall fall into the measuring.
  max_wal_size: '8GB',
  checkpoint_timeout: '30min',
  // It would start at times of its own; tables are vacuumed and analysed when they are made.
  autovacuum: 'off',
  max_connections: '50',
  dynamic_shared_memory_type: 'posix',
};

/** Starts both servers. Without the machine's PostgreSQL it is the embedded one, which has no pg_dump. */
export async function openGround(tools: Tools, signal: AbortSignal): Promise<Ground> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-bench-'));
  const close = async (): Promise<void> => {
    await down(folder);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const ports = (await choosePorts(folder, [SITE]))[SITE];
    if (!ports) throw new Error('no ports were chosen'); // choosePorts throws a fault of its own first.
    if (tools.postgres === null) await startPostgres(folder, SITE, ports.postgres);
    else await startMachinePostgres(folder, tools.postgres, ports.postgres, signal);
    await startVault(folder, SITE, ports.vault, findServers().versitygw);
    await prepareVault(folder, SITE, ports.vault);
    const any = await databaseUrl(folder, SITE, 'postgres', ports.postgres, 'postgres');
    const url = (database: string): string => Object.assign(new URL(any), { pathname: `/${database}` }).toString();
    await untilHealthy(folder, SITE, 'postgres', () => answers(any));
    const conditions = await describe(any);
    return { folder, conditions, url, close, ...vaults(folder, `http://127.0.0.1:${ports.vault}`) };
  } catch (error) {
    await close();
    throw error;
  }
}

function vaults(folder: string, endpoint: string): Pick<Ground, 'newVault' | 'dropVault'> {
  let made = 0;
  return {
    async newVault() {
      const users = await vaultUsers(folder, SITE);
      made += 1;
      const bucket = `bench-${made}`;
      await makeBucket({ endpoint, bucket, ...users });
      return { site: SITE, endpoint, region: REGION, bucket, ...users.writer };
    },
    async dropVault({ bucket }) {
      for (const store of ['vault', 'vault-versions'])
        await rm(join(folder, 'data', SITE, store, bucket), { recursive: true, force: true });
    },
  };
}

/** A cluster of its own of the machine's PostgreSQL, which refuses to run as root: then it is user `postgres`. */
async function startMachinePostgres(folder: string, bin: string, port: number, signal: AbortSignal): Promise<void> {
  const home = join(folder, 'cluster');
  const data = join(home, 'data');
  const passwordFile = join(home, 'password');
  await mkdir(home, { mode: 0o700 });
  await writeFile(passwordFile, await databasePassword(folder, SITE, 'postgres'), { mode: 0o600 });
  const owner = process.getuid?.() === 0 ? await account('postgres') : null;
  if (owner) {
    await chown(passwordFile, owner.uid, owner.gid);
    await chown(home, owner.uid, owner.gid);
    // mkdtemp closes its folder to others: they may pass through it, not look into it.
    await chmod(folder, 0o711);
  }
  const as = (command: string, args: string[]): [string, string[]] =>
    owner
      ? ['setpriv', [`--reuid=${owner.uid}`, `--regid=${owner.gid}`, '--clear-groups', command, ...args]]
      : [command, args];
  const initdb = ['-D', data, '-U', 'postgres', '--encoding=UTF8', '--locale=C', '--auth=scram-sha-256'];
  await run(...as(join(bin, 'initdb'), [...initdb, `--pwfile=${passwordFile}`, '--no-sync', '--no-instructions']), {
    signal,
  });
  const all = { ...settings, listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: '' };
  const options = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const [command, args] = as(join(bin, 'postgres'), ['-D', data, ...options]);
  await startProcess(folder, { site: SITE, name: 'postgres', command, args, cwd: '/' });
}

async function account(name: string): Promise<{ uid: number; gid: number }> {
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const found = lines.find(([user]) => user === name) ?? lines.find(([user]) => user === 'nobody') ?? [];
  return { uid: Number(found[2] ?? 65534), gid: Number(found[3] ?? 65534) };
}

async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2000 });
  client.on('error', () => undefined); // What matters is whether it connects.
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined); // It may never have been connected.
  }
}

async function describe(url: string): Promise<string[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const shown = ['shared_buffers', 'work_mem', 'maintenance_work_mem', 'max_wal_size', 'fsync', 'autovacuum'];
    const { rows } = await client.query<{ name: string; value: string }>(
      'select name, current_setting(name) as value from unnest($1::text[]) name',
      [['server_version', ...shown]],
    );
    const [version, ...rest] = rows.map(({ name, value }) => (name === 'server_version' ? value : `${name} ${value}`));
    return [`PostgreSQL ${version}, locale C, UTF-8, on loopback; ${rest.join(', ')}`];
  } finally {
    await client.end();
  }
}
