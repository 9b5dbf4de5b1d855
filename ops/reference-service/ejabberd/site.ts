import { createHash, randomBytes } from 'node:crypto';
import { copyFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Client } from 'pg';
import { greetsClients } from '../../../activities/probes/service.ts';
import { startProcess, type ProcessRecord } from '../../embedded/processes.ts';
import { untilHealthy } from '../../embedded/until-healthy.ts';
import { openToAll, unprivileged } from '../../embedded/unprivileged.ts';
import { hand } from '../hand.ts';
import { ejabberdConfiguration, nodeOf, TICK_S, type EjabberdOptions } from './configuration.ts';
import { compileModule, type Ejabberd } from './installed.ts';

/** One site of the reference service: an ejabberd upon the site's own contact database. */

/** A scheduler with nothing to do sleeps at once: by default it looks for work meanwhile, on cores that the stack's other servers need. */
const IDLE = ['+sbwt', 'none', '+sbwtdcpu', 'none', '+sbwtdio', 'none'];
const DUPLICATE_TABLE = '42P07';

/** Tables that the embedded stack's own schema lacks, from ejabberd's. Safe to repeat. */
export async function makeServiceTables(ejabberd: Ejabberd, databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    // A role makes what it does not place in the schema of its name, if there is one.
    await client.query('set search_path to public');
    const text = (await readFile(ejabberd.schema, 'utf8')).replaceAll(/^\s*--.*$/gm, '');
    for (const statement of text.split(';').filter((s) => s.trim() !== '')) {
      await client.query(statement).catch((error: { code?: string }) => {
        // A table or index that is there: ours are the same, and may hold users already.
        if (error.code !== DUPLICATE_TABLE) throw error;
      });
    }
  } finally {
    await client.end();
  }
}

const homeOf = (folder: string, site: string): string => join(folder, 'data', site, 'ejabberd');

/** Starts it and waits until it greets clients. All that it keeps lies in the site's folder of the stack. */
export async function startEjabberd(
  folder: string,
  ejabberd: Ejabberd,
  options: EjabberdOptions,
): Promise<ProcessRecord> {
  const { site, address, ports, domain } = options;
  const home = homeOf(folder, site);
  const own = (name: string): string => join(home, name);
  await mkdir(dirname(home), { recursive: true });
  await mkdir(home, { recursive: true, mode: 0o700 });
  const spool = await spoolFor(home);
  await mkdir(own('log'), { recursive: true, mode: 0o700 });
  await mkdir(own('modules'), { recursive: true, mode: 0o700 });
  // The cache may lie where the server's account cannot look.
  await cp(await compileModule(ejabberd), own('code'), { recursive: true });
  await copyFile(options.certificate, own('site.pem'));
  await copyFile(options.authority, own('ca.pem'));
  const configuration = ejabberdConfiguration({ ...options, certificate: own('site.pem'), authority: own('ca.pem') });
  await secretFile(own('ejabberd.yml'), configuration, 0o600);
  if (options.resolver) await writeFile(own('inetrc'), inetrc(options.resolver), { mode: 0o644 });
  await secretFile(own('.erlang.cookie'), await cookie(folder), 0o400);
  await hand([
    home,
    spool,
    ...['log', 'modules', 'code', 'site.pem', 'ca.pem', 'ejabberd.yml', '.erlang.cookie'].map(own),
  ]);
  // No port mapper, which would be shared by all on this machine: the port is known, and bound to loopback.
  const distribution = `-start_epmd false -erl_epmd_port ${ports.distribution}`.split(' ');
  // What ejabberd.yml says of the tick counts a minute after the start only.
  const ticks = ['net_ticktime', String(TICK_S)];
  const bound = ['-kernel', 'inet_dist_use_interface', `{${address.replaceAll('.', ',')}}`, ...ticks];
  const stored = ['-mnesia', 'dir', JSON.stringify(spool)];
  const named = ['-noinput', '+K', 'true', ...IDLE, '-name', nodeOf(site, address)];
  const args = [...named, ...distribution, ...bound, '-pa', own('code'), ...stored, '-s', 'ejabberd'];
  const record = await startProcess(folder, {
    site,
    name: 'ejabberd',
    ...(await unprivileged('/usr/bin/erl', args, home)),
    cwd: home,
    env: {
      HOME: home,
      ERL_LIBS: ejabberd.libraries,
      ERL_CRASH_DUMP_BYTES: '0',
      ...(options.resolver && { ERL_INETRC: own('inetrc') }),
      EJABBERD_CONFIG_PATH: own('ejabberd.yml'),
      EJABBERD_LOG_PATH: own('log/ejabberd.log'),
      CONTRIB_MODULES_PATH: own('modules'),
      CONTRIB_MODULES_CONF_DIR: own('modules'),
    },
  });
  await untilHealthy(folder, site, 'ejabberd', () =>
    greetsClients(`${address}:${ports.clients}`, domain, AbortSignal.timeout(1000)).then(
      () => true,
      () => false,
    ),
  );
  return record;
}

/**
 * Mnesia refuses a folder below one that is closed to its account, whatever rights the process has. It keeps nothing that is
 * missed after a restart: all that lasts is in SQL.
 */
async function spoolFor(home: string): Promise<string> {
  const open = process.getuid?.() !== 0 || (await openToAll(home));
  const spool = open ? join(home, 'spool') : spoolElsewhere(home);
  await mkdir(spool, { recursive: true, mode: 0o700 });
  return spool;
}

const spoolElsewhere = (home: string): string =>
  join(tmpdir(), `tandem-ejabberd-${createHash('sha256').update(home).digest('hex').slice(0, 16)}`);

/** Deletes what a site's ejabberd keeps outside of the stack's folder. It must not run. */
export const forgetEjabberd = (folder: string, site: string): Promise<void> =>
  rm(spoolElsewhere(homeOf(folder, site)), { recursive: true, force: true });

/** How Erlang resolves names: by this server and no other. It takes the targets of SRV records to the machine's own. */
const inetrc = ({ address, port }: { address: string; port: number }): string =>
  [
    '{resolv_conf, ""}.',
    '{lookup, [file, dns]}.',
    `{nameserver, {${address.replaceAll('.', ',')}}, ${port}}.`,
    '{timeout, 1000}.',
    '{retry, 1}.',
    '',
  ].join('\n');

/** What the nodes of a stack prove to each other: both know it, nobody else does. */
async function cookie(folder: string): Promise<string> {
  const path = join(folder, 'secrets', 'ejabberd-cookie');
  await mkdir(join(folder, 'secrets'), { recursive: true, mode: 0o700 });
  await writeFile(path, randomBytes(24).toString('hex'), { flag: 'wx', mode: 0o600 }).catch(() => undefined);
  return readFile(path, 'utf8');
}

async function secretFile(path: string, text: string, mode: number): Promise<void> {
  await rm(path, { force: true });
  await writeFile(path, text, { mode });
}
