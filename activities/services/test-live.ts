import { isDeepStrictEqual } from 'node:util';
import type { PoolClient } from 'pg';
import type { LiveWalk } from '../../workflows/model/continuity.ts';
import { failure } from '../../workflows/model/failures.ts';
import { homeOf, isCohort } from '../../workflows/model/half.ts';
import { isAt, type CohortStand, type MoveUnderWay } from '../../workflows/model/test-live.ts';
import { probeHalf } from '../probes/services/continuous.ts';
import type { CustomerSettings } from '../settings.ts';
import type { CohortNews, HeldTest } from '../test-types.ts';
import { whyApart } from './cohorts.ts';
import { MOVE_UNDER_WAY, moveAtPeer, rightAtPeer } from './peer-functions.ts';
import type { OwnSite } from './site.ts';
import { untilYieldOr } from './test-slot.ts';

/** A live test: a cohort of the peer's users comes here by a planned move, is looked at, and goes home by another one. */

/** `cohort-unfit` with everything for which a cohort cannot be the one of a live test here. */
export async function requireCohort(
  site: OwnSite,
  customer: CustomerSettings,
  cohort: string | undefined,
): Promise<void> {
  const { id, peer } = customer;
  const refuse = (why: string): Error => failure('cohort-unfit', `live test of ${id}: ${why}`);
  if (cohort === undefined) throw refuse(`no cohort is named: \`--cohort NAME\`, of users whose home is ${peer}`);
  if (!isCohort(cohort) || homeOf(cohort) !== peer)
    throw refuse(`cohort ${JSON.stringify(cohort)}: a cohort of users whose home is ${peer} is expected, ${peer}/NAME`);
  const [row] = await site.database(id).query<{ site: string; current: boolean; users: number }>(
    `select s.site, s.epoch = e.number as current, (select count(*)::int from tandem.home h where h.site = s.half) as users
       from tandem.serving s join tandem.epoch e on e.customer = s.customer where s.customer = $1 and s.half = $2`,
    [id, cohort],
  );
  const name = cohort.slice(peer.length + 1);
  if (!row || row.users === 0)
    throw refuse(`${cohort} has no users: \`tandem cohort set ${name} --site ${peer} --share 1%\``);
  if (row.site !== peer || !row.current) throw refuse(`users of ${cohort} are not served at their home, ${peer}`);
  const apart = await whyApart(site, customer, peer);
  if (apart !== null) throw refuse(apart);
  const lack = await lackOfProbes(site, customer, { cohort, set: `tandem cohort set ${name} --site ${peer}` });
  if (lack !== null) throw refuse(lack);
}

/** Why nobody could look at the services as its users find them; null where somebody can, and where no service is looked at at all. */
async function lackOfProbes(
  site: OwnSite,
  { id, probes }: CustomerSettings,
  { cohort, set }: { cohort: string; set: string },
): Promise<string | null> {
  if (!probes) return null;
  const accounts = probes.accounts.get(cohort);
  if (!accounts)
    return `no probe accounts are configured for ${cohort}, by which its services are looked at: add three of its users as \`customers.${id}.probes.accounts\`, \`${cohort}: { first, second, third }\`, start the workers again, and give \`${set}\` once more, which takes them in`;
  const names = Object.values(accounts).map(({ user }) => user);
  const [row] = await site
    .database(id)
    .query<{ n: number }>('select count(*)::int as n from tandem.home where site = $1 and username = any($2)', [
      cohort,
      names,
    ]);
  const without = names.length - (row?.n ?? 0);
  return without === 0
    ? null
    : `${without} of the ${names.length} probe accounts of ${cohort} are not in it: \`${set}\`, with the same users as before, takes them in`;
}

