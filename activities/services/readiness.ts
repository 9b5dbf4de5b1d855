import type { FailoverInput } from '../../workflows/model/moves.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { readinessOf, withNews, type Readiness } from '../../workflows/model/readiness.ts';
import type { Database } from '../contacts/database.ts';
import { probeKnown } from '../probes/services/probe.ts';
import { questionOf } from '../probes/services/step.ts';
import type { CustomerSettings } from '../settings.ts';
import { writePaper } from './paper.ts';
import { makePlan } from './plan.ts';
import { whySelfFenceApart } from './self-fenced.ts';
import type { OwnSite } from './site.ts';

/** It is evaluated as if whoever declares it had said this; it is not part of what is found. */
const ASSUMED = 'readiness: nothing is lost, and nothing is done';
const SERVES = 'source-is-serving';

/**
 * Plans the failover in which this site survives, as it would be planned now, and looks whether users of the other half
 * could sign in here at all. Nothing is claimed, signed or moved. What it finds is kept, for whoever asks later, and written on
 * disk as a runbook to be printed.
 */
export async function evaluateReadiness(site: OwnSite, id: string, signal: AbortSignal): Promise<Readiness> {
  const customer = site.customer(id);
  const database = site.database(id);
  const [from, to, at] = [customer.peer, site.settings.site, new Date().toISOString()];
  const found = { customer: id, from, to, at };
  if (await servesAlready(database, from))
    return keep(database, { ...found, state: 'took-over', stops: [], asks: [], forecastMs: null });
  const [{ plan, ...planned }, accounts, apart] = await Promise.all([
    plannedAt(site, customer, at, signal),
    accountFaults(site, customer, signal),
    whySelfFenceApart(site.settings, customer, signal),
  ]);
  const stops = [...planned.stops, ...accounts, ...(apart === null ? [] : [apart])];
  const whole = await keep(database, { ...found, ...planned, state: readinessOf(stops, planned.asks), stops });
  await writePaper(site, whole, plan);
  return whole;
}

/** The newest of what was found here; null before the first time. */
export async function readReadiness(database: Database, customer: string): Promise<Readiness | null> {
  const [row] = await database.query<{ found: Readiness }>('select found from tandem.readiness where customer = $1', [
    customer,
  ]);
  return row?.found ?? null;
}

async function keep(database: Database, looked: Readiness): Promise<Readiness> {
  const found = withNews(await readReadiness(database, looked.customer), looked);
  await database.query(
    `insert into tandem.readiness (customer, at, found) values ($1, $2, $3)
     on conflict (customer) do update set at = excluded.at, found = excluded.found
       where tandem.readiness.at < excluded.at`,
    [found.customer, found.at, JSON.stringify(found)],
  );
  return found;
}

export async function servesAlready(database: Database, half: string): Promise<boolean> {
  return (await database.query('select from tandem.served where half = $1', [half])).length > 0;
}

/** The failover as it would be planned if the peer were lost at that time; what stops a plan from being made is one of the stops. */
export async function plannedAt(
  site: OwnSite,
  customer: CustomerSettings,
  declaredAt: string,
  signal: AbortSignal,
): Promise<Pick<Readiness, 'stops' | 'asks' | 'forecastMs'> & { plan: Plan | null }> {
  const input: FailoverInput = {
    customer: customer.id,
    from: customer.peer,
    reason: ASSUMED,
    requestedBy: 'readiness',
    isolation: ASSUMED,
    sourceIsServing: true,
  };
  try {
    const plan = await makePlan(site, { input, declaredAt }, { signal });
    const asks = (plan.acceptances ?? []).filter(({ name }) => name !== SERVES);
    return {
      plan,
      stops: plan.blockers.map(({ text }) => text),
      asks: asks.map(({ name, because }) => `${name}: ${because}`),
      forecastMs: plan.forecast?.ms ?? null,
    };
  } catch (error) {
    signal.throwIfAborted();
    return { plan: null, stops: [failureText(error)], asks: [], forecastMs: null };
  }
}

/** Accounts are in no snapshot: they must be here before (SERVICE, provisioning). Empty where no service is known here. */
async function accountFaults(site: OwnSite, customer: CustomerSettings, signal: AbortSignal): Promise<string[]> {
  const { settings } = site;
  const { peer, id, probes } = customer;
  const own = settings.services.get(settings.site);
  if (!own) return [];
  const counted = await countWithoutAccount(site.database(id), peer);
  const faults =
    counted !== null && counted.without > 0
      ? [`${counted.without} of ${counted.users} users of ${peer} have no account at ${settings.site}`]
      : [];
  const asked = questionOf(customer, { site: settings.site, half: peer, provisions: false }, 'instant-messaging');
  if (!probes || typeof asked === 'string') return faults;
  // At the very site: a proxy before it leads to the other one too, which knows its own users anyway.
  const target = { ...asked.target, clients: own.clients };
  const { ok, because } = await probeKnown({ ...asked, target, limitMs: probes.limitMs, signal });
  return ok ? faults : [...faults, `a user of ${peer} could not sign in at ${settings.site}: ${because}`];
}

/** Null where the database has no table of accounts, or lets nobody look. */
export async function countWithoutAccount(
  database: Database,
  half: string,
): Promise<{ users: number; without: number } | null> {
  const [may] = await database.query<{ look: boolean }>(
    `select coalesce(has_column_privilege(to_regclass('public.users'), 'username', 'select'), false) as look`,
  );
  if (!may?.look) return null;
  const [found] = await database.query<{ users: number; without: number }>(
    `select count(*)::int as users, count(*) filter (where u.username is null)::int as without
       from tandem.home h left join public.users u on u.username = h.username
      where tandem.home_of(h.site) = $1 and tandem.entitled(h.username)`,
    [half],
  );
  return found ?? null;
}
