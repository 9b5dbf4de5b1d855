import { askService } from '../../services/management.ts';
import type { OwnSite } from '../../services/site.ts';
import type { CustomerSettings } from '../../settings.ts';
import type { Provisioner } from './port.ts';

/** A command of the API is a moment's work. */
const ASK_LIMIT_MS = 5000;

/**
 * Makes accounts of a half at this site, by the API of its service and with a home, as provisioning does; null where there
 * is no API to ask.
 */
export function provisionerOf(site: OwnSite, { id, domain: host }: CustomerSettings, half: string): Provisioner | null {
  const management = site.settings.services.get(site.settings.site)?.management;
  if (!management) return null;
  const database = site.database(id);
  const ask = async (command: string, args: Record<string, string>, signal: AbortSignal): Promise<void> => {
    await askService(management, command, { host, ...args }, { limitMs: ASK_LIMIT_MS, signal });
  };
  return {
    async register({ user, password }, signal) {
      // Nobody is served without a home: it is there before anybody can ask for it.
      await database.query('insert into tandem.home (username, site) values ($1, $2)', [user, half]);
      // Nor by a directory that does not know him: it takes him for disabled with its next answer.
      await database.query(
        `insert into tandem.entitlement (username, enabled, version)
           select $1, true, version from tandem.directory_answer where customer = $2 and at is not null`,
        [user, id],
      );
      await ask('register', { user, password }, signal);
    },
    async unregister({ user }, signal) {
      try {
        await ask('unregister', { user }, signal);
      } finally {
        await database.query(
          `with gone as (delete from tandem.entitlement where username = $1)
             delete from tandem.home where username = $1`,
          [user],
        );
      }
    },
  };
}