/** See `ContinuityActivities`: a hand-over that the other site was not told of yet is none. */
export async function awaitCohort(
  site: OwnSite,
  test: HeldTest & { cohort: string; told?: CohortStand },
  at: 'here' | 'home',
  signal: AbortSignal,
): Promise<CohortNews> {
  const customer = site.customer(test.customer);
  const own = site.settings.site;
  const look = async (client: PoolClient): Promise<CohortNews | null> => {
    const stand = await standOf(client, { customer, own, cohort: test.cohort }, signal);
    if (stand === null) return null;
    const there = at === 'here' ? stand.site === own && !stand.between : isAt(stand, customer.peer);
    if (there) return { move: stand.move, stand };
    return isDeepStrictEqual(stand, test.told) ? null : { stand };
  };
  return untilYieldOr(site, test, look, signal);
}

/** Null while this site's database has no right to the cohort under its newest epoch. */
async function standOf(
  client: PoolClient,
  { customer, own, cohort }: { customer: CustomerSettings; own: string; cohort: string },
  signal: AbortSignal,
): Promise<CohortStand | null> {
  const { rows } = await client.query<{ site: string; move: string; drained: boolean }>(
    `select s.site, e.move, exists (
              select from tandem.drained d where d.customer = s.customer and d.half = s.half and d.epoch = e.number) as drained
       from tandem.serving s join tandem.epoch e on e.customer = s.customer and e.number = s.epoch
      where s.customer = $1 and s.half = $2`,
    [customer.id, cohort],
  );
  const [row] = rows;
  if (!row) return null;
  const live = await client.query<MoveUnderWay>(MOVE_UNDER_WAY, [customer.id]);
  const here = live.rows.map((m) => ({ ...m, at: own }));
  const peer = await askPeer(customer, cohort, signal);
  if (peer === null) {
    const silent = `the database of ${customer.peer} does not answer`;
    return { site: row.site, between: row.drained, move: row.move, moving: here[0] ?? null, silent };
  }
  const there = peer.moving === null ? [] : [{ ...peer.moving, at: customer.peer }];
  const all = [...here, ...there];
  const moving = all.find(({ half }) => half === cohort) ?? all[0] ?? null;
  // Whoever gives a right away says so in its own database first: until the other one knows, the move tells which of the two that is.
  const given = moving?.half === cohort && moving.handed ? moving.to : null;
  const served = row.site === own ? !row.drained : (peer.right?.open ?? false);
  return { site: given ?? row.site, between: !served, move: row.move, moving, silent: null };
}

async function askPeer(
  customer: CustomerSettings,
  cohort: string,
  signal: AbortSignal,
): Promise<{ right: Awaited<ReturnType<typeof rightAtPeer>>; moving: MoveUnderWay | null } | null> {
  try {
    const [right, moving] = await Promise.all([
      rightAtPeer(customer, cohort, { signal }),
      moveAtPeer(customer, signal),
    ]);
    return { right, moving };
  } catch {
    signal.throwIfAborted();
    return null;
  }
}

/** As its users find it here. What could be looked at and does not work is told, and fails nothing. */
export async function lookAtCohort(
  site: OwnSite,
  id: string,
  cohort: string,
  signal: AbortSignal,
): Promise<Pick<LiveWalk, 'users' | 'unserved' | 'services'>> {
  const [row] = await site.database(id).query<{ users: number; unserved: number }>(
    `select count(*)::int as users,
            count(*) filter (where tandem.entitled(h.username) and not tandem.may_serve(h.username) and not exists (
              select from tandem.quarantine q where q.username = h.username and q.release is null))::int as unserved
       from tandem.home h where h.site = $1`,
    [cohort],
  );
  const services: LiveWalk['services'] = [];
  await probeHalf(site, site.customer(id), cohort, signal, (service, { ok, ms, ...rest }) => {
    const because = 'because' in rest && typeof rest.because === 'string' ? rest.because : undefined;
    services.push({ service, ok, ms, ...(!ok && because !== undefined && { because }) });
  });
  return { users: row?.users ?? 0, unserved: row?.unserved ?? 0, services };
}
