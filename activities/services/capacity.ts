import type { Capacity } from '../../workflows/model/plan.ts';
import { within } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import type { OwnSite } from './site.ts';

/** Of one customer's database; one that does not answer leaves the sum unknown. */
const COUNT_LIMIT_MS = 2000;

/** What this site would carry after the move, against what it can. Users are counted only where a capacity is configured. */
export async function capacityOf(
  site: OwnSite,
  customer: CustomerSettings,
  signal?: AbortSignal,
): Promise<Omit<Capacity, 'moves'>> {
  const { capacityUsers, site: own } = site.settings;
  return {
    served: capacityUsers === undefined ? null : await servedHere(site, signal),
    users: capacityUsers ?? null,
    trafficBytesPerSecond: customer.trafficBytesPerSecond ?? null,
    linkBytesPerSecond: customer.links?.get(own) ?? null,
  };
}

/** Users of all customers served here now; null when one of the databases does not tell. */
async function servedHere(site: OwnSite, signal: AbortSignal | undefined): Promise<number | null> {
  const count = async (id: string): Promise<number> => {
    const sql = 'select count(*)::int as n from tandem.served';
    const look = (): Promise<{ n: number }[]> => site.database(id).query<{ n: number }>(sql);
    const [row] = await within(COUNT_LIMIT_MS, `database of ${id}`, look, signal);
    return row?.n ?? 0;
  };
  const counts = await Promise.allSettled([...site.settings.customers.keys()].map(count));
  signal?.throwIfAborted();
  let sum = 0;
  for (const counted of counts) {
    if (counted.status === 'rejected') return null;
    sum += counted.value;
  }
  return sum;
}
