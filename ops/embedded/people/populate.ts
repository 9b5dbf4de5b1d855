import type { Client } from '@temporalio/client';
import { scramText } from '../../../activities/directory/scram.ts';
import { Fault } from '../../fault.ts';
import { clearEntitlement, loadPeople, type Person } from '../../reference-service/slapd.ts';
import { followNow } from '../../snapshots.ts';
import { peoplePassword } from '../service.ts';
import type { Stack } from '../stack.ts';
import { homeOf, usernameOf } from './life.ts';
import { keysOfAll } from './accounts.ts';
import { createPeople, type PeopleCounts, type PeopleOptions } from './people.ts';
import { syntheticPeople } from './synthetic.ts';

/** At home at the first site, and not the one whom the demo signs in. */
const DISMISSED = 2;

type Everybody = PeopleOptions & { password: string };

/**
 * Fills an empty stack with made-up users. Where their customer has a directory they are entered there, all of them
 * entitled, and each site follows it at once: homes and accounts come from there, as they do for whoever is entered later.
 * Answers what each site holds.
 */
export async function populate(
  { folder, sites: at, customer, directory }: Stack,
  of: Pick<PeopleOptions, 'seed' | 'users' | 'contacts'>,
  client: (site: string) => Promise<Client>,
): Promise<Record<string, PeopleCounts>> {
  const [[first, one] = [], [second, two] = []] = Object.entries(at);
  if (!first || !one || !second || !two) throw new Fault(`the stack in ${folder} has one site`, 'Users live at two.');
  const everybody: Everybody = {
    ...of,
    customer,
    sites: [first, second],
    urls: { [first]: one.databaseUrl, [second]: two.databaseUrl },
    password: await peoplePassword(folder),
    synthetic: one.clients !== null,
    provisioned: directory !== null,
  };
  const provision = async (): Promise<void> => {
    if (!directory) return;
    await loadPeople(directory, [...entries(everybody)]);
    await Promise.all([first, second].map(async (site) => followed(await client(site), site, everybody)));
  };
  const [counts] = await Promise.all([createPeople(everybody), provision()]);
  return counts;
}

/** Clears the entitlement of one of the made-up users at the first site: by the next answer he is not served any more. */
export async function dismissOne({ directory }: Stack): Promise<number> {
  if (!directory) return 0;
  await clearEntitlement(directory, usernameOf(DISMISSED));
  return 1;
}

async function followed(client: Client, site: string, { customer, users }: Everybody): Promise<void> {
  const { counts, told } = await followNow(client, site, customer);
  if (counts?.['users'] !== users)
    throw new Fault(
      `directory of ${customer}: ${users} users were entered, and at ${site} ${told}`,
      'A stack that has the tandem.yaml of an older version follows none: `tandem dev reset`, then `tandem dev up`.',
    );
}

function* entries({ seed, users, customer, sites, synthetic = false, password }: Everybody): Generator<Person> {
  const [storedKey, serverKey, salt, iterations] = keysOfAll(seed, password) as [string, string, string, number];
  const credentials = scramText({ storedKey, serverKey, salt, iterations });
  const entry = (username: string, home: number): Person => ({
    username,
    entitled: true,
    credentials,
    home: sites[home] ?? '',
  });
  const probes = synthetic ? syntheticPeople(`${customer}.example`, sites) : [];
  for (let index = 0; index < users - probes.length; index += 1) yield entry(usernameOf(index), homeOf(index));
  for (const { username, home } of probes) yield entry(username, home);
}
