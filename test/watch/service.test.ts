import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import { makeWorld, type World } from '../failover-acts/world.ts';
import { DOMAIN, ejabberd, startServiceSites, type ServiceSites } from '../rig/service.ts';
import { never } from '../traffic/ends.ts';
import { loop, type Loop } from './ground.ts';

/** East's worker was never gone when west took its users over: its real ejabberd serves nobody, and that is noted. */

// A real ejabberd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null)('a newer epoch that is read while users are signed in', () => {
  let service: ServiceSites;
  let world: World;
  let looping: Loop | null = null;
  beforeAll(async () => {
    if (!ejabberd) return;
    [service, world] = await Promise.all([startServiceSites(ejabberd, { anna: 'east', wendy: 'west' }), makeWorld()]);
  }, 60_000);
  afterAll(async () => {
    await looping?.stop();
    await service?.close();
    await world?.close();
  }, 30_000);

  function east(): SiteSettings {
    const acme: CustomerSettings = {
      ...world.customer,
      id: 'acme',
      domain: DOMAIN,
      peer: 'west',
      databaseUrl: service.url('east'),
      peerDatabaseUrl: service.url('west'),
    };
    const clients = `127.0.0.2:${service.clients}`;
    return {
      ...world.settings,
      site: 'east',
      vault: world.vaults.east,
      peerVaults: new Map([['west', world.vaults.westReader]]),
      peerTemporals: new Map(),
      signingKey: generateKeyPairSync('ed25519').privateKey,
      services: new Map([['east', { clients, api: null, outsideCheck: null, management: service.api('east') }]]),
      customers: new Map([['acme', acme]]),
    };
  }

  it('ends their sessions, and when that was seen is noted beside when the epoch was raised', async () => {
    const anna = await service.signIn('anna', 'east');
    looping = loop(east(), 1000);
    await looping.after(3);
    expect([anna.ended, looping.rounds.at(-1)?.seen.own.clients]).toEqual([null, 'answers']);
    await service.at('west', "update tandem.epoch set number = 2, site = 'west', move = 'm'");
    await expect.poll(() => anna.ended, { timeout: 10_000 }).not.toBeNull();
    await expect(service.signIn('anna', 'east')).rejects.toThrow('system-shutdown');
    const closed = async (): Promise<unknown> =>
      service.at(
        'east',
        'select number::int, store, service_closed_at - at < interval $$10 s$$ as soon from tandem.obeyed',
      );
    await expect.poll(closed).toEqual([{ number: 2, store: 'database of the peer', soon: true }]);
    await looping.after(2);
    const news = await looping.watchers.differing('acme', {}, 1000, never);
    expect(news.find(({ about }) => about === 'closed')?.text).toMatch(/Its service ended the sessions by 20/);
  });
});
