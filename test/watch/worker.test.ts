import { afterAll, beforeAll, expect, it } from 'vitest';
import { claimEpoch } from '../../activities/vault/epochs.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { runWorker } from '../../ops/worker.ts';
import { CUSTOMER, makeWorld, type World } from '../failover-acts/world.ts';
import { freePort } from '../rig/ports.ts';

let world: World;
beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world.close());

it('a worker whose own Temporal service is away obeys all the same, and says what it waits for', async () => {
  const { settings } = world.westWith({ site: { witness: world.vaults.witness.west } });
  const [port, away] = [await freePort(), await freePort()];
  const stop = new AbortController();
  const said: string[] = [];
  const ended = runWorker({
    settings,
    temporal: { address: `127.0.0.1:${away}`, namespace: 'none' },
    listen: `127.0.0.1:${port}`,
    signal: stop.signal,
    say: (line) => said.push(line),
  }).catch((error: unknown) => String(error));
  try {
    const vault = new S3Vault(world.vaults.witness.east);
    const east = { ...settings, site: 'east', signingKey: world.keys.east };
    await claimEpoch(vault, east, CUSTOMER, { number: 7, site: 'east', move: 'theirs' });
    vault.close();
    const epoch = async (): Promise<unknown> => world.westDb.query('select number::int, site from tandem.epoch');
    await expect.poll(epoch, { timeout: 30_000 }).toEqual([{ number: 7, site: 'east' }]);
    const ready = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/ready`)).text();
    await expect.poll(ready, { timeout: 30_000 }).toBe(`waiting for Temporal at 127.0.0.1:${away}\n`);
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    expect(metrics).toMatch(/tandem_watch_timestamp_seconds\{[^}]*site="east"[^}]*\} 1/);
    expect(said).toContain(`${CUSTOMER}: east has claimed epoch 7; this site is closed`);
  } finally {
    stop.abort();
  }
  expect(await ended).toContain('cannot be reached');
});
