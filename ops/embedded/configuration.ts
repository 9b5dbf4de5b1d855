import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { openSshLine } from '../keys.ts';
import type { Ports } from './ports.ts';
import { contactsDatabase } from './postgres.ts';
import { databaseUrl, newSigningKey, secret, vaultUsers } from './secrets.ts';
import { directoryEntry } from './directory.ts';
import { managementToken, type Service } from './service.ts';
import { probesEntry } from './probes.ts';
import { proxyEntry, trafficEntry } from './traffic.ts';
import { bucketOf, REGION } from './vault.ts';
import { WITNESS_BUCKET, witnessServer } from './witness.ts';

export const CUSTOMER = 'contoso';
export const DOMAIN = `${CUSTOMER}.example`;
const OPERATORS = {
  'operator-1': ['declare', 'approve', 'operate'],
  'operator-2': ['declare', 'approve', 'commander', 'operate'],
};

export const configurationPath = (folder: string): string => join(folder, 'tandem.yaml');
export const operatorKeyPath = (folder: string, id: string): string => join(folder, 'secrets', `${id}.pem`);

const file = (name: string): { file: string } => ({ file: `secrets/${name}` });
const publicLine = (pem: string): string => openSshLine(createPublicKey(createPrivateKey(pem)));

/** Writes the stack's tandem.yaml, with every secret it names. One that is there is kept: people edit it. */
export async function writeConfiguration(
  folder: string,
  ports: Ports,
  witness: number | null,
  service: Service | null,
): Promise<void> {
  const sites = Object.keys(ports);
  const configuration = {
    sites: Object.fromEntries(
      await Promise.all(sites.map(async (site) => [site, await siteEntry(folder, site, ports, service)] as const)),
    ),
    customers: { [CUSTOMER]: await customerEntry(folder, sites, ports, service) },
    operators: Object.fromEntries(
      await Promise.all(
        Object.entries(OPERATORS).map(
          async ([id, roles]) =>
            [id, { key: publicLine(await secret(folder, `${id}.pem`, newSigningKey)), roles }] as const,
        ),
      ),
    ),
    ...(witness !== null && { witness: await witnessEntry(folder, witness, sites) }),
  };
  const path = configurationPath(folder);
  if (
    await access(path).then(
      () => true,
      () => false,
    )
  )
    return;
  await mkdir(folder, { recursive: true });
  await writeFile(
    path,
    `# The embedded stack. Secrets are files beside it, never values in it.\n${stringify(configuration, { lineWidth: 0 })}`,
  );
}

async function witnessEntry(folder: string, port: number, sites: string[]): Promise<unknown> {
  const { endpoint, users } = await witnessServer(folder, port, sites);
  const accounts = Object.keys(users).map((site) => [
    site,
    { 'access-key-id': file(`witness-vault-${site}-id`), 'secret-access-key': file(`witness-vault-${site}-secret`) },
  ]);
  return { endpoint, region: REGION, bucket: WITNESS_BUCKET, accounts: Object.fromEntries(accounts) as unknown };
}

async function siteEntry(folder: string, site: string, ports: Ports, service: Service | null): Promise<unknown> {
  const at = ports[site];
  if (!at) throw new Error(`no ports for ${site}`);
  await vaultUsers(folder, site);
  const account = (role: string) => ({
    'access-key-id': file(`${site}-vault-${role}-id`),
    'secret-access-key': file(`${site}-vault-${role}-secret`),
  });
  return {
    temporal: { address: `127.0.0.1:${at.temporal}`, namespace: 'tandem', ui: `http://127.0.0.1:${at.ui}` },
    worker: { listen: `127.0.0.1:${at.worker}`, callbacks: `http://127.0.0.1:${at.worker}` },
    vault: {
      endpoint: `http://127.0.0.1:${at.vault}`,
      region: REGION,
      bucket: bucketOf(site),
      writer: account('writer'),
      cleaner: account('cleaner'),
      reader: account('reader'),
    },
    signing: {
      'public-key': publicLine(await secret(folder, `${site}-signing.pem`, newSigningKey)),
      'private-key': file(`${site}-signing.pem`),
    },
    ...(service && { service: await serviceEntry(folder, site, service), ...proxyEntry(folder, site) }),
    // What is told stays on this machine, as files: the stack needs no mail server.
    channels: { desk: { outbox: { folder: `outbox/${site}` } } },
    paging: ['desk'],
  };
}

async function serviceEntry(folder: string, site: string, { addresses, ports }: Service): Promise<unknown> {
  const at = addresses[site] ?? '';
  await Promise.all([managementToken(folder, site, 'own'), managementToken(folder, site, 'peer')]);
  return {
    clients: `${at}:${ports.clients}`,
    management: {
      url: `https://${at}:${ports.management}/api`,
      token: file(`${site}-ejabberd-own-token`),
      'peer-token': file(`${site}-ejabberd-peer-token`),
      ca: 'tls/ca.pem',
    },
  };
}

async function customerEntry(folder: string, sites: string[], ports: Ports, service: Service | null): Promise<unknown> {
  const databases: Record<string, unknown> = {};
  for (const site of sites) {
    const port = ports[site]?.postgres ?? 0;
    const own = await databaseUrl(folder, site, 'tandem', port, contactsDatabase);
    const peer = await databaseUrl(folder, site, 'tandem_peer', port, contactsDatabase);
    await secret(folder, `${CUSTOMER}-${site}-database`, () => own);
    await secret(folder, `${CUSTOMER}-${site}-database-peer`, () => peer);
    databases[site] = {
      url: file(`${CUSTOMER}-${site}-database`),
      'peer-url': file(`${CUSTOMER}-${site}-database-peer`),
    };
  }
  await secret(folder, `${CUSTOMER}-k1`, () => randomBytes(32).toString('base64'));
  return {
    domain: DOMAIN,
    sites,
    databases,
    ...(service && {
      ...(await directoryEntry(folder, service)),
      ...(await trafficEntry(folder, service)),
      probes: await probesEntry(folder, service),
    }),
    keys: { current: 'k1', ring: { k1: file(`${CUSTOMER}-k1`) } },
    options: ['content-archiving', 'third-party-federation'],
    objectives: { rpo: '8h', rto: '24h' },
    target: { rpo: '3h', rto: '30m' },
    snapshots: { every: '8h', between: '2h', budget: '30m' },
    'continuity-test': { month: 3, day: 10, hour: 2 },
    limits: { contacts: 250 },
    parties: {
      fabrikam: {
        option: 'third-party-federation',
        channel: 'desk',
        chase: '24h',
        change: 'Please let your federation gateway connect to our other site, as our agreement lists it.',
      },
    },
  };
}
