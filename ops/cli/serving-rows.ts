import { Database } from '../../activities/contacts/database.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { siteOf } from './site.ts';

export interface ServingRow {
  half: string;
  site: string;
  epoch: number;
  at: Date;
  /** The site whose database says so, and how many users of the half are held there. */
  database: string;
  held: number;
  /** False: the site is said to serve by a database of its own that holds a newer epoch. It does not. */
  open: boolean;
}

/** What says where the users of a half are: of the newest epoch; of two sites that say the same, the one that serves knows since when. */
export const newestRow = (serving: readonly ServingRow[], half: string): ServingRow | undefined =>
  serving
    .filter((row) => row.half === half)
    .toSorted((a, b) => b.epoch - a.epoch || Number(b.database === b.site) - Number(a.database === a.site))[0];

/** Who serves each half, as a site's own database says; nothing when it does not answer. A half that has nobody in it is nowhere but at home. */
export async function servingRows(
  configuration: Configuration,
  customer: CustomerConfiguration,
  site: string,
): Promise<ServingRow[]> {
  const found = (await siteOf(configuration, site).settings()).customers.get(customer.id);
  if (!found) return [];
  const database = new Database(`database of ${customer.id} at ${site}`, found.databaseUrl, {
    connections: 1,
    connectMs: 3000,
    statementMs: 3000,
  });
  try {
    return await database.query<ServingRow>(
      `select half, site, epoch::int as epoch, at,
              (select count(*)::int from tandem.quarantine q join tandem.home h using (username)
                where q.release is null and h.site = s.half) as held, $2 as database,
              s.site <> $2 or s.epoch = (select number from tandem.epoch e where e.customer = s.customer) as open
         from tandem.serving s
        where customer = $1 and (s.site = s.half or exists (select from tandem.home h where h.site = s.half))`,
      [customer.id, site],
    );
  } finally {
    await database.close();
  }
}
