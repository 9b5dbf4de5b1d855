import type { Epoch } from '../../workflows/model/epoch.ts';
import { handedOver, type PeerHalf } from '../../workflows/model/opening.ts';
import type { Database } from '../contacts/database.ts';
import type { CustomerSettings } from '../settings.ts';
import { lockRights } from './closed.ts';

/**
 * Takes the right to serve what the peer has given to this site: by the peer's own database, which let go of it there before,
 * under the epoch that both hold. A move hands over by itself (`tandem.hand_over`); this is for a site that could not be told
 * then. Answers the halves that are newly its own. Safe to repeat.
 */
export async function takeHandedOver(
  database: Database,
  { id, peer }: CustomerSettings,
  told: { epoch: Epoch; halves: readonly PeerHalf[] },
): Promise<string[]> {
  if (told.epoch.site !== peer || told.halves.every((row) => row.site === peer)) return [];
  return database.transaction(async (client) => {
    const own = await lockRights(client, id);
    const given = handedOver(own, peer, told);
    for (const half of given)
      await client.query(
        `insert into tandem.serving as s (customer, half, site, epoch) values ($1, $2, $3, $4)
         on conflict (customer, half) do update set site = excluded.site, epoch = excluded.epoch, at = now()`,
        [id, half, own.site, own.epoch.number],
      );
    // Else what is sent to those whom the peer serves would find no way there.
    if (given.length > 0)
      await client.query(
        'update tandem.serving set epoch = $3, at = now() where customer = $1 and site = $2 and epoch < $3',
        [id, peer, own.epoch.number],
      );
    return given;
  });
}
