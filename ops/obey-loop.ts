import { Database } from '../activities/contacts/database.ts';
import { obeyNewerEpoch } from '../activities/services/obey.ts';
import { askRights } from '../activities/services/obeyed.ts';
import type { SiteSettings } from '../activities/settings.ts';
import { failureText } from '../workflows/model/failures.ts';
import { pause } from './temporal.ts';

const EVERY_MS = 10_000;
const LIMITS = { connections: 1, connectMs: 3000, statementMs: 5000 };

/**
 * Obeys a newer epoch that the peer has claimed, while the worker lives: a site whose database comes back after a failover
 * may find its own rows as they were, with a worker that was never gone. What cannot be read is no reason to close; it is
 * read again.
 */
export async function obeyEpochs(
  settings: SiteSettings,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const { site } = settings;
  const customers = [...settings.customers.values()].map((customer) => ({
    customer,
    database: new Database(`database of ${customer.id} at ${site}`, customer.databaseUrl, LIMITS),
    silent: false,
  }));
  try {
    while (!signal.aborted) {
      const next = Date.now() + EVERY_MS;
      for (const one of customers) {
        const { customer, database } = one;
        try {
          const newer = await obeyNewerEpoch(settings, customer.id, database);
          one.silent = false;
          if (!newer) continue;
          say(`${customer.id}: ${newer.site} has claimed epoch ${newer.number}; this site is closed`);
          // Its service reads that by itself within seconds; asked, at once.
          await askRights(settings, customer, site, signal);
        } catch (error) {
          if (signal.aborted) break;
          if (!one.silent) say(`${customer.id}: newer epochs cannot be looked for: ${failureText(error)}`);
          one.silent = true;
        }
      }
      await pause(Math.max(0, next - Date.now()), signal);
    }
  } finally {
    await Promise.all(customers.map(({ database }) => database.close()));
  }
}
