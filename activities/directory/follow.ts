import type { PoolClient } from 'pg';
import { failureKind, failureText, type FailureKind } from '../../workflows/model/failures.ts';
import { Database } from '../contacts/database.ts';
import type { CustomerSettings, DirectorySettings } from '../settings.ts';
import { applyAnswer, type Outcome } from './apply.ts';
import { openDirectory } from './open.ts';
import type { Directory } from './port.ts';
import { stageAnswer } from './staging.ts';

/** One for the answer as it comes, one for a directory that is a table here. */
const LIMITS = { connections: 2, connectMs: 5000, statementMs: 120_000 };

const directoryFaults: readonly (FailureKind | undefined)[] = [
  'directory-unreachable',
  'directory-refused',
  'directory-incomplete',
];

/** Whether it is the directory that gave no answer, and nothing of this site's own. */
export const isDirectoryFault = (error: unknown): boolean => directoryFaults.includes(failureKind(error));

export interface Following {
  site: string;
  customer: Pick<CustomerSettings, 'id' | 'sites' | 'databaseUrl'>;
  settings: DirectorySettings;
  signal: AbortSignal;
  /** Whatever else must hold when the answer is taken, in the same transaction. */
  guard?: (client: PoolClient, name: string) => Promise<void>;
  /** Finds out what would come of it, and changes nothing. */
  dryRun?: boolean;
  /** Another way to the directory. */
  open?: (settings: DirectorySettings, database: Database) => Directory;
}

/**
 * Asks the customer's directory who has an account, and makes its answer the one in force in this site's own database, or
 * holds it (`applyAnswer`). Nothing is changed before the whole of it is there; without one the reason is written down and
 * thrown, and the last good answer stays in force. Safe to repeat. Needs nothing of the other site.
 */
export async function followDirectory({
  site,
  customer,
  settings,
  signal,
  guard,
  dryRun = false,
  open = openDirectory,
}: Following): Promise<Outcome> {
  const database = new Database(`database of ${customer.id} at ${site}`, customer.databaseUrl, LIMITS);
  try {
    return await database.connection(async (client) => {
      const { rows } = await client.query<{ now: Date }>('select clock_timestamp() as now');
      const askedAt = rows[0]?.now ?? new Date();
      const oddities = await stageAnswer(client, open(settings, database), customer.sites, signal);
      signal.throwIfAborted();
      await client.query('begin');
      await guard?.(client, database.name);
      const { removalsShare } = settings;
      const outcome = await applyAnswer(client, { customer: customer.id, askedAt, removalsShare, oddities });
      await client.query(dryRun ? 'rollback' : 'commit');
      return outcome;
    });
  } catch (error) {
    signal.throwIfAborted(); // Told to end: that is why, whatever the database says of it.
    if (isDirectoryFault(error) && !dryRun) await noteFailure(database, customer.id, failureText(error));
    throw error;
  } finally {
    await database.close();
  }
}

async function noteFailure(database: Database, customer: string, because: string): Promise<void> {
  await database.query(
    `insert into tandem.directory_answer (customer, failed) values ($1, $2)
     on conflict (customer) do update set tried_at = now(), failed = excluded.failed`,
    [customer, because],
  );
}
