import type { Undelivered } from '../../workflows/model/plan.ts';
import type { Database } from '../contacts/database.ts';

/**
 * Messages that wait in a site's own store for users whom it serves, because they were not there to take them. They are in no
 * snapshot: when the site is lost so are they, until it is back, and this is how people come to know how many. Null where the
 * service keeps them elsewhere, or Tandem may not look.
 */
export async function countUndelivered(database: Database): Promise<Undelivered | null> {
  const [may] = await database.query<{ look: boolean }>(
    `select coalesce(has_table_privilege(to_regclass('public.spool'), 'select'), false) as look`,
  );
  if (!may?.look) return null;
  const [found] = await database.query<Omit<Undelivered, 'at'> & { at: Date }>(
    `select count(*)::int as messages, count(distinct s.username)::int as users, now() as at
       from public.spool s join tandem.home h on h.username = s.username
      where h.site in (select half from tandem.served)`,
  );
  return found ? { ...found, at: found.at.toISOString() } : null;
}
