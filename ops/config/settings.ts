import { createPublicKey, type KeyObject } from 'node:crypto';
import { resolve } from 'node:path';
import type { CustomerSettings, RequestSettings, SiteSettings, VaultAccess } from '../../activities/settings.ts';
import { Fault } from '../fault.ts';
import { loadPrivateKey, openSshLine, publicKeyOf } from '../keys.ts';
import type {
  AccountReference,
  Configuration,
  CustomerConfiguration,
  SecretReference,
  SiteConfiguration,
} from './configuration.ts';
import { certificates } from './certificates.ts';
import { channelSettings } from './channels.ts';
import { directorySettings } from './directory.ts';
import { requireHere } from './here.ts';
import { keyring } from './keyring.ts';
import type { RequestConfiguration } from './outside.ts';
import { probeSettings } from './probes.ts';
import { pathOf, secretText } from './secrets.ts';
import { serviceAddresses } from './service.ts';
import { together } from './together.ts';
import { dnsSettings } from './traffic.ts';
import { witnessAccess } from './witness.ts';

/** What one site needs of the configuration, with the secrets it names for this site; no other is read, and all that cannot be read are told at once. */
export async function settingsFor(
  configuration: Configuration,
  site: string,
  { reportsFolder }: { reportsFolder: string },
): Promise<SiteSettings> {
  const own = configuration.sites.get(site);
  if (!own)
    throw new Fault(
      `site ${JSON.stringify(site)}: not in ${configuration.file}`,
      `Known sites: ${[...configuration.sites.keys()].join(', ')}.`,
    );
  const served = [...configuration.customers.values()].filter((c) => c.sites.includes(site));
  const peers = [...configuration.sites.values()].filter(
    (s) => s.site !== site && served.some((c) => c.sites.includes(s.site)),
  );
  await requireHere(configuration, own);
  const [signingKey, vault, cleaner, witness, peerVaults, services, customers, channels, requests] = await together([
    signingKeyOf(configuration, own),
    vaultAccess(configuration, own, own.vault.writer),
    own.vault.cleaner && vaultAccess(configuration, own, own.vault.cleaner),
    witnessAccess(configuration, site),
    together(peers.map(async (p) => [p.site, await vaultAccess(configuration, p, p.vault.reader)] as const)),
    serviceAddresses(configuration, site, [own, ...peers]),
    together(served.map(async (c) => [c.id, await customerSettings(configuration, c, site)] as const)),
    together([...own.channels].map(async ([name, c]) => [name, await channelSettings(configuration, c)] as const)),
    together([...own.requests].map(async ([name, r]) => [name, await requestSettings(configuration, r)] as const)),
  ]);
  separateKeys(
    configuration,
    customers.map(([, c]) => c),
  );
  return {
    site,
    vault,
    cleaner,
    witness,
    ...(configuration.witnessUrl !== null && { witnessUrl: configuration.witnessUrl }),
    peerVaults: new Map(peerVaults),
    peerTemporals: new Map(
      peers.map((p) => [p.site, { address: p.temporal.address, namespace: p.temporal.namespace }]),
    ),
    services,
    signingKey,
    publicKeys: publicKeysOf(configuration),
    customers: new Map(customers),
    operators: configuration.operators,
    channels: new Map(channels),
    paging: own.paging,
    callbacks: own.callbacks,
    requests: new Map(requests),
    commands: own.commands,
    ...(own.proxy !== null && { proxy: own.proxy }),
    ...(own.capacityUsers !== null && { capacityUsers: own.capacityUsers }),
    reportsFolder,
  };
}

/** The public keys of all sites, which their signatures are checked with. */
export const publicKeysOf = (configuration: Configuration): ReadonlyMap<string, KeyObject> =>
  new Map([...configuration.sites.values()].map((s) => [s.site, publicKey(s)]));

function publicKey(site: SiteConfiguration): KeyObject {
  const key = publicKeyOf(site.publicKey);
  if (!key)
    throw new Fault(`site ${site.site}: its public key cannot be read`, '`tandem config check` names the place.');
  return key;
}

