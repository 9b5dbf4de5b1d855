import { whyShrunk, type SnapshotCounts } from '../../workflows/model/snapshots.ts';
import type { Manifest } from '../vault/manifest.ts';
import type { Database } from './database.ts';

/** Users with a home in $1 whom the ledger knows as served at $2. */
const HELD = `select h.username from tandem.home h
  join tandem.ledger l on l.username = h.username and l.served_by = $2 where h.site = any($1)`;

/**
 * Why a peer's snapshot is not believed: measured against the standby copy that stands here, for users whom the directory
 * still knows, so that people who left explain what went with them. A broken or emptied database at the other site must
 * never empty the copy at this one. Null when nothing speaks against it.
 */
export async function whySuspect(database: Database, manifest: Manifest): Promise<string | null> {
  const { customer, site, counts } = manifest;
  const [last] = await database.query<{ database: string | null; counts: SnapshotCounts | null }>(
    'select database, counts from tandem.applied where customer = $1 and site = $2',
    [customer, site],
  );
  if (last?.database && last.database !== manifest.database)
    return 'it was read from another database than those before';
  // What stands here came with it, but for people who left since: who has lost nothing against all of it, has not against less.
  if (last?.counts && whyShrunk(last.counts, counts) === null) return null;
  const halves = await database.query<{ half: string }>(
    'select half from tandem.serving where customer = $1 and site = $2',
    [customer, site],
  );
  const [held] = await database.query<Record<'users' | 'contacts' | 'items', string>>(
    `with held as materialized (${HELD})
     select (select count(*) from held)::text as users,
            (select count(*) from held join rosterusers r using (username))::text as contacts,
            (select count(*) from held join privacy_list p using (username)
                                  join privacy_list_data d on d.id = p.id)::text as items`,
    [halves.map(({ half }) => half), site],
  );
  const before: SnapshotCounts = {
    ...counts,
    users: Number(held?.users ?? 0),
    contacts: Number(held?.contacts ?? 0),
    aclItems: Number(held?.items ?? 0),
  };
  return whyShrunk(before, counts);
}
