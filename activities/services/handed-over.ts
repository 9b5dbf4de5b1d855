import type { Epoch } from '../../workflows/model/epoch.ts';
import { handedOver, type PeerHalf } from '../../workflows/model/opening.ts';
import type { Database } from '../contacts/database.ts';
import type { CustomerSettings } from '../settings.ts';
import { lockRights } from './closed.ts';
import { homeOf } from '../../workflows/model/half.ts';
import { cohortsHere, unlike } from './cohorts.ts';
import { cohortsOfPeer, handedByPeer } from './peer-functions.ts';
import { knowHomesAlike } from './rehomed.ts';

/**
 * Takes the right to serve what the peer has given to this site: by the peer's own database, which let go of it there before,
 * under the epoch that both hold. A move hands over by itself (`tandem.hand_over`); this is for a site that could not be told
 * then. What a planned move handed over, under whichever epoch, it takes once it holds what was copied for that, and took the half
 * for the peer's until then: a site that was put back to a backup does not; and once it knows homes and cohorts as the peer does, or
 * users of another half would be served with it. Answers the halves that are newly its own. Safe to repeat.
 */
export async function takeHandedOver(
  database: Database,
  customer: CustomerSettings,
  told: { epoch: Epoch; halves: readonly PeerHalf[] },
  signal?: AbortSignal,
): Promise<string[]> {
  const { id, peer } = customer;
  if (told.epoch.site !== peer || told.halves.every((row) => row.site === peer)) return [];
  const offered = await database.transaction(async (client) => handedOver(await lockRights(client, id), peer, told));
  if (offered.length === 0 || !(await knowHomesAlike(database, customer, signal))) return [];
  const needs = await neededFor(customer, signal);
  const theirs = await cohortsOfPeer(customer, signal);
  return database.transaction(async (client) => {
    const own = await lockRights(client, id);
    const { rows } = await client.query<{ point: Date | null }>(
      'select point from tandem.applied where customer = $1 and site = $2',
      [id, peer],
    );
    const holds = rows[0]?.point?.getTime() ?? -Infinity;
    const served = await client.query<{ half: string; epoch: string }>(
      'select half, epoch::text from tandem.serving where customer = $1 and site = $2',
      [id, own.site],
    );
    const isBehind = (half: string): boolean => {
      const need = needs.get(half);
      const row = served.rows.find((one) => one.half === half);
      if (!need) return false;
      // Over rows of its own from before that nothing was brought, whatever was applied since; later ones it had taken.
      return row ? Number(row.epoch) < need.epoch : holds < need.at;
    };
    const mine = await cohortsHere(client, id);
    const given = handedOver(own, peer, told)
      .filter((half) => !isBehind(half))
      .filter((half) => unlike(mine, theirs, homeOf(half)).length === 0);
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

/** By half, the point in ms of what must be applied here, and under which epoch; nothing of one that no planned move has handed over. */
async function neededFor(
  customer: CustomerSettings,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, { at: number; epoch: number }>> {
  const handed = await handedByPeer(customer, signal);
  return new Map(handed.map(({ half, epoch, copiedAt }) => [half, { at: copiedAt.getTime(), epoch }]));
}
