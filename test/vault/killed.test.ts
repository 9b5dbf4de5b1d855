import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listSnapshots } from '../../activities/vault/catalog.ts';
import type { Doom } from './doomed.ts';
import { CUSTOMER, openWorld, type World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await openWorld(200);
});
afterAll(() => world.drop());

/** Runs a snapshot in a process of its own until it kills itself with SIGKILL. */
async function doomed(doom: Pick<Doom, 'at' | 'when'>): Promise<void> {
  const all: Doom = {
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
