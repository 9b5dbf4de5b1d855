import { Database } from '../../activities/contacts/database.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import {
  copyRecord,
  customersIn,
  putRecord,
  readRecords,
  type StoredRecord,
} from '../../activities/vault/customer-records.ts';
import {
  customerStanding,
  decisionHolds,
  type CustomerRecord,
  type CustomerStanding,
} from '../../workflows/model/customer.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import { sitesHere } from '../config/here.ts';
import { secretText } from '../config/secrets.ts';
import { settingsFor, vaultAccess } from '../config/settings.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { openVaults, PEER_LIMIT_MS, type Vaults } from '../coverage.ts';
import { Fault } from '../fault.ts';

/** What the records of customers are read and written with, at one site. */
export interface Ground {
  settings: Pick<SiteSettings, 'site' | 'signingKey' | 'publicKeys' | 'operators'>;
  vaults: Vaults;
}

/**
 * Opens a site without any customer's secrets: those of one that is about to go may be destroyed already. `peers`: whose
 * vaults are read, too.
 */
export async function openGround(
  configuration: Configuration,
  site: string,
  peers: readonly string[],
): Promise<Ground & { settings: SiteSettings }> {
  const settings = await settingsFor({ ...configuration, customers: new Map() }, site, { reportsFolder: '' });
  const others = [...configuration.sites.values()].filter((s) => s.site !== site && peers.includes(s.site));
  const peerVaults = new Map(
    await Promise.all(others.map(async (s) => [s.site, await vaultAccess(configuration, s, s.vault.reader)] as const)),
  );
  const whole = { ...settings, peerVaults };
  return { settings: whole, vaults: openVaults(whole) };
}

/** The sites of these at which this machine may act; one fault when there is none, or the one that is named is not here. */
export async function sitesToAct(
  configuration: Configuration,
  sites: readonly string[],
  named: string | undefined,
): Promise<string[]> {
  if (named !== undefined) {
    if (sites.includes(named)) return [named];
    throw new Fault(`site ${JSON.stringify(named)}: it is at ${sites.join(' and ')}`, 'Name one of the two.');
  }
  const here = await sitesHere(configuration);
  const found = sites.filter((site) => here.includes(site));
  if (found.length > 0) return found;
  throw new Fault(
    `secrets of ${sites.join(' and ')}: neither are on this machine`,
    `Give this command on a machine of ${sites.join(' or ')}.`,
  );
}

export interface Gathered {
  records: CustomerRecord[];
  standing: CustomerStanding;
  /** Vaults of other sites that did not answer, and decisions there that two operators who count here have not signed. */
  silent: string[];
}

/**
 * The records of a customer as this site's vault and those of the others have them. What of the others' is not here yet is
 * copied into this site's own; a decision counts once this site has read its signatures, and recorded it as well. `sites`: the pair; null where no configuration names it.
 */
export async function gather(
  ground: Ground,
  customer: string,
  { sites, known, signal }: { sites: readonly string[] | null; known: readonly string[]; signal: AbortSignal },
): Promise<Gathered> {
  const { settings, vaults } = ground;
  const { site, publicKeys } = settings;
  const from = sites ?? known;
  const shelf = { customer, publicKeys, signal };
  const own = await readRecords({ ...shelf, vault: vaults.own }, from);
  const all = new Map(own.map((r) => [r.key, r]));
  const silent: string[] = [];
  for (const other of from.filter((name) => name !== site)) {
    const theirs = await heard(vaults, other, (vault, within) =>
      readRecords({ ...shelf, vault, signal: AbortSignal.any([signal, within]) }, from),
    );
    if (typeof theirs === 'string') silent.push(theirs);
    else
      for (const stored of theirs) {
        if (!all.has(stored.key) && stored.record.site !== site) await copyRecord(vaults.own, stored, signal);
        all.set(stored.key, stored);
      }
  }
  const [records, refused] = await judged(ground, [...all.values()], signal);
  return { records, standing: customerStanding(records, sites), silent: [...silent, ...refused] };
}

/** A site that was broken into can say that two have decided: it cannot sign for them. What was taken once stands, whoever leaves. */
async function judged(
  ground: Ground,
  stored: readonly StoredRecord[],
  signal: AbortSignal,
): Promise<[CustomerRecord[], string[]]> {
  const { site, operators } = ground.settings;
  const records = stored.map(({ record: r }) => r).filter((r) => r.kind !== 'decision' || r.site === site);
  const taken = new Set(records.flatMap((r) => (r.kind === 'decision' ? [r.number] : [])));
  const refused: string[] = [];
  for (const { record: r, key } of stored) {
    if (r.kind !== 'decision' || r.site === site || taken.has(r.number)) continue;
    if (decisionHolds(operators, r)) {
      const { customer, number, verb, on, because, words } = r;
      records.push(await record(ground, { kind: 'decision', customer, number, verb, on, because, words }, signal));
    } else refused.push(`${key}: counts for nothing: it is not signed by two operators of ${site}`);
  }
  return [records, refused];
}

/** What another site's vault says; a text when it does not answer in time. */
async function heard(
  vaults: Vaults,
  site: string,
  read: (vault: Vaults['own'], within: AbortSignal) => Promise<StoredRecord[]>,
): Promise<StoredRecord[] | string> {
  const vault = vaults.peer(site);
  if (!vault) return `vault of ${site}: no account to read it with`;
  const within = AbortSignal.timeout(PEER_LIMIT_MS);
  try {
    return await read(vault, within);
  } catch (error) {
    if (within.aborted) return `vault of ${site}: no answer within ${PEER_LIMIT_MS / 1000} s`;
    const kind = failureKind(error);
    if (kind === 'vault-unreachable' || kind === 'vault-refused') return failureText(error);
    throw error;
  }
}

/** Records something in this site's own vault. */
export const record = (
  { settings: { site, signingKey, publicKeys }, vaults }: Ground,
  body: Parameters<typeof putRecord>[1],
  signal: AbortSignal,
): Promise<CustomerRecord> => putRecord({ vault: vaults.own, site, signingKey, publicKeys }, body, signal);

/** Customers whose keys were destroyed at a site, by its own vault. */
export async function goneAt(configuration: Configuration, site: string, signal: AbortSignal): Promise<string[]> {
  const { settings, vaults } = await openGround(configuration, site, []);
  try {
    const gone: string[] = [];
    for (const customer of await customersIn(vaults.own, signal)) {
      const shelf = { vault: vaults.own, customer, publicKeys: settings.publicKeys, signal };
      const stored = await readRecords(shelf, [site]);
      if (stored.some(({ record: { kind } }) => kind === 'destroyed')) gone.push(customer);
    }
    return gone;
  } finally {
    vaults.close();
  }
}

const LIMITS = { connections: 2, connectMs: 5000, statementMs: 30_000 };

/** A customer's database at a site, by its address alone: its keys may be destroyed already. */
export async function databaseAt(
  configuration: Configuration,
  customer: CustomerConfiguration,
  site: string,
): Promise<Database> {
  const at = customer.databases.get(site);
  if (!at) throw new Fault(`customer ${customer.id}: has no database at ${site}`, '`tandem config check`');
  return new Database(`database of ${customer.id} at ${site}`, await secretText(configuration, at.url), LIMITS);
}

/** The same of a worker, which has all of it. */
export const databaseOf = ({ id, databaseUrl }: CustomerSettings, site: string): Database =>
  new Database(`database of ${id} at ${site}`, databaseUrl, LIMITS);
