import { failure, failureText } from '../../workflows/model/failures.ts';
import type { ApplyCounts, SnapshotCounts } from '../../workflows/model/snapshots.ts';
import type { UserRecord } from '../vault/record.ts';
import { sha256 } from '../vault/signed.ts';
import { compareSnapshot } from './compare.ts';
import { Database } from './database.ts';
import { loadRecords } from './load.ts';

/** Nothing without this prefix is ever created or dropped here. */
const SCRATCH_PREFIX = 'tandem_test_';

const LIMITS = { connections: 6, connectMs: 5000, statementMs: 300_000 };

/** Where scratch databases are made: the server of a customer's contact database, by a role that may create databases. */
export interface ScratchServer {
  database: Database;
  /** The URL of that database. */
  url: string;
}

export interface ScratchWork {
  records: AsyncIterable<UserRecord>;
  heartbeat: (progress: Record<string, number>) => void;
  signal: AbortSignal;
}

/** How the scratch databases of a customer's tests begin: whatever has this name on its server was made by them. */
export const scratchPrefix = ({ url }: Pick<ScratchServer, 'url'>): string =>
  SCRATCH_PREFIX + sha256(new URL(url).pathname).slice(0, 8);

/** The scratch database of one run: the same for every attempt. */
export const scratchName = (server: Pick<ScratchServer, 'url'>, run: string): string =>
  scratchPrefix(server) + sha256(run).slice(0, 16);

/** Names of the scratch databases of a customer that are there now. */
export async function scratchDatabases(server: ScratchServer): Promise<string[]> {
  const rows = await server.database.query<{ datname: string }>(
    'select datname from pg_database where starts_with(datname, $1) order by datname',
    [scratchPrefix(server)],
  );
  return rows.map(({ datname }) => datname);
}

/** Creates the scratch database of a run anew and restores the records into it, by the code of a real restore. */
export async function restoreScratch(server: ScratchServer, run: string, work: ScratchWork): Promise<ApplyCounts> {
  const name = scratchName(server, run);
  await dropScratch(server.database, name);
  await server.database.query(
    `create database ${checked(name)} template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'`,
  );
  return inScratch(server, name, async (scratch) => {
    return loadRecords({ database: scratch, ...work });
  });
}

/** Compares the whole scratch database with the records. A row too many is a mismatch, like one too few. */
export async function compareScratch(
  server: ScratchServer,
  run: string,
  work: ScratchWork,
): Promise<{ counts: SnapshotCounts; mismatches: number }> {
  return inScratch(server, scratchName(server, run), async (scratch) => {
    const { counts, mismatches } = await compareSnapshot({ database: scratch, whole: true, ...work });
    return { counts, mismatches };
  });
}

/**
 * Fine when there is none. Refuses every name that no run of a test has. While the server's own vacuum is in it, which only a superuser
 * may end by force, it is dropped without: that asks the vacuum to go, and waits for it.
 */
export async function dropScratch(database: Database, name: string): Promise<void> {
  const drop = `drop database if exists ${checked(name)}`;
  try {
    await database.query(`${drop} with (force)`);
  } catch (error) {
    if (!failureText(error).includes('terminate process')) throw error;
    await database.query(drop);
  }
}

function checked(name: string): string {
  if (/^tandem_test_[0-9a-f]{24}$/.test(name)) return name;
  throw failure('database-refused', `database ${JSON.stringify(name)}: not the name of a scratch database`);
}

async function inScratch<T>(server: ScratchServer, name: string, work: (scratch: Database) => Promise<T>): Promise<T> {
  const url = new URL(server.url);
  url.pathname = `/${checked(name)}`;
  const scratch = new Database(`${server.database.name}, scratch ${name}`, url.href, LIMITS);
  try {
    return await work(scratch);
  } finally {
    await scratch.close();
  }
}
