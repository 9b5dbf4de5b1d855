import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import type { VaultAccess } from '../../activities/settings.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { SiteAddresses } from '../../ops/embedded/stack.ts';
import { makeBucket, REGION } from '../../ops/embedded/vault.ts';
import type { Site } from '../rig/databases.ts';

/** The servers of both sites, as the stack has them. */
export type Servers = Record<Site, Pick<SiteAddresses, 'databaseUrl' | 'superuserUrl' | 'vault'>>;

/** What lies in a bucket: the bytes of each key, oldest version. */
export type Objects = ReadonlyMap<string, Buffer>;

export interface Bucket {
  writer: VaultAccess;
  reader: VaultAccess;
  cleaner: VaultAccess;
  root: VaultAccess;
}

const newName = (): string => `walk_${randomBytes(6).toString('hex')}`;

/** Databases and buckets that are copies of others: every try of a job begins in the very same world. */
export class Ground {
  readonly servers: Servers;
  private readonly crashes: boolean;
  private readonly made: { site: Site; name: string }[] = [];

  /** `crashes`: whether the database servers themselves will be shut down without warning. */
  constructor(servers: Servers, { crashes = false } = {}) {
    this.servers = servers;
    this.crashes = crashes;
  }

  /** A new database, as it stood when its model was left; empty without one. Nobody may be connected to the model. */
  async newDatabase(site: Site, model?: string): Promise<string> {
    const name = newName();
    const template = model === undefined ? '' : `template ${new URL(model).pathname.slice(1)}`;
    // Copied as files, not through the log: a third of the work, where no file is waited for to be on disk.
    const strategy = this.crashes ? 'wal_log' : 'file_copy';
    await this.admin(site, `create database ${name} owner tandem ${template} strategy ${strategy}`);
    // A sequence in a copy counts on what was logged for its model: numbers that it gave before the first checkpoint
    // would be given again after a crash.
    if (this.crashes) await this.admin(site, 'checkpoint');
    this.made.push({ site, name });
    return Object.assign(new URL(this.servers[site].databaseUrl), { pathname: `/${name}` }).toString();
  }

  async dropDatabase(site: Site, url: string): Promise<void> {
    await this.admin(site, `drop database if exists ${new URL(url).pathname.slice(1)} with (force)`);
  }

  /** A new bucket with these objects in it. */
  async newBucket(site: Site, objects: Objects = new Map()): Promise<Bucket> {
    const { endpoint, ...users } = this.servers[site].vault;
    const { root, writer, reader, cleaner } = users;
    const bucket = newName().replace('_', '-');
    await makeBucket({ endpoint, bucket, ...users });
    const base = { site, endpoint, region: REGION, bucket };
    const made = {
      writer: { ...base, ...writer },
      reader: { ...base, ...reader },
      cleaner: { ...base, ...cleaner },
      root: { ...base, ...root },
    };
    const vault = new S3Vault(made.root);
    for (const [key, bytes] of objects) await vault.put(key, bytes);
    vault.close();
    return made;
  }

  async close(): Promise<void> {
    for (const { site, name } of this.made) await this.admin(site, `drop database if exists ${name} with (force)`);
  }

  private async admin(site: Site, sql: string): Promise<void> {
    const client = new Client({ connectionString: this.servers[site].superuserUrl });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  }
}

export async function objectsOf(bucket: Bucket): Promise<Objects> {
  const vault = new S3Vault(bucket.root);
  const found = new Map<string, Buffer>();
  for await (const { key } of vault.list('')) found.set(key, (await vault.read(key)) ?? Buffer.alloc(0));
  vault.close();
  return found;
}
