import type { Client } from '@temporalio/client';
import type { Database } from '../../activities/contacts/database.ts';
import { prepareContactDatabase } from '../../activities/contacts/prepare.ts';
import type { CustomerSettings } from '../../activities/settings.ts';
import { customersIn } from '../../activities/vault/customer-records.ts';
import type { Joined } from '../../workflows/model/customer.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { checksum } from '../config/keyring.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { settingsFor } from '../config/settings.ts';
import { Faults } from '../config/together.ts';
import { Fault } from '../fault.ts';
import { compareRings, type Escrow } from '../keyring/escrow.ts';
import { describeSchedule, schedulesOf } from '../schedules.ts';
import { connectClient } from '../temporal.ts';
import { databaseAt, gather, openGround, record, type Gathered, type Ground } from './ground.ts';

/** Takes a customer on at one site. What it checks, it checks before it changes anything, and tells all of it at once. */

/** What is asked of the world before a site takes a customer on. */
export interface Seen {
  customer: Pick<CustomerConfiguration, 'id' | 'domain' | 'sites'>;
  site: string;
  /** As whoever adds it says. */
  domain: string;
  /** Checksums of the ring here. */
  keys: Readonly<Record<string, string>>;
  gathered: Gathered;
  /** Something of this id lies in the vault. */
  usedVault: boolean;
  /** Whose its database says it is; null while it was never prepared. */
  identity: { customer: string; site: string } | null;
  /** How each key of the escrow that was opened compares; null when none was given. */
  escrow: { id: string; says: string }[] | null;
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
const byId = (keys: Readonly<Record<string, string>>): [string, string][] =>
  Object.entries(keys).toSorted(([a], [b]) => (a < b ? -1 : 1));

/** Everything that stands against it. */
export function whyNotAdded(seen: Seen): Fault[] {
  const { customer, site, gathered, identity } = seen;
  const { id, domain, sites } = customer;
  const { standing, silent } = gathered;
  const faults: Fault[] = [];
  const fault = (text: string, next: string): void => void faults.push(new Fault(`customer ${id}: ${text}`, next));
  for (const because of silent)
    fault(`whether its id is free is not known: ${because}`, 'Wait until both vaults answer: `tandem doctor`.');
  if (standing.destroyed.length > 0 || standing.state === 'gone')
    fault(`is gone since ${standing.destroyed[0]?.at}: an id is never given again`, 'Choose another id.');
  else if (standing.state === 'leaving')
    fault('is leaving', `Two operators take it back: \`tandem customer retire ${id} --take-back\`.`);
  if (domain !== seen.domain)
    fault(`its domain is ${domain} in the configuration, not ${seen.domain}`, 'Correct one of the two.');
  for (const j of standing.joined)
    if (j.domain !== domain || !same([...j.sites].toSorted(), [...sites].toSorted()))
      fault(
        `was added at ${j.site} with ${j.domain} at ${j.sites.join(' and ')}; the configuration of ${site} says ${domain} at ${sites.join(' and ')}`,
        'Neither changes under one id: correct the configuration, or choose another id.',
      );
  if (identity && (identity.customer !== id || identity.site !== site))
    fault(
      `its database at ${site} says it is that of ${identity.customer} at ${identity.site}`,
      `Correct \`customers.${id}.databases.${site}\`; an id never changes.`,
    );
  if (!identity && seen.usedVault && standing.joined.length === 0)
    fault(
      `something of this id lies in the vault of ${site}, and its database knows nothing of it: the id was used before`,
      'Choose another id.',
    );
  faults.push(...keyFaults(seen));
  return faults;
}

function keyFaults({ customer: { id }, site, keys, gathered, escrow }: Seen): Fault[] {
  const faults: Fault[] = [];
  const others = gathered.standing.joined.filter((j) => j.site !== site);
  for (const j of others)
    if (!same(byId(j.keys), byId(keys)))
      faults.push(
        new Fault(
          `customer ${id}: its ring at ${site} is ${told(keys)}, at ${j.site} it was ${told(j.keys)}`,
          `Carry the keys that lack to the other site: \`tandem keys list --customer ${id}\` at both.`,
        ),
      );
  const bad = (escrow ?? []).filter(({ says }) => says !== 'same');
  if (bad.length > 0)
    faults.push(
      new Fault(
        `customer ${id}: its escrow is not its ring: ${bad.map((b) => `key ${b.id} ${b.says === 'differs' ? 'differs' : `is ${b.says}`}`).join(', ')}`,
        `Make a new one: \`tandem keys escrow --customer ${id} --out FILE\`.`,
      ),
    );
  if (!escrow && !others.some((j) => j.escrow && same(byId(j.keys), byId(keys))))
    faults.push(
      new Fault(
        `customer ${id}: nobody has shown that its keys lie in an escrow`,
        `\`tandem keys escrow --customer ${id} --out FILE\`, then \`--escrow FILE\` here.`,
      ),
    );
  return faults;
}

const told = (keys: Readonly<Record<string, string>>): string =>
  byId(keys)
    .map(([id, sum]) => `${id} ${sum}`)
    .join(', ');

export interface Added {
  site: string;
  joined: Joined;
  /** Schedules that are not there yet. */
  missing: string[];
  because: string | null;
}

/**
 * Takes it on at a site: its database is prepared, then the record put into this site's vault. Safe to repeat. Nothing is
 * changed while anything stands against it.
 */
export async function addAt(
  configuration: Configuration,
  customer: CustomerConfiguration,
  site: string,
  { domain, escrow, signal }: { domain: string; escrow: Escrow | null; signal: AbortSignal },
): Promise<Added> {
  const settings = await settingsFor(configuration, site, { reportsFolder: '' });
  const own = settings.customers.get(customer.id);
  if (!own) throw new Fault(`customer ${customer.id}: is not at ${site}`, '`tandem config check` lists who is where.');
  const ground = await openGround(configuration, site, customer.sites);
  const database = await databaseAt(configuration, customer, site);
  try {
    const gathered = await gather(ground, customer.id, { sites: customer.sites, known: [], signal });
    const keys = Object.fromEntries([...own.keys.ring].map(([id, key]) => [id, checksum(key)]));
    const usedVault = (await customersIn(ground.vaults.own, signal)).includes(customer.id);
    const compared = escrow && compareRings(escrow.keys, own.keys.ring);
    const identity = await identityOf(database).catch((error: unknown) => {
      throw new Fault(failureText(error), `Correct \`customers.${customer.id}.databases.${site}\`, or start it.`);
    });
    const faults = whyNotAdded({ customer, site, domain, keys, gathered, usedVault, identity, escrow: compared });
    const [first] = faults;
    if (first) throw faults.length === 1 ? first : new Faults(faults);
    await prepareContactDatabase(database, customer.id, site, customer.sites, own.filter);
    const joined = await join(ground, own, database, { keys, escrow, signal });
    return { site, joined, ...(await missingSchedules(configuration, own, site)) };
  } finally {
    ground.vaults.close();
    await database.close();
  }
}

async function join(
  ground: Ground,
  { id, domain, sites }: CustomerSettings,
  database: Database,
  { keys, escrow, signal }: { keys: Record<string, string>; escrow: Escrow | null; signal: AbortSignal },
): Promise<Joined> {
  const [row] = await database.query<{ id: string }>('select id::text from tandem.identity');
  const body = {
    kind: 'joined' as const,
    customer: id,
    domain,
    sites,
    keys,
    database: row?.id ?? '',
    escrow: escrow && { madeAt: escrow.head.madeAt },
  };
  return (await record(ground, body, signal)) as Joined;
}

/** Whose a database says it is; null while it was never prepared. */
export async function identityOf(database: Database): Promise<{ customer: string; site: string } | null> {
  const [there] = await database.query<{ there: boolean }>(
    "select to_regclass('tandem.identity') is not null as there",
  );
  if (there?.there !== true) return null;
  const [row] = await database.query<{ customer: string; site: string }>('select customer, site from tandem.identity');
  return row ?? null;
}

/** The worker of the site makes them when it starts with this customer in its configuration. */
async function missingSchedules(
  configuration: Configuration,
  customer: CustomerSettings,
  site: string,
): Promise<Pick<Added, 'missing' | 'because'>> {
  const ids = schedulesOf(customer, site, null).map(({ scheduleId }) => scheduleId);
  const temporal = configuration.sites.get(site)?.temporal;
  let client: Client | null = null;
  try {
    client = temporal ? await connectClient(temporal, 3000) : null;
    const missing: string[] = [];
    for (const id of ids) if (!client || !(await describeSchedule(client, id))) missing.push(id);
    return { missing, because: null };
  } catch (error) {
    return { missing: ids, because: failureText(error) };
  } finally {
    await client?.connection.close();
  }
}
