import type { Epoch } from '../../workflows/model/epoch.ts';
import { lostHandOvers, type PeerHalf } from '../../workflows/model/opening.ts';
import type { Database } from '../contacts/database.ts';
import type { CustomerSettings } from '../settings.ts';
import { lockRights } from './closed.ts';
import { noteGivenAway } from './given-away.ts';
import { appliedAtPeer } from './peer-functions.ts';
import { askPeerRights } from './peer-rights.ts';

/** It has just answered; both sites serve these users until this is over. */
const ASK_MS = 2000;

/**
 * Lets go of what this site has handed over and does not know of, for its database has lost that commit: until then both sites
 * serve these users. What was changed here since is left to be salvaged, and nothing is deleted. A move that is resumed finds the
 * half handed over. Answers the halves. Safe to repeat.
 */
export async function endLostHandOvers(
  database: Database,
  customer: CustomerSettings,
  told: { epoch: Epoch; halves: readonly PeerHalf[] },
  signal?: AbortSignal,
): Promise<string[]> {
  const { id, peer } = customer;
  if (told.halves.every((row) => row.site !== peer || row.epoch !== told.epoch.number)) return [];
  const found = await database.transaction(async (client) => lostHandOvers(await lockRights(client, id), peer, told));
  if (found.length === 0) return [];
  // With which copy it was given is lost as well: whoever takes it anew is to hold what the peer holds now.
  const limit = AbortSignal.any([...(signal ? [signal] : []), AbortSignal.timeout(ASK_MS)]);
  const copiedAt = await appliedAtPeer(customer, told.epoch.site, limit).catch(() => null);
  return database.transaction(async (client) => {
    const own = await lockRights(client, id);
    const lost = lostHandOvers(own, peer, told);
    for (const half of lost) {
      await client.query(
        `update tandem.serving set site = $3, epoch = $4, at = clock_timestamp()
          where customer = $1 and half = $2 and site = $5`,
        [id, half, peer, own.epoch.number, own.site],
      );
      await client.query('delete from tandem.drained where customer = $1 and half = $2', [id, half]);
      const { number } = told.epoch;
      await noteGivenAway(client, {
        customer: id,
        half,
        epoch: number,
        copiedAt: copiedAt ?? new Date().toISOString(),
      });
    }
    return lost;
  });
}

/** The same for whoever is about to act on this site's own rows, by what the peer says now; a silent one says nothing. */
export async function lookForLostHandOvers(
  database: Database,
  customer: CustomerSettings,
  signal?: AbortSignal,
): Promise<string[]> {
  const told = await askPeerRights(customer, database, signal);
  return told.state === 'says' ? endLostHandOvers(database, customer, told, signal) : [];
}
