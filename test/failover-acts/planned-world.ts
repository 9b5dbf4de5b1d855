import type { OwnSite } from '../../activities/services/site.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { Act } from '../../workflows/model/acts.ts';
import type { PlannedMove } from '../../workflows/model/planned-move.ts';
import type { Site } from '../rig/databases.ts';
import { step, type World } from './world.ts';

/** A planned move of west's own half to east, which goes on serving its own. West runs it, under epoch 2. */

const ofWest: PlannedMove = { half: 'west', keeps: ['east'], servedAt: ['east'], reconcile: null };

export function plannedStep(
  act: Act,
  move: string,
  {
    epoch = 2,
    round = 0,
    planned = ofWest,
    cohorts,
  }: { epoch?: number; round?: number; planned?: PlannedMove; cohorts?: string[] } = {},
): PlannedStep {
  const { plan, ...rest } = step(act, move, epoch, undefined, round);
  const steps = [{ id: act, act, needs: [], timeoutMs: 1000, attempts: 1, onFailure: 'hold' as const }];
  return {
    ...rest,
    plan: {
      ...plan,
      decisions: { ...plan.decisions, from: 'west', to: 'east', steps, planned, ...(cohorts && { cohorts }) },
    },
  };
}

/** West without a Temporal service of its peer: to nudge one that is not there takes seconds. */
export const quietWest = (world: World): OwnSite => world.westWith({ site: { peerTemporals: new Map() } });

/** East as it acts for itself; all that it asks of west may go to another place, where nobody answers. */
export function eastSite(world: World, host?: string): OwnSite {
  const { settings, customer, vaults, keys } = world;
  const peerDatabaseUrl = host === undefined ? world.urls.west : `postgres://tandem_peer:x@${host}/contacts`;
  const westVault = { ...vaults.westReader, ...(host !== undefined && { endpoint: `http://${host}` }) };
  return world.westWith({
    customer: { peer: 'west', databaseUrl: world.urls.east, peerDatabaseUrl },
    site: {
      site: 'east',
      vault: vaults.east,
      peerVaults: new Map([['west', westVault]]),
      signingKey: keys.east,
      publicKeys: settings.publicKeys,
      customers: new Map([[customer.id, customer]]),
    },
  });
}

/** Who may be served at a site, by what its service obeys. */
export async function servedAt({ eastDb, westDb }: World, site: Site): Promise<string[]> {
  const database = site === 'east' ? eastDb : westDb;
  const rows = await database.query<{ username: string }>(
    'select username from tandem.home where tandem.may_serve(username) order by 1',
  );
  return rows.map(({ username }) => username);
}

/** Of whom both sites say that they serve him. */
export async function servedTwice(world: World): Promise<string[]> {
  const [east, west] = await Promise.all([servedAt(world, 'east'), servedAt(world, 'west')]);
  return east.filter((user) => west.includes(user));
}

/** East holds a snapshot of west that was read at this moment, by west's clock. */
export async function copyNow({ eastDb, westDb }: World): Promise<void> {
  const [now] = await westDb.query<{ at: Date }>("select clock_timestamp() + interval '1 ms' as at");
  await eastDb.query(
    `insert into tandem.applied as a (customer, site, gen, seq, manifest, point, held) values ('contoso', 'west', 1, 1, 'm', $1, '{}')
     on conflict (customer, site) do update set seq = a.seq + 1, point = excluded.point`,
    [now?.at],
  );
}

/** Rights as they stand in a site's own database: `half: site under number`. */
export async function rowsAt({ eastDb, westDb }: World, site: Site): Promise<string[]> {
  const database = site === 'east' ? eastDb : westDb;
  const rows = await database.query<{ told: string }>(
    `select half || ': ' || site || ' under ' || epoch as told from tandem.serving order by half`,
  );
  return rows.map(({ told }) => told);
}
