import type { Cursor } from '../../runbooks/yaml.ts';

/** What sites and links can carry, as `tandem.yaml` says it. All of it may be left out: then a plan says "not known". */

/** More users than one site has ever served: a mistyped number. */
const MOST_USERS = 100_000_000;

/** `capacity: { users: 20000 }` of a site; null when nobody has said. */
export function capacityOf(at: Cursor): number | null {
  if (!at.present) return null;
  const { users } = at.fields(['users']);
  return users.integer(1, MOST_USERS);
}

/** `links: { east: 1 Gbit/s, west: 1 Gbit/s }` of a customer, bytes per second by site; empty when nobody has said. */
export function linksOf(at: Cursor, sites: readonly string[]): ReadonlyMap<string, number> {
  const links = new Map<string, number>();
  if (!at.present) return links;
  for (const [site, place] of Object.entries(at.fields(sites))) {
    const rate = place.rate();
    if (rate !== null) links.set(site, rate);
  }
  return links;
}
