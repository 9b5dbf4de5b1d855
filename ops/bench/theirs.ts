import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TABLES } from './data.ts';
import { run } from './run.ts';
import type { Tools } from './tools.ts';

/**
 * What a user would take instead: PostgreSQL's own tools and restic, as their manuals say, on the same tables of the same
 * server. Times are those of the whole command. Each is null when the tool is not on this machine.
 */
export interface Theirs {
  /** `pg_dump -Fc` of the tables to a local file; level 1 is `-Z1`. */
  dump(url: string, level: 'default' | 1): Promise<{ ms: number; file: string; bytes: number } | null>;
  /** `pg_restore -j2` of such a file into an empty database: tables, rows, then indexes. */
  restore(url: string, file: string): Promise<number | null>;
  /** One COPY a table, sorted by user, thrown away by the server. */
  sortedCopy(url: string): Promise<number | null>;
  /** A new restic repository on the local disk. */
  repository(): Promise<Repository | null>;
}

export interface Repository {
  /** Backs up a plain-text dump of the tables; answers how many bytes the repository grew by. */
  backup(url: string): Promise<number>;
  drop(): Promise<void>;
}

const tables = TABLES.flatMap((table) => ['-t', table]);

const sorted = [
  'select * from rosterusers order by username, jid',
  'select * from rostergroups order by username, jid',
  'select * from privacy_list order by username, name',
  'select * from privacy_list_data order by id, ord',
  'select * from privacy_default_list order by username',
];

export function createTheirs(tools: Tools, folder: string, signal: AbortSignal): Theirs {
  const { postgres, restic } = tools;
  return {
    async dump(url, level) {
      if (postgres === null) return null;
      const file = join(folder, `dump-${level}.custom`);
      const compression = level === 1 ? ['-Z1'] : [];
      const args = ['-Fc', ...compression, ...tables, '-f', file];
      const { ms } = await run(join(postgres, 'pg_dump'), args, { env: reach(url), signal });
      return { ms, file, bytes: (await stat(file)).size };
    },
    async restore(url, file) {
      if (postgres === null) return null;
      const env = reach(url);
      const args = ['-j2', '--exit-on-error', '-d', env['PGDATABASE'] ?? '', file];
      return (await run(join(postgres, 'pg_restore'), args, { env, signal })).ms;
    },
    async sortedCopy(url) {
      if (postgres === null) return null;
      const commands = sorted.flatMap((query) => ['-c', `copy (${query}) to '/dev/null'`]);
      return (await run(join(postgres, 'psql'), ['-qX', ...commands], { env: reach(url), signal })).ms;
    },
    async repository() {
      if (postgres === null || restic === null) return null;
      return openRepository(restic, join(postgres, 'pg_dump'), folder, signal);
    },
  };
}

async function openRepository(
  restic: string,
  pgDump: string,
  folder: string,
  signal: AbortSignal,
): Promise<Repository> {
  const home = join(folder, `restic-${randomBytes(4).toString('hex')}`);
  const repository = join(home, 'repository');
  const plain = join(home, 'contacts.sql');
  await mkdir(home, { recursive: true });
  const env = {
    ...process.env,
    RESTIC_REPOSITORY: repository,
    RESTIC_PASSWORD: randomBytes(16).toString('hex'),
    RESTIC_CACHE_DIR: join(home, 'cache'),
  };
  // The format that compresses: the default of newer versions, to be asked for in older ones.
  await run(restic, ['init', '--quiet', '--repository-version', 'latest'], { env, signal });
  return {
    async backup(url) {
      await run(pgDump, ['--data-only', ...tables, '-f', plain], { env: reach(url), signal });
      const before = await bytesBelow(repository);
      await run(restic, ['backup', '--quiet', plain], { env, signal });
      return (await bytesBelow(repository)) - before;
    },
    drop: () => rm(home, { recursive: true, force: true }),
  };
}

/** A database's address as PostgreSQL's programs take it, with the password out of everybody's sight. */
function reach(url: string): NodeJS.ProcessEnv {
  const at = new URL(url);
  return {
    ...process.env,
    PGHOST: at.hostname,
    PGPORT: at.port,
    PGUSER: at.username,
    PGPASSWORD: decodeURIComponent(at.password),
    PGDATABASE: at.pathname.slice(1),
  };
}

async function bytesBelow(folder: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) sum += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return sum;
}