async function signingKeyOf(configuration: Configuration, own: SiteConfiguration): Promise<KeyObject> {
  const { privateKey: reference } = own;
  if (!('file' in reference))
    throw new Fault(`${reference.at}: ${reference.path}: a signing key is a file`, 'Write { file: PATH } here.');
  await secretText(configuration, reference); // Names the place, where the key itself knows its file only.
  const key = await loadPrivateKey(pathOf(configuration, reference.file));
  if (openSshLine(createPublicKey(key)) !== own.publicKey) {
    throw new Fault(
      `${reference.at}: ${reference.path}: is not the private half of signing.public-key of ${own.site}`,
      'Correct one of the two; the peer trusts the public one.',
    );
  }
  return key;
}

/** How to reach a site's vault with one of its accounts. */
export async function vaultAccess(
  configuration: Configuration,
  { site, vault }: SiteConfiguration,
  account: AccountReference,
): Promise<VaultAccess> {
  const { endpoint, region, bucket } = vault;
  const [accessKeyId, secretAccessKey] = await together([
    secretText(configuration, account.accessKeyId),
    secretText(configuration, account.secretAccessKey),
  ]);
  return { site, endpoint, region, bucket, accessKeyId, secretAccessKey };
}

async function customerSettings(
  configuration: Configuration,
  customer: CustomerConfiguration,
  site: string,
): Promise<CustomerSettings> {
  const { id, domain, sites, options, objectives, target, snapshots, continuityTest, limits, parties, filter, links } =
    customer;
  const peer = sites.find((s) => s !== site) ?? '';
  const own = customer.databases.get(site);
  const other = customer.databases.get(peer);
  if (!own || !other)
    throw new Fault(
      `customer ${id}: has no database at ${own ? peer : site}`,
      '`tandem config check` names the place.',
    );
  const [probes, directory, dns, databaseUrl, peerDatabaseUrl, keys] = await together([
    customer.probes && probeSettings(configuration, customer.probes),
    customer.directory && directorySettings(configuration, customer.directory, site),
    customer.dns && dnsSettings(configuration, customer.dns, site),
    addressOf(configuration, own.url),
    addressOf(configuration, other.peerUrl),
    keyring(configuration, customer),
  ]);
  return {
    id,
    domain,
    sites,
    peer,
    options,
    objectives,
    target,
    snapshots,
    continuityTest,
    limits,
    parties,
    filter,
    links,
    ...(probes && { probes }),
    ...(customer.trafficBytesPerSecond !== null && { trafficBytesPerSecond: customer.trafficBytesPerSecond }),
    ...(directory && { directory }),
    ...(dns && { dns }),
    ...(customer.backends !== null && { backends: customer.backends }),
    ...(customer.selfFenceMs !== null && { selfFenceMs: customer.selfFenceMs }),
    databaseUrl,
    peerDatabaseUrl,
    keys,
    runbooks: new Map([...customer.runbooks].map(([kind, { file }]) => [kind, resolve(pathOf(configuration, file))])),
  };
}

const requestSettings = async (
  configuration: Configuration,
  { ca, ...rest }: RequestConfiguration,
): Promise<RequestSettings> => ({ ...rest, ca: await certificates(configuration, ca) });

/** Destroying one customer's keys must neither spare it nor take another with it: no key belongs to two customers. */
function separateKeys(configuration: Configuration, customers: CustomerSettings[]): void {
  const owners = new Map<string, string>();
  for (const { id: customer, keys } of customers) {
    for (const [id, key] of keys.ring) {
      const owner = owners.get(key.toString('hex'));
      if (owner !== undefined)
        throw new Fault(
          `${configuration.file}: key ${id} of ${customer} is the same as ${owner}`,
          `Each customer has keys of its own: \`tandem keys rotate --customer ${customer}\`.`,
        );
      owners.set(key.toString('hex'), `key ${id} of ${customer}`);
    }
  }
}

/** Of a database. */
async function addressOf(configuration: Configuration, reference: SecretReference): Promise<string> {
  const url = await secretText(configuration, reference);
  if (URL.canParse(url) && /^postgres(ql)?:$/.test(new URL(url).protocol)) return url;
  throw new Fault(
    `${reference.at}: ${reference.path}: is no database address`,
    'postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE is expected.',
  );
}
