import type { CustomerStanding } from '../../workflows/model/customer.ts';
import type { Configuration } from '../config/configuration.ts';
import { sitesToAsk } from '../config/here.ts';
import { settingsFor } from '../config/settings.ts';
import { Fault } from '../fault.ts';
import { gather, openGround, type Gathered } from './ground.ts';
import { findProtection, type Lack } from './protection.ts';

/** How a customer stands, for whoever asks on this machine. */

interface Look extends Gathered {
  lacks: Lack[];
}

/** How a customer stands, seen from the first site whose secrets are here. */
export async function lookAt(configuration: Configuration, id: string, signal: AbortSignal): Promise<Look> {
  const customer = configuration.customers.get(id);
  const known = [...configuration.sites.keys()];
  const sites = customer?.sites ?? null;
  const all: Gathered[] = [];
  let from = '';
  for (const site of await sitesToAsk(configuration, sites ?? known)) {
    from ||= site;
    const ground = await openGround(configuration, site, sites ?? known);
    try {
      // At each: what is not in one of the vaults here is copied there.
      all.push(await gather(ground, id, { sites, known, signal }));
    } finally {
      ground.vaults.close();
    }
  }
  const [first] = all;
  if (!first) throw new Fault(`customer ${id}: no site is here`, 'Give this command on a machine of one of its sites.');
  return { ...first, lacks: await lacksOf(configuration, id, from, first.standing) };
}

async function lacksOf(
  configuration: Configuration,
  id: string,
  from: string,
  { state, joined }: CustomerStanding,
): Promise<Lack[]> {
  const customer = configuration.customers.get(id);
  if (state !== 'joining' || !customer) return [];
  const lacks = customer.sites
    .filter((site) => !joined.some((j) => j.site === site))
    .map((site): Lack => ({
      what: `it was not added at ${site} yet`,
      next: `tandem customer add ${id} --domain ${customer.domain} --site ${site}`,
    }));
  const settings = await settingsFor(configuration, from, { reportsFolder: '' });
  const own = settings.customers.get(id);
  if (!own) return lacks;
  const ground = await openGround(configuration, from, customer.sites);
  try {
    return [...lacks, ...(await findProtection(settings, ground.vaults, own)).lacks];
  } finally {
    ground.vaults.close();
  }
}

/** What `status` says of one that is not simply protected. */
export function lackLines({ state, leaving, destroyed }: CustomerStanding, lacks: readonly Lack[]): string[] {
  if (state === 'joining')
    return [
      `JOINING: not protected yet${lacks.length === 0 ? '; all is there, and the worker records it within a minute' : ''}`,
      ...lacks.map(({ what, next }) => `  ${what}${next === null ? '' : `: \`${next}\``}`),
    ];
  if (state === 'gone') return [`GONE since ${destroyed.at(-1)?.at}: its keys are destroyed`];
  if (state !== 'leaving') return [];
  const by = leaving?.words.map(({ operator }) => operator).join(' and ');
  return [
    `LEAVING on ${leaving?.on}: decided by ${by}: ${leaving?.because}; no new move starts`,
    ...destroyed.map(({ site, at }) => `  its keys were destroyed at ${site} on ${at}`),
  ];
}

export function nextOf(id: string, { state }: CustomerStanding, lacks: readonly Lack[]): string | null {
  if (state === 'leaving') return `tandem customer retire ${id} --destroy --operator ID --key FILE --because "…"`;
  if (state === 'unrecorded') return `tandem customer add ${id} --domain DOMAIN --escrow FILE`;
  return lacks.find(({ next }) => next !== null)?.next ?? null;
}
