import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { inject } from 'vitest';

export type Site = 'east' | 'west';

export interface ScratchDatabase {
  /** As role `tandem`, which owns it. */
  url: string;
  /** As role `tandem_peer`, which may only observe and fence. */
  peerUrl: string;
  drop: () => Promise<void>;
}

/** An empty database of its own on a site's server, owned by role `tandem` as the real one is. */
export async function scratchDatabase(site: Site): Promise<ScratchDatabase> {
  const at = inject('stack').sites[site];
  if (!at) throw new Error(`no site ${site} in the rig`);
  const name = `scratch_${randomBytes(6).toString('hex')}`;
  const admin = async (sql: string): Promise<void> => {
    const client = new Client({ connectionString: at.superuserUrl });
    await client.connect();
    await client.query(sql);
    await client.end();
  };
  const named = (url: string): string => Object.assign(new URL(url), { pathname: `/${name}` }).toString();
  await admin(`create database ${name} owner tandem`);
  return {
    url: named(at.databaseUrl),
    peerUrl: named(at.peerUrl),
    drop: () => admin(`drop database if exists ${name} with (force)`),
  };
}
