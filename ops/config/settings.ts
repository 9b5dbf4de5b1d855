import { createPublicKey, type KeyObject } from 'node:crypto';
import { isAbsolute, join } from 'node:path';
import type { CustomerSettings, Keyring, SiteSettings, VaultAccess } from '../../activities/settings.ts';
import { Fault } from '../fault.ts';
import { loadPrivateKey, openSshLine, publicKeyOf, readSecretFile } from '../keys.ts';
import type {
  AccountReference,
  Configuration,
  CustomerConfiguration,
  SecretReference,
  SiteConfiguration,
} from './configuration.ts';

/** What one site needs of the configuration, with the secrets it names for this site; no other secret is read. */
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
  const [signingKey, vault, peerVaults, customers] = await Promise.all([
    signingKeyOf(configuration, own),
    vaultAccess(configuration, own, own.vault.writer),
    Promise.all(peers.map(async (p) => [p.site, await vaultAccess(configuration, p, p.vault.reader)] as const)),
    Promise.all(served.map(async (c) => [c.id, await customerSettings(configuration, c, site)] as const)),
  ]);
  return {
    site,
    vault,
    peerVaults: new Map(peerVaults),
    peerTemporals: new Map(
      peers.map((p) => [p.site, { address: p.temporal.address, namespace: p.temporal.namespace }]),
    ),
    signingKey,
    publicKeys: new Map([...configuration.sites.values()].map((s) => [s.site, publicKey(s)])),
    customers: new Map(customers),
    operators: configuration.operators,
    reportsFolder,
  };
}

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
  const key = await loadPrivateKey(pathOf(configuration, reference.file));
  if (openSshLine(createPublicKey(key)) !== own.publicKey) {
    throw new Fault(
      `${reference.at}: ${reference.path}: is not the private half of signing.public-key of ${own.site}`,
      'Correct one of the two; the peer trusts the public one.',
    );
  }
  return key;
}

const pathOf = (configuration: Configuration, file: string): string =>
  isAbsolute(file) ? file : join(configuration.folder, file);

/** A secret's text. Errors name its place and its source, never its content. */
async function secretText(configuration: Configuration, reference: SecretReference): Promise<string> {
  if ('file' in reference) {
    try {
      return await readSecretFile(pathOf(configuration, reference.file), `${reference.at}: ${reference.path}: file`);
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw new Fault(`${reference.at}: ${reference.path}: ${String(error)}`, 'Look at the file.');
    }
  }
  const value = process.env[reference.env];
  if (value !== undefined && value !== '') return value;
  throw new Fault(
    `${reference.at}: ${reference.path}: the environment variable ${reference.env} is ${value === undefined ? 'not set' : 'empty'}`,
    `Set ${reference.env}, or name a file instead.`,
  );
}

async function vaultAccess(
  configuration: Configuration,
  { site, vault }: SiteConfiguration,
  account: AccountReference,
): Promise<VaultAccess> {
  const { endpoint, region, bucket } = vault;
  const [accessKeyId, secretAccessKey] = await Promise.all([
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
  const { id, domain, sites, options, objectives, target, snapshots, continuityTest, limits } = customer;
  const peer = sites.find((s) => s !== site) ?? '';
  const own = customer.databases.get(site);
  const other = customer.databases.get(peer);
  if (!own || !other)
    throw new Fault(
      `customer ${id}: has no database at ${own ? peer : site}`,
      '`tandem config check` names the place.',
    );
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
    databaseUrl: await databaseUrl(configuration, own.url),
    peerDatabaseUrl: await databaseUrl(configuration, other.peerUrl),
    keys: await keyring(configuration, customer),
  };
}

async function databaseUrl(configuration: Configuration, reference: SecretReference): Promise<string> {
  const url = await secretText(configuration, reference);
  if (URL.canParse(url) && /^postgres(ql)?:$/.test(new URL(url).protocol)) return url;
  throw new Fault(
    `${reference.at}: ${reference.path}: is no database address`,
    'postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE is expected.',
  );
}

async function keyring(configuration: Configuration, { currentKey, keys }: CustomerConfiguration): Promise<Keyring> {
  const ring = new Map<string, Buffer>();
  for (const [id, reference] of keys) {
    const key = Buffer.from(await secretText(configuration, reference), 'base64');
    if (key.length !== 32)
      throw new Fault(
        `${reference.at}: ${reference.path}: key ${id} has ${key.length} bytes; 32 in base64 are expected`,
        '`tandem keys new customer` makes one.',
      );
    ring.set(id, key);
  }
  return { current: currentKey, ring };
}
