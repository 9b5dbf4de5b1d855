import type { Epoch } from '../../workflows/model/epoch.ts';
import { isCohort } from '../../workflows/model/half.ts';
import { goneToPeer, type OwnHalf, type PeerHalf } from '../../workflows/model/opening.ts';
import type { Database } from '../contacts/database.ts';
import { unsalvagedHere } from '../contacts/salvaged.ts';
import type { CustomerSettings } from '../settings.ts';
import { lockRights } from './closed.ts';

/**
 * Has this site know that its peer serves what it served itself before, by the peer's own database, once what it alone had of
 * it is salvaged. From then on the peer's snapshots of those users are brought here, and it is their copy. Nobody is served by
 * it, or closed: the rows that it replaces gave no right any more. Answers the halves. Safe to repeat.
 */
export async function followPeer(
  database: Database,
  { id, peer }: CustomerSettings,
  told: { epoch: Epoch; halves: readonly PeerHalf[] },
): Promise<string[]> {
  const known = await database.query<{ half: string }>(
    'select half from tandem.serving where customer = $1 and site = $2',
    [id, peer],
  );
  // No lock is taken where nothing is to be done.
  if (told.halves.every((row) => row.site !== peer || known.some(({ half }) => half === row.half))) return [];
  return database.transaction(async (client) => {
    const { site, epoch } = await lockRights(client, id);
    const { rows } = await client.query<{ half: string; site: string; epoch: string }>(
      'select half, site, epoch::text from tandem.serving where customer = $1 for update',
      [id],
    );
    const halves = rows.map((row): OwnHalf => ({ ...row, epoch: Number(row.epoch) }));
    const unsalvaged = (await unsalvagedHere(client, id, site)).flatMap((due) => due.halves);
    const gone = goneToPeer({ epoch, halves, unsalvaged }, peer, told);
    // One that has ended here, or is not known yet, is nobody's: who is in it comes with it (`adoptCohorts`).
    const learnt = gone.filter((half) => !isCohort(half) || halves.some((row) => row.half === half));
    for (const half of learnt)
      await client.query(
        `insert into tandem.serving as s (customer, half, site, epoch) values ($1, $2, $3, $4)
         on conflict (customer, half) do update set site = excluded.site, epoch = excluded.epoch, at = now()
           where s.epoch < excluded.epoch`,
        [id, half, peer, epoch.number],
      );
    return learnt;
  });
}
