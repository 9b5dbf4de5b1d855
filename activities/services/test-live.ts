import type { PoolClient } from 'pg';
import type { LiveWalk } from '../../workflows/model/continuity.ts';
import { failure } from '../../workflows/model/failures.ts';
import { homeOf, isCohort } from '../../workflows/model/half.ts';
import { probeHalf } from '../probes/services/continuous.ts';
import type { CustomerSettings } from '../settings.ts';
import type { HeldTest } from '../test-types.ts';
import { whyApart } from './cohorts.ts';
import { rightAtPeer } from './peer-functions.ts';
import type { OwnSite } from './site.ts';
import { untilYieldOr } from './test-slot.ts';

/** A live test: a cohort of the peer's users comes here by a planned move, is looked at, and goes home by another one. */

/** `input-invalid` with everything for which a cohort cannot be the one of a live test here. */
export async function requireCohort(
  site: OwnSite,
  customer: CustomerSettings,
  cohort: string | undefined,
): Promise<void> {
  const { id, peer } = customer;
  const refuse = (why: string): Error => failure('input-invalid', `live test of ${id}: ${why}`);
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
  if (customer.probes && !customer.probes.accounts.has(cohort))
    throw refuse(`no probe accounts are configured for ${cohort}: \`probes.accounts\`, users who are in it`);
}

/** By this site's own database, and of who is home by the peer's as well: a hand-over that nobody was told of yet is none. */
export async function awaitCohort(
  site: OwnSite,
  test: HeldTest & { cohort?: string },
  at: 'here' | 'home',
  signal: AbortSignal,
): Promise<{ move: string } | { because: string }> {
  const { customer: id, cohort = '' } = test;
  const customer = site.customer(id);
  const wanted = at === 'here' ? site.settings.site : customer.peer;
  const look = async (client: PoolClient): Promise<{ move: string } | null> => {
    const { rows } = await client.query<{ move: string; epoch: string }>(
      `select e.move, s.epoch::text from tandem.serving s join tandem.epoch e on e.customer = s.customer and e.number = s.epoch
        where s.customer = $1 and s.half = $2 and s.site = $3`,
      [id, cohort, wanted],
    );
    const [row] = rows;
    if (!row) return null;
    if (at === 'here') return { move: row.move };
    const right = await rightAtPeer(customer, cohort, { signal }).catch(() => null);
    return right?.site === wanted && right.open ? { move: row.move } : null;
  };
  return untilYieldOr(site, test, look, signal);
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
