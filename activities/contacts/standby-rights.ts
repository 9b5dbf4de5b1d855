import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { requireSalvaged } from './salvaged.ts';

/** Whose rows a standby copy may write: by the rows of this site's own database alone. */

interface Rights {
  /** What the snapshot's site serves by what is known here. */
  halves: string[];
  /** Of them, those that this site served before, and whose rows are kept in its vault as it left them. */
  salvaged: string[];
}

/** Locks epoch and serving rows. `epoch-superseded` and `salvage-due` as `applyStandby` has them. */
export async function lockRights(client: PoolClient, name: string, snapshot: SnapshotSummary): Promise<Rights> {
  const { rows: epochs } = await client.query<{ number: string }>(
    'select number::text from tandem.epoch where customer = $1 for share',
    [snapshot.customer],
  );
  const number = Number(epochs[0]?.number ?? Number.NaN);
  if (!(snapshot.epoch >= number)) {
    throw failure(
      'epoch-superseded',
      `${name}: snapshot ${snapshot.seq} of ${snapshot.site} has epoch ${snapshot.epoch}, ${number} is known here`,
    );
  }
  const { rows } = await client.query<{ half: string; site: string; epoch: string }>(
    'select half, site, epoch::text from tandem.serving where customer = $1 for share',
    [snapshot.customer],
  );
  const halves = rows.filter((r) => r.site === snapshot.site && Number(r.epoch) <= snapshot.epoch).map((r) => r.half);
  return { halves, salvaged: await requireSalvaged(client, name, snapshot.customer, halves) };
}

/** Whether there are users who are served neither there nor here by what is known here: those of a site that came back. */
export async function anyOrphans(client: PoolClient, customer: string, halves: readonly string[]): Promise<boolean> {
  const { rowCount } = await client.query(
    `select from tandem.home h where h.site <> all($2) and not exists (
       select from tandem.identity i
         join tandem.serving s on s.customer = i.customer and s.site = i.site and s.half = h.site
         join tandem.epoch e on e.customer = i.customer and e.number = s.epoch
        where i.customer = $1) limit 1`,
    [customer, halves],
  );
  return rowCount !== 0;
}

/** The half of each of them that is served there. */
export async function servedThere(client: PoolClient, names: string[], halves: string[]): Promise<Map<string, string>> {
  const { rows } = await client.query<{ username: string; half: string }>(
    'select username, site as half from tandem.home where username = any($1) and site = any($2) for share',
    [names, halves],
  );
  return new Map(rows.map(({ username, half }) => [username, half]));
}
