import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { Database } from '../../activities/contacts/database.ts';
import type { Keyring } from '../../activities/settings.ts';
import { verifyHeld } from '../../activities/vault/held.ts';
import { pullSnapshots } from '../../activities/vault/pull.ts';
import { openSnapshot, type OpenSnapshot } from '../../activities/vault/open.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { takeSnapshot } from '../../activities/vault/snapshot.ts';
import { verifySnapshot } from '../../activities/vault/verify.ts';
import { createPeople } from '../../ops/embedded/people/people.ts';
import type { PullResult } from '../../activities/types.ts';
import type { Check } from '../../workflows/model/checks.ts';
import type { Receipt, SnapshotId, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { filledDatabases } from '../rig/databases.ts';
import { scratchVaults, type ScratchVaults } from '../rig/vaults.ts';

export type Site = 'east' | 'west';
export const CUSTOMER = 'acme';

const LIMITS = { connections: 4, connectMs: 2000, statementMs: 60_000 };

/** Two sites as far as the data half sees them: a database and a vault each, keys, and people. */
export interface World {
  urls: Record<Site, string>;
  databases: Record<Site, Database>;
  vaults: Record<Site, S3Vault>;
  /** Another site's vault, as its peer may see it. */
  readers: Record<Site, S3Vault>;
  /** Vaults as somebody who may damage them. */
  roots: Record<Site, S3Vault>;
  access: ScratchVaults;
  keys: Keyring;
  publicKeys: ReadonlyMap<string, ReturnType<typeof generateKeyPairSync>['publicKey']>;
  signingKeys: Record<Site, ReturnType<typeof generateKeyPairSync>['privateKey']>;
  take: (site: Site, changes?: Partial<Parameters<typeof takeSnapshot>[0]>) => Promise<SnapshotSummary>;
  pull: (at: Site, changes?: Partial<Parameters<typeof pullSnapshots>[0]>) => Promise<PullResult>;
  verify: (at: Site, id: SnapshotId, changes?: Partial<Parameters<typeof verifySnapshot>[0]>) => Promise<Receipt>;
  /** The same, and who was found in it. */
  prove: (...id: Parameters<World['verify']>) => ReturnType<typeof verifySnapshot>;
  /** The rotation: opens all that lies in a site's vault. */
  held: (at: Site, changes?: Partial<Parameters<typeof verifyHeld>[0]>) => Promise<Check[]>;
  open: (at: Site, id: SnapshotId, keys?: Keyring, vault?: S3Vault) => Promise<OpenSnapshot>;
  sql: (site: Site, text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>;
  drop: () => Promise<void>;
}

export const otherSite = (site: Site): Site => (site === 'east' ? 'west' : 'east');

export const quiet = { heartbeat: () => undefined, signal: new AbortController().signal };

export function ringOf(current: string, ...ids: string[]): Keyring {
  return { current, ring: new Map([current, ...ids].map((id) => [id, randomBytes(32)])) };
}

export async function openWorld(
  users: number,
  contacts?: { exactly: number },
  { locks = true }: { locks?: boolean } = {},
): Promise<World> {
  const sites = ['east', 'west'] as const;
  const people = { seed: 'vault', users, customer: CUSTOMER, sites, ...(contacts && { contacts }) };
  const [{ east, west }, access] = await Promise.all([
    filledDatabases(JSON.stringify(people), async (to) => {
      await createPeople({ ...people, urls: to });
      await Promise.all([to.east, to.west].map(servedLongSince));
    }),
    scratchVaults({ locks }),
  ]);
  const urls = { east: east.url, west: west.url };
  const pairs = { east: generateKeyPairSync('ed25519'), west: generateKeyPairSync('ed25519') };
  const databases = {
    east: new Database('database of acme at east', urls.east, LIMITS),
    west: new Database('database of acme at west', urls.west, LIMITS),
  };
  const vaults = { east: new S3Vault(access.east), west: new S3Vault(access.west) };
  const readers = { east: new S3Vault(access.eastReader), west: new S3Vault(access.westReader) };
  const roots = { east: new S3Vault(access.eastRoot), west: new S3Vault(access.westRoot) };
  const keys = ringOf('k1');
  const publicKeys = new Map(sites.map((site) => [site as string, pairs[site].publicKey]));
  const signingKeys = { east: pairs.east.privateKey, west: pairs.west.privateKey };
  const common = { customer: CUSTOMER, keys, publicKeys, read: 'all' as const, maxAgeMs: 60_000, ...quiet };
  const prove: World['prove'] = (at, id, changes) =>
    verifySnapshot({
      ...common,
      vault: vaults[at],
      database: databases[at],
      site: at,
      id,
      signingKey: signingKeys[at],
      ...changes,
    });
  return {
    urls,
    databases,
    vaults,
    readers,
    roots,
    access,
    keys,
    publicKeys,
    signingKeys,
    take: (site, changes) =>
      takeSnapshot({
        ...common,
        vault: vaults[site],
        database: databases[site],
        site,
        signingKey: signingKeys[site],
        ...changes,
      }),
    pull: (at, changes) =>
      pullSnapshots({
        ...common,
        own: vaults[at],
        database: databases[at],
        site: at,
        peer: readers[otherSite(at)],
        ...changes,
      }),
    verify: async (...id) => (await prove(...id)).receipt,
    prove,
    held: (at, changes) =>
      verifyHeld({
        ...common,
        own: vaults[at],
        database: databases[at],
        site: at,
        sites: [otherSite(at), at],
        peer: readers[otherSite(at)],
        signingKey: signingKeys[at],
        ...changes,
      }),
    open: (at, id, ring = keys, vault = vaults[at]) => openSnapshot({ vault, keys: ring, publicKeys, id }),
    async sql(site, text, values = []) {
      const client = new Client({ connectionString: urls[site] });
      await client.connect();
      try {
        return (await client.query<Record<string, unknown>>(text, values)).rows;
      } finally {
        await client.end();
      }
    },
    async drop() {
      for (const vault of [vaults, readers, roots].flatMap((v) => [v.east, v.west])) vault.close();
      await Promise.all([databases.east.close(), databases.west.close()]);
      await Promise.all([east.drop(), west.drop()]);
    },
  };
}

/** Within half a second of being given users a site takes bases only: on a fast machine the first snapshot is sooner. */
async function servedLongSince(url: string): Promise<void> {
  const database = new Database('a site of the world', url, LIMITS);
  await database.query("update tandem.serving set at = at - interval '1 hour'");
  await database.close();
}
