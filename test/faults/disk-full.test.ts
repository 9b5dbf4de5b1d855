import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { down } from '../../ops/embedded/control.ts';
import { choosePorts } from '../../ops/embedded/ports.ts';
import { contactsDatabase, preparePostgres, startPostgres } from '../../ops/embedded/postgres.ts';
import { databaseUrl, vaultUsers } from '../../ops/embedded/secrets.ts';
import { findServers } from '../../ops/embedded/servers.mjs';
import { prepareVault, startVault } from '../../ops/embedded/vault.ts';
import { sql } from '../rig/sql.ts';
import { Ground, objectsOf } from '../walk/ground.ts';
import { usersOf } from '../walk/look.ts';
import { CUSTOMER, idOf, tellStory, undisturbed, type Story } from '../walk/story.ts';

/** Servers of their own on small disks. Only root may make such a disk, so without it there is nothing to try. */
const mayMount = process.getuid?.() === 0 && mounts();
const SITE = 'east';
const NOBODY = 65534;

let folder: string;
let ground: Ground;
let story: Story;
const disks: string[] = [];

function mounts(): boolean {
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

async function disk(name: string, size: string): Promise<string> {
  const at = join(folder, name);
  await mkdir(at, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'none', at]);
  disks.push(at);
  return at;
}

beforeAll(async () => {
  if (!mayMount) return;
  folder = await mkdtemp(join(tmpdir(), 'tandem-full-'));
  chmodSync(folder, 0o711); // PostgreSQL is another user, and passes through.
  const ports = (await choosePorts(folder, [SITE]))[SITE];
  if (!ports) throw new Error('no ports');
  chownSync(await disk('small', '24m'), NOBODY, NOBODY);
  await disk(join('data', SITE, 'vault'), '8m');
  await startPostgres(folder, SITE, ports.postgres);
  await preparePostgres(folder, SITE, ports.postgres);
  await startVault(folder, SITE, ports.vault, findServers().versitygw);
  await prepareVault(folder, SITE, ports.vault);
  const site = {
    databaseUrl: await databaseUrl(folder, SITE, 'tandem', ports.postgres, contactsDatabase),
    superuserUrl: await databaseUrl(folder, SITE, 'postgres', ports.postgres, 'postgres'),
    vault: { endpoint: `http://127.0.0.1:${ports.vault}`, ...(await vaultUsers(folder, SITE)) },
  };
  ground = new Ground({ east: site, west: site });
  story = await tellStory(ground);
});
afterAll(async () => {
  if (!mayMount) return;
  await down(folder);
  for (const at of disks) execFileSync('umount', [at]);
  await rm(folder, { recursive: true, force: true });
});

// A disk that is really full takes root and a machine that may mount: nothing else shows it.
describe.skipIf(!mayMount)('a full disk', () => {
  it('of the vault: no snapshot stands and the ledger knows of none; with room again the next one is whole', async () => {
    const { database: model, own: objects } = story.stages.first;
    const [own, peer] = [await ground.newBucket('east', objects), await ground.newBucket('west')];
    const database = await ground.newDatabase('east', model);
    const settings = story.settings('east', { database, own, peer });
    const take = (): Promise<unknown> => undisturbed(settings, 'take-snapshot', { customer: CUSTOMER });
    const filler = join(folder, 'data', SITE, 'vault', 'filler');
    await writeFile(filler, Buffer.alloc(16 << 20)).catch(() => undefined); // As much as there is room for.
    await expect(take()).rejects.toMatchObject({ type: 'disk-full', nonRetryable: false });
    expect([...(await objectsOf(own)).keys()].filter((key) => key.endsWith('.json'))).toEqual([]);
    expect(await sql(database, 'select from tandem.ledger')).toEqual([]);
    await rm(filler);
    expect(await take()).toMatchObject({ seq: 1 });
  });

  it('of the database: nobody stands half, and with room again the same run succeeds', async () => {
    const { database: model, own: objects, peer: theirs } = story.stages.unapplied;
    const [own, peer] = [await ground.newBucket('west', objects), await ground.newBucket('east', theirs)];
    const { superuserUrl } = ground.servers.west;
    const database = await ground.newDatabase('west', model);
    const name = new URL(database).pathname.slice(1);
    await sql(superuserUrl, `create tablespace small location '${join(folder, 'small')}'`);
    await sql(superuserUrl, `alter database ${name} set tablespace small`);
    const before = await usersOf(database);
    const settings = story.settings('west', { database, own, peer });
    const snapshot = idOf(story.taken.second);
    const apply = (): Promise<unknown> => undisturbed(settings, 'apply-standby', { snapshot });
    const filler = join(folder, 'small', 'filler');
    await writeFile(filler, Buffer.alloc(64 << 20)).catch(() => undefined);
    await expect(apply()).rejects.toMatchObject({
      type: 'disk-full',
      nonRetryable: false,
      message: expect.stringContaining('database of acme at west') as string,
    });
    expect(await usersOf(database)).toEqual(before);
    await rm(filler);
    expect(await apply()).toMatchObject({ held: 0 });
    expect(await usersOf(database)).not.toEqual(before);
  });
});
