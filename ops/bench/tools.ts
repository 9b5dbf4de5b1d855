import { access, constants, mkdir, readdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { Fault } from '../fault.ts';
import { run } from './run.ts';

/** What a user would take instead of Tandem, as this machine has it. Null where it is not installed. */
export interface Tools {
  /** A folder with initdb, postgres, psql, pg_dump and pg_restore of one version. */
  postgres: string | null;
  restic: string | null;
}

const ROOT = '/usr/lib/postgresql';
const PACKAGES = ['postgresql', 'postgresql-client', 'restic'];

/** Looks for the tools without changing anything. */
export async function findTools(): Promise<Tools> {
  return { postgres: await findPostgres(), restic: await onPath('restic') };
}

/** Installs what is missing: as root, from Debian's own packages. Anybody else is told what to install. */
export async function installTools(say: (line: string) => void, signal: AbortSignal): Promise<Tools> {
  const found = await findTools();
  if (found.postgres !== null && found.restic !== null) return found;
  const command = `apt-get install -y --no-install-recommends ${PACKAGES.join(' ')}`;
  if (process.getuid?.() !== 0 || (await onPath('apt-get')) === null)
    throw new Fault(
      'bench: PostgreSQL with its tools, or restic, is not installed',
      `\`${command}\`, or --no-install to leave those figures open.`,
    );
  say(`Installing ${PACKAGES.join(', ')}: what the vault is measured against.`);
  if (found.postgres === null) await refuseMainCluster();
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const quietly = ['-qq', '-o', 'Dpkg::Options::=--force-confold'];
  await run('apt-get', ['update', '-qq'], { env, signal });
  await run('apt-get', [...quietly, 'install', '-y', '--no-install-recommends', ...PACKAGES], { env, signal });
  const now = await findTools();
  if (now.postgres !== null && now.restic !== null) return now;
  throw new Fault(`bench: \`${command}\` left something out`, `Run it by hand and read what it says.`);
}

/** Debian's package would start a server of its own at once, beside ours, on the port that everybody tries first. */
async function refuseMainCluster(): Promise<void> {
  await mkdir('/etc/postgresql-common', { recursive: true });
  try {
    await writeFile('/etc/postgresql-common/createcluster.conf', 'create_main_cluster = false\n', { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // The machine's owner has decided already.
  }
}

/** The newest version with all its tools: a pg_dump older than its server refuses to work. */
async function findPostgres(): Promise<string | null> {
  const versions = await readdir(ROOT).catch(() => []);
  for (const version of versions.toSorted((a, b) => Number(b) - Number(a))) {
    const folder = join(ROOT, version, 'bin');
    const needed = ['initdb', 'postgres', 'psql', 'pg_dump', 'pg_restore'];
    if ((await Promise.all(needed.map((name) => isExecutable(join(folder, name))))).every(Boolean)) return folder;
  }
  return null;
}

async function onPath(name: string): Promise<string | null> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    if (await isExecutable(join(folder, name))) return join(folder, name);
  }
  return null;
}

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
