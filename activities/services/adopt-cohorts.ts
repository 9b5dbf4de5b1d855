import type { PeerHalf } from '../../workflows/model/opening.ts';
import { homeOf, isCohort } from '../../workflows/model/half.ts';
import type { Database } from '../contacts/database.ts';
import { unsalvagedHere } from '../contacts/salvaged.ts';
import type { CustomerSettings } from '../settings.ts';
import { lockRights } from './closed.ts';
import { cohortsHere, unlike } from './cohorts.ts';
import { cohortsOfPeer, membersAtPeer } from './peer-functions.ts';

/**
 * Has a site that was put back to a backup know the cohorts of a home as its peer does, before it takes anything of it over: only while
 * it has no right to any half of that home itself, so that nobody is served by it or closed, and once it has salvaged what it alone had
 * of them, for that is read by the old list. Rows of cohorts that it did not know give no right to anybody until it is told whose they
 * are. Answers the homes. Safe to repeat.
 */
export async function adoptCohorts(
  database: Database,
  customer: CustomerSettings,
  told: { halves: readonly PeerHalf[] },
  signal?: AbortSignal,
): Promise<string[]> {
  const { id, peer } = customer;
  const known = await database.query<{ half: string }>('select half from tandem.serving where customer = $1', [id]);
  const names = (halves: readonly { half: string }[]): string =>
    halves
      .map(({ half }) => half)
      .filter(isCohort)
      .toSorted()
      .join(' ');
  // Nothing is asked where nobody has any; who is in them is compared as often as something is to be taken over.
  if (names(known) === '' && names(told.halves) === '') return [];
  const mine = await database.connection((client) => cohortsHere(client, id));
  const theirs = await cohortsOfPeer(customer, signal);
  const homes = [...new Set(unlike(mine, theirs).map(homeOf))];
  const adopted: string[] = [];
  for (const home of homes) {
    const cohorts = [...theirs.keys()].filter((half) => homeOf(half) === home);
    const members = new Map<string, string[]>();
    for (const half of cohorts) members.set(half, await membersAtPeer(customer, half, signal));
    if (await adopt(database, { id, peer, home, members })) adopted.push(home);
  }
  return adopted;
}

async function adopt(
  database: Database,
  { id, peer, home, members }: { id: string; peer: string; home: string; members: ReadonlyMap<string, string[]> },
): Promise<boolean> {
  return database.transaction(async (client) => {
    const own = await lockRights(client, id);
    if (own.halves.some((half) => homeOf(half) === home)) return false;
    const unsalvaged = (await unsalvagedHere(client, id, own.site)).flatMap((due) => due.halves);
    if (unsalvaged.some((half) => homeOf(half) === home)) return false;
    await client.query('update tandem.home set site = $1 where tandem.home_of(site) = $1 and site <> $1', [home]);
    for (const [half, names] of members) {
      await client.query('update tandem.home set site = $1 where site = $2 and username = any($3)', [
        half,
        home,
        names,
      ]);
      await client.query(
        `insert into tandem.serving (customer, half, site, epoch) values ($1, $2, $3, 0)
         on conflict (customer, half) do nothing`,
        [id, half, peer],
      );
    }
    await client.query(
      'delete from tandem.serving where customer = $1 and tandem.home_of(half) = $2 and half <> $2 and half <> all($3)',
      [id, home, [...members.keys()]],
    );
    return true;
  });
}
