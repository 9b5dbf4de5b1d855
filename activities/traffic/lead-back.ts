import type { PoolClient } from 'pg';
import { failureText } from '../../workflows/model/failures.ts';
import type { Database } from '../contacts/database.ts';
import { lockRights } from '../services/closed.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import { haproxySwitch } from './haproxy.ts';

/** Commands on the machine's own socket. */
const LIMIT_MS = 5000;

/** Where a move has led the users who come through this site's own proxy, in the transaction that says so. */
export async function noteLed(
  client: PoolClient,
  { customer, epoch, to }: { customer: string; epoch: number; to: readonly string[] },
): Promise<void> {
  await client.query(
    `insert into tandem.led (customer, epoch, sites) values ($1, $2, $3)
     on conflict (customer) do update set epoch = excluded.epoch, sites = excluded.sites, at = now()`,
    [customer, epoch, to],
  );
}

/**
 * Leads users through this site's own proxy to this site again: a move of its own led them away, and one that ran at the peer, which
 * has no hand on this proxy, has brought users back since. Only what such a move did is undone, once: a server that people have put
 * into maintenance stays there. Answers what was done, or why it could not be, for people. Safe to repeat.
 */
export async function leadBack(
  { proxy, site }: Pick<SiteSettings, 'proxy' | 'site'>,
  { id, backends }: Pick<CustomerSettings, 'id' | 'backends'>,
  database: Database,
): Promise<string[]> {
  if (!proxy || !backends) return [];
  const away = await database.query('select from tandem.led where customer = $1 and $2 <> all(sites)', [id, site]);
  if (away.length === 0) return [];
  try {
    return await database.transaction(async (client) => {
      const { epoch, halves } = await lockRights(client, id);
      const { rows } = await client.query<{ site: string }>(
        `select distinct s.site from tandem.serving s join tandem.led l on l.customer = s.customer
          where s.customer = $1 and s.epoch = $2 and l.epoch < $2 order by 1`,
        [id, epoch.number],
      );
      if (halves.length === 0 || rows.length === 0) return [];
      const to = rows.map((row) => row.site);
      await haproxySwitch({ proxy, backends }).shift({ customer: id, epoch, to }, AbortSignal.timeout(LIMIT_MS));
      await noteLed(client, { customer: id, epoch: epoch.number, to });
      return [`${id}: its proxy leads users to ${to.join(' and ')} again, who serve under epoch ${epoch.number}`];
    });
  } catch (error) {
    return [`${id}: its proxy still leads users away from ${site}, which serves again: ${failureText(error)}`];
  }
}
