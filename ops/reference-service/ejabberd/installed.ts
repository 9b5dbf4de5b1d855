import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Fault } from '../../fault.ts';

/** Debian's ejabberd, and our modules compiled for it. */

const LIBRARIES = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu'];
const DRIVERS = '/usr/lib/erlang/lib';
/** Of packages that ejabberd only suggests: its PostgreSQL driver, and the tokens of its API. */
const ADDED = ['p1_pgsql-', 'p1_oauth2-'];
const SOURCES = [
  'mod_tandem.erl',
  'mod_tandem_rights.erl',
  'mod_tandem_link.erl',
  'mod_tandem_doctor.erl',
  'mod_tandem_filter.erl',
  'mod_tandem_filter_policy.erl',
  'mod_tandem_filter_rules.erl',
  'mod_tandem_filter_links.erl',
  'mod_tandem_filter_text.erl',
  'mod_tandem_archive.erl',
  'mod_tandem_federation.erl',
].map((name) => fileURLToPath(new URL(name, import.meta.url)));

export interface Ejabberd {
  /** What Erlang searches for ejabberd's own code. */
  libraries: string;
  headers: string;
  /** SQL of its tables, where Debian has it. */
  schema: string;
}

/** Null when it is not on this machine, or what it needs beside is not. */
export function findEjabberd(): Ejabberd | null {
  const there = entries(DRIVERS);
  const complete = ADDED.every((prefix) => there.some((name) => name.startsWith(prefix)));
  for (const libraries of LIBRARIES) {
    const found = entries(libraries).find((name) =>
      existsSync(join(libraries, name, 'include', 'ejabberd_commands.hrl')),
    );
    if (found && complete)
      return { libraries, headers: join(libraries, found, 'include'), schema: '/usr/share/ejabberd/sql/pg.sql' };
  }
  return null;
}

const entries = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);

/** The folder with our modules' code, compiled once for each text of it and each ejabberd. */
export async function compileModule({ libraries, headers }: Ejabberd): Promise<string> {
  const digest = createHash('sha256').update(headers);
  for (const source of SOURCES) digest.update(await readFile(source));
  const cache = process.env['TANDEM_CACHE'] ?? join(homedir(), '.cache', 'tandem');
  const folder = join(cache, 'ejabberd', digest.digest('hex').slice(0, 16));
  if (existsSync(folder)) return folder;
  await mkdir(join(cache, 'ejabberd'), { recursive: true });
  const draft = await mkdtemp(`${folder}.`);
  try {
    await promisify(execFile)('erlc', ['-Wall', '-Werror', '-I', headers, '-o', draft, ...SOURCES], {
      env: { ...process.env, ERL_LIBS: libraries, ERL_CRASH_DUMP_BYTES: '0' },
      timeout: 60_000,
    });
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Fault(
      `modules of ejabberd: erlc failed: ${`${stdout}${stderr}`.trim().slice(-500) || String(error)}`,
      'It is written for ejabberd 23.01 of Debian 12: `apt-get install ejabberd erlang-p1-pgsql erlang-p1-oauth2`.',
    );
  }
  // Another command may have been as fast: the code is the same.
  await rename(draft, folder).catch(() => rm(draft, { recursive: true, force: true }));
  return folder;
}
