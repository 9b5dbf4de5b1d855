import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { drainSessions } from '../../activities/services/drain.ts';
import { endSessions } from '../../activities/services/end-sessions.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { noteEffect } from '../../activities/services/effects.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import { reconcileContacts } from '../../activities/services/reconcile.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import { openSite, type OwnSite } from '../../activities/services/site.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import type { Act } from '../../workflows/model/acts.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { plannedStep } from '../failover-acts/planned-world.ts';
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
      signingKey: world.keys.east,
      services: new Map([['east', { clients, api: null, outsideCheck: null, management: service.api('east') }]]),
      customers: new Map([['acme', acme]]),
    };
  }

  it('is not needed to end those of users whose contacts a move has written: theirs alone', async () => {
    const [anna, wendy] = [await service.signIn('anna', 'east'), await service.signIn('wendy', 'west')];
    for (const [name, written] of [
      ['anna', true],
      ['wendy', false],
    ] as const)
      await service.at(
        'east',
        `insert into tandem.reconciled (salvage, username, move, document) values ('s', '${name}', 'again', '{"written": ${written}}')`,
      );
    const here = openSite(east());
    try {
      const ended = (halves: string[]) => endSessions(here, { customer: 'acme', move: 'again', halves });
      expect(await ended(['west'])).toEqual({ ended: 0, untold: null });
      expect(anna.ended).toBeNull();
      expect((await reconciledBefore(here)).summary).toMatch(/^done; sessions that were ended, .*: 1$/);
      await expect.poll(() => anna.ended).not.toBeNull();
      expect(wendy.ended).toBeNull();
    } finally {
      wendy.leave();
      await here.close();
      await service.at(
        'east',
        "delete from tandem.reconciled where move = 'again'; update tandem.move set phase = 'closed', ended_at = now() where move = 'again'",
      );
    }
  });

  /** A reconciliation of users of east who stay, whose worker died when it had noted that it was done. */
  async function reconciledBefore(here: OwnSite): Promise<StepResult> {
    await service.at(
      'east',
      "insert into tandem.move values ('again', 'acme', 'relocate', 'w', 'moving', '{}', now())",
    );
    const { plan, ...rest } = plannedStep('reconcile-contacts', 'again');
    const key = { ...rest.key, customer: 'acme' };
    const { planned } = plan.decisions;
    if (!planned) throw new Error('not planned');
    const reconcile = { rule: 'survivor', salvage: { epoch: 1, manifest: 's' }, base: null } as const;
    const decisions = { ...plan.decisions, planned: { ...planned, stayed: [{ halves: ['east'], reconcile }] } };
    const merging = { ...rest, key, plan: { ...plan, decisions } };
    await here
      .database('acme')
      .transaction((client) => noteEffect(client, merging, { summary: 'done', facts: { users: 1 } }));
    return reconcileContacts(here, merging, { heartbeat: () => undefined, signal: never });
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

  /** One act of a planned move of east's own half to west. */
  function step(act: Act): PlannedStep {
    const planned = { half: 'east', keeps: ['west'], servedAt: ['west'], reconcile: null };
    const { key, plan } = plannedStep(act, 'home', { epoch: 3, planned });
    const decisions = { ...plan.decisions, from: 'east', to: 'west' };
    const epoch = { ...key.epoch, site: 'east' };
    return { key: { ...key, customer: 'acme', epoch }, act, plan: { ...plan, decisions } };
  }

  it('or a half that is handed over: its sessions end, nothing is lost in silence, and its users are led on', async () => {
    await looping?.stop();
    looping = null;
    for (const site of ['east', 'west'] as const)
      await service.at(
        site,
        `update tandem.epoch set number = 2, site = 'west', move = 'm'; update tandem.serving set site = half, epoch = 2;
         insert into tandem.move (move, customer, kind, workflow_id, phase, input, started_at)
           values ('home', 'acme', 'failover', 'w', 'moving', '{}', now())`,
      );
    const here = openSite(east());
    try {
      expect((await advanceEpoch(here, step('advance-epoch'))).facts).toMatchObject({ keptOpen: 1, followed: true });
      // What was written by hand above, the service may have read in its middle: it reads again within a second.
      const signIn = () => service.signIn('anna', 'east').catch(() => null);
      const anna = await vi.waitUntil(signIn, { timeout: 10_000 });
      const wendy = await service.signIn('wendy', 'west');
      const [annas, wendys] = [`anna@${DOMAIN}`, `wendy@${DOMAIN}`];
      wendy.say(annas, 'under the new number');
      await expect.poll(() => anna.heard).toContain(`${wendys}: under the new number`);
      expect((await drainSessions(here, step('drain-sessions'))).summary).toContain('its service says so');
      await expect.poll(() => anna.ended, { timeout: 5000 }).not.toBeNull();
      await expect(service.signIn('anna', 'east')).rejects.toThrow('system-shutdown');
      wendy.say(annas, 'amid');
      await expect.poll(() => wendy.heard).toContain('error: amid');
      await service.at(
        'west',
        `insert into tandem.applied (customer, site, gen, seq, manifest, point, held) values ('acme', 'east', 1, 1, 'm', clock_timestamp(), '{}')`,
      );
      expect((await serveUsers(here, step('serve-users'))).summary).toContain('west serves the 1 users of east');
      await expect.poll(() => service.signIn('anna', 'east').then(({ at }) => at, String)).toBe('127.0.0.3');
      wendy.say(annas, 'welcome');
      await expect.poll(() => service.sessions()[0]?.heard).toContain(`${wendys}: welcome`);
      expect([wendy.ended, anna.ended]).toEqual([null, 'system-shutdown']);
    } finally {
      await here.close();
    }
  });
});
