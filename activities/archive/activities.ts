import { failure } from '../../workflows/model/failures.ts';
import type { ArchiveResult } from '../../workflows/model/retention.ts';
import { Database } from '../contacts/database.ts';
import type { Running } from '../running.ts';
import type { SiteSettings } from '../settings.ts';
import type { ArchiveActivities } from '../types.ts';
import { deleteExpiredArchive } from './expired.ts';

const LIMITS = { connections: 1, connectMs: 5000, statementMs: 60_000 };

/** What becomes of archives. Small statements, one after the other: they need no process of their own. */
export function createArchiveActivities(settings: SiteSettings, running: () => Running): ArchiveActivities {
  return {
    async 'delete-expired-archive'({ customer }): Promise<ArchiveResult> {
      const found = settings.customers.get(customer);
      if (!found)
        throw failure('unknown-customer', `customer ${JSON.stringify(customer)}: ${settings.site} does not serve it`);
      const now = Date.now();
      // What the service keeps for a customer without the option is not Tandem's to delete.
      if (!found.options.includes('content-archiving'))
        return { customer, before: null, deleted: 0, archive: 'no-option' };
      const database = new Database(`database of ${customer} at ${settings.site}`, found.databaseUrl, LIMITS);
      try {
        return await deleteExpiredArchive(database, { customer, now, ...running() });
      } finally {
        await database.close();
      }
    },
  };
}
