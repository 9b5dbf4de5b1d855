import type { Database } from '../../contacts/database.ts';
import { askService } from '../../services/management.ts';
import type { OwnSite } from '../../services/site.ts';
import type { CustomerSettings } from '../../settings.ts';
import { isLeftBehind, MOMENTARY } from './momentary.ts';
import type { Provisioner } from './port.ts';

/** A command of the API is a moment's work. */
const ASK_LIMIT_MS = 5000;

/**
 * Makes accounts of a half at this site, by the API of its service and with a home, as provisioning does; null where there
 * is no API to ask.
 */
export function provisionerOf(site: OwnSite, { id, domain: host }: CustomerSettings, half: string): Provisioner | null {
  const service = site.settings.services.get(site.settings.site);
  if (!service?.management) return null;
  const { clients, management } = service;
  const database = site.database(id);
  const ask = async (command: string, args: Record<string, string>, signal: AbortSignal): Promise<void> => {
    await askService(management, command, { host, ...args }, { limitMs: ASK_LIMIT_MS, signal });
  };
  const remove = async (user: string, signal: AbortSignal): Promise<void> => {
    try {
      await ask('unregister', { user }, signal);
    } finally {
      await database.query(
        `with gone as (delete from tandem.entitlement where username = $1)
           delete from tandem.home where username = $1`,
        [user],
      );
    }
  };
  return {
    clients,
    async register({ user, password }, signal) {
      for (const left of await leftBehind(database)) await remove(left, signal);
      // Nobody is served without a home: it is there before anybody can ask for it.
      await database.query('insert into tandem.home (username, site) values ($1, $2)', [user, half]);
      // Nor by a directory that does not know him: the follower leaves him alone.
      await database.query(
        `insert into tandem.entitlement (username, enabled, version)
           select $1, true, version from tandem.directory_answer where customer = $2 and at is not null`,
        [user, id],
      );
      await ask('register', { user, password }, signal);
    },
    unregister: ({ user }, signal) => remove(user, signal),
  };
}

/** By probes that were killed in their middle. */
async function leftBehind(database: Database): Promise<string[]> {
  const rows = await database.query<{ username: string }>(
    `select username from tandem.home where username like $1 union
     select username from tandem.entitlement where username like $1 union
     select username from users where username like $1`,
    [MOMENTARY],
  );
  return rows.map(({ username }) => username).filter((username) => isLeftBehind(username, Date.now()));
}
