import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readUnsalvaged } from '../../activities/contacts/salvaged.ts';
import { listSnapshots } from '../../activities/vault/catalog.ts';
import { readSalvage } from '../../activities/vault/open-salvage.ts';
import { salvageHalves } from '../../activities/vault/salvage.ts';
import type { Doom } from './doomed.ts';
import { CUSTOMER, openWorld, quiet, type World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await openWorld(200);
});
afterAll(() => world.drop());

/** Runs a snapshot, or a salvage, in a process of its own until it kills itself with SIGKILL. */
async function doomed(doom: Pick<Doom, 'at' | 'when'> & Partial<Doom>): Promise<void> {
  const all: Doom = {
    work: 'snapshot',
    ...doom,
    url: world.urls.east,
    access: world.access.east,
    signingKey: world.signingKeys.east.export({ type: 'pkcs8', format: 'pem' }).toString(),
    key: world.keys.ring.get('k1')?.toString('hex') ?? '',
    customer: CUSTOMER,
    site: 'east',
  };
  const script = fileURLToPath(new URL('doomed.ts', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(all)], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
}

const listed = async (): Promise<number[]> =>
  (
    await listSnapshots({ vault: world.vaults.east, customer: CUSTOMER, site: 'east', publicKeys: world.publicKeys })
  ).snapshots.map(({ seq }) => seq);

describe('a snapshot killed with -9', () => {
  it('is not listed, holds no lock, and the next one works', async () => {
    await doomed({ at: '/packs/', when: 'before' });
    await doomed({ at: '/packs/', when: 'after' });
    await doomed({ at: '/m/', when: 'before' });
    expect(await listed()).toEqual([]);
    expect(await world.take('east')).toMatchObject({ seq: 1, counts: { users: 100 } });
  });

  it('is whole once its manifest stands, even if its process never knew', async () => {
    await doomed({ at: '/m/', when: 'after' });
    expect(await listed()).toEqual([2, 1]);
    await world.pull('west');
    const receipt = await world.verify('west', { customer: CUSTOMER, site: 'east', gen: 1, seq: 2 });
    expect(receipt.counts.users).toBe(100);
    // The ledger never heard of it, and is not trusted.
    expect(await world.take('east')).toMatchObject({ gen: 3, seq: 3 });
  });
});

describe('a salvage killed with -9', () => {
  const request = () => ({
    vault: world.vaults.east,
    customer: CUSTOMER,
    site: 'east',
    publicKeys: world.publicKeys,
  });
  const salvage = () =>
    salvageHalves({
      ...request(),
      database: world.databases.east,
      keys: world.keys,
      signingKey: world.signingKeys.east,
      maxAgeMs: 60_000,
      restored: () => Promise.resolve(null),
      ...quiet,
    });

  it('is none, or whole, and the next one answers it', async () => {
    await world.sql('east', "update tandem.epoch set number = 2, site = 'west', move = 'm'");
    const work = 'salvage';
    await doomed({ work, at: '/packs/', when: 'after' });
    await doomed({ work, at: '/salvage.json', when: 'before' });
    expect(await readSalvage(request(), 1)).toBeNull();
    await doomed({ work, at: '/salvage.json', when: 'after' });
    const stands = await readSalvage(request(), 1);
    expect(stands?.salvage.counts.users).toBe(100);
    // It was never noted, so nobody may write over it yet.
    expect(await readUnsalvaged(world.databases.east, CUSTOMER, 'east')).toEqual([{ epoch: 1, halves: ['east'] }]);
    expect(await salvage()).toMatchObject([{ point: stands?.salvage.point, counts: { users: 100 } }]);
    expect(await readUnsalvaged(world.databases.east, CUSTOMER, 'east')).toEqual([]);
  });
});
