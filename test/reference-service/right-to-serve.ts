import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { askService, rightsObeyed } from '../../activities/services/management.ts';
import { freeze } from '../rig/freeze.ts';
import type { Site } from '../rig/databases.ts';
import { address, DOMAIN, type ServiceSites } from '../rig/service.ts';
import { sql } from '../rig/sql.ts';
import type { Session } from '../rig/xmpp.ts';

/** Two real ejabberd obey the rows of their own databases: whoever has no right to serve serves nobody. */

const homes = { anna: 'east', aron: 'east', wendy: 'west', will: 'west', nobody: null } as const;
let service: ServiceSites;
const at = (site: Site, text: string): Promise<unknown> => service.at(site, text);
const signIn = (user: keyof typeof homes, site: Site): Promise<Session> => service.signIn(user, site);
const hears = async (session: Session, what: string, timeout = 3000): Promise<void> => {
  await expect.poll(() => session.heard, { timeout }).toContain(what);
};

export function rightToServe(opened: () => ServiceSites): void {
  describe('the right to serve', () => {
    beforeAll(() => {
      service = opened();
    });
    afterEach(async () => {
      process.kill(service.processes.west.pid, 'SIGCONT');
      service.leaveAll();
      for (const site of ['east', 'west'] as const) {
        await at(site, `update tandem.epoch set number = 1, site = '-'`);
        await at(site, `delete from tandem.serving`);
        await at(
          site,
          `insert into tandem.serving (customer, half, site, epoch) values ('acme','east','east',1), ('acme','west','west',1)`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 2200)); // Until both have read them.
    });

    it('lets users of both sites talk, wherever they sign in', async () => {
      const [anna, wendy] = [await signIn('anna', 'east'), await signIn('wendy', 'east')];
      expect(anna.at).toBe(address.east);
      expect(wendy.at).toBe(address.west);
      anna.say(`wendy@${DOMAIN}`, 'over to you');
      await hears(wendy, `anna@${DOMAIN}: over to you`);
      wendy.say(`anna@${DOMAIN}`, 'and back');
      await hears(anna, `wendy@${DOMAIN}: and back`);
    });

    it('is read and never written by the service', async () => {
      const url = await service.asService('east');
      for (const change of [
        'update tandem.serving set epoch = 9',
        'delete from tandem.home',
        'select from tandem.move',
      ])
        await expect(sql(url, change)).rejects.toThrow('permission denied');
    });

    it('is told over the API to who has a token, as far as it reaches', async () => {
      const ask = (token: string) => service.api('east', token);
      const limit = { limitMs: 3000 };
      expect([...(await rightsObeyed(ask('peer-east'), DOMAIN, limit))]).toEqual([
        ['east', 'east'],
        ['west', 'west'],
      ]);
      await expect(rightsObeyed(ask('peer-west'), DOMAIN, limit)).rejects.toThrow('answered with 40');
      await expect(askService(ask('peer-east'), 'kick_user', { user: 'anna', host: DOMAIN }, limit)).rejects.toThrow(
        '403',
      );
      await expect(askService(ask('own-east'), 'stop', {}, limit)).rejects.toThrow('403');
      expect(await askService(ask('own-east'), 'tandem_where', { user: 'anna', host: DOMAIN }, limit)).toEqual({
        site: 'here',
      });
      await expect(rightsObeyed({ ...ask('own-east'), ca: null }, DOMAIN, limit)).rejects.toThrow(/certificate/);
    });

    it('is nobody’s for a user without a home', async () => {
      await expect(signIn('nobody', 'east')).rejects.toThrow('system-shutdown');
    });

    it('follows a home that has changed, and a quarantine, as soon as it is told to look again', async () => {
      const ask = (module: string, name: string, ...args: string[]): Promise<string> =>
        service.inErlang('east', module, name, ...args, DOMAIN);
      const where = (user: string): Promise<string> => ask('mod_tandem', 'where', user);
      expect([await where('anna'), await where('aron')]).toEqual(['<<"here">>', '<<"here">>']);
      await at('east', `update tandem.home set site = 'west' where username = 'anna'`);
      await at('east', `insert into tandem.quarantine (username, record_id, because) values ('aron', '', 'a test')`);
      try {
        expect(await ask('mod_tandem_rights', 'look_again')).toBe('ok');
        expect([await where('anna'), await where('aron')]).toEqual(['<<"peer">>', '<<"closed">>']);
        await expect(signIn('aron', 'east')).rejects.toThrow('system-shutdown');
      } finally {
        await at('east', `update tandem.home set site = 'east' where username = 'anna'`);
        await at('east', 'delete from tandem.quarantine');
        await ask('mod_tandem_rights', 'look_again');
      }
    });

    it('ends a session at its first presence, or change of a list, that comes before anybody has ended it', async () => {
      const [anna, aron] = [await signIn('anna', 'east'), await signIn('aron', 'east')];
      // As in the moment between a drain and the end of all its sessions: whom it may not serve is known, and ended is nobody yet.
      for (const user of ['anna', 'aron'])
        await at(
          'east',
          `insert into tandem.quarantine (username, record_id, because) values ('${user}', '', 'a test')`,
        );
      try {
        await service.inErlang('east', 'mod_tandem_rights', 'look_again', DOMAIN);
        expect([anna.ended, aron.ended]).toEqual([null, null]);
        anna.send(`<iq type='set' id='late'><query xmlns='jabber:iq:roster'><item jid='late@${DOMAIN}'/></query></iq>`);
        aron.send('<presence><status>still here</status></presence>');
        await expect.poll(() => [anna.ended, aron.ended]).toEqual([expect.any(String), expect.any(String)]);
        // What is changed after the copy is in no copy.
        expect(await at('east', `select from rosterusers where jid = 'late@${DOMAIN}'`)).toEqual([]);
      } finally {
        await at('east', 'delete from tandem.quarantine');
        await service.inErlang('east', 'mod_tandem_rights', 'look_again', DOMAIN);
      }
    });

    it.each([
      ['a row that is missing', `delete from tandem.serving where half = 'east'`],
      ['a row older than the newest epoch', `update tandem.epoch set number = 2, site = 'west'`],
      ['rows that cannot be read', `alter table tandem.serving rename to hidden`],
      [
        'nobody seen for longer than its self-fence',
        `update tandem.alive set saw_at = now() - interval '61 s', self_fence_s = 60`,
      ],
    ])('is lost with %s: sessions end, nobody signs in, nothing is delivered', async (_, change) => {
      const [anna, wendy] = [await signIn('anna', 'east'), await signIn('wendy', 'west')];
      await at('east', change);
      try {
        await expect.poll(() => anna.ended, { timeout: 9000 }).not.toBeNull();
        await expect(signIn('anna', 'east')).rejects.toThrow('system-shutdown');
        wendy.say(`anna@${DOMAIN}`, 'are you there?');
        await hears(wendy, 'error: are you there?');
        expect(await at('east', `select count(*)::int as kept from spool where username = 'anna'`)).toEqual([
          { kept: 0 },
        ]);
      } finally {
        if (change.includes('hidden')) await at('east', 'alter table tandem.hidden rename to serving');
        await at('east', 'update tandem.alive set self_fence_s = null');
      }
    });

    it('comes with a row under the newest epoch: users of a dead site are served, those of this one notice nothing', async () => {
      const [anna, aron] = [await signIn('anna', 'east'), await signIn('aron', 'east')];
      await freeze(service.processes.west.pid);
      // A peer that swallows packets: not even before it is known to be gone does it hold up anybody here.
      anna.say(`wendy@${DOMAIN}`, 'into the dark');
      anna.say(`aron@${DOMAIN}`, 'still here');
      await hears(aron, `anna@${DOMAIN}: still here`, 1000);
      await expect(signIn('wendy', 'east')).rejects.toThrow('remote-connection-failed');
      await at('east', `update tandem.epoch set number = 2, site = 'east'`);
      await at('east', `update tandem.serving set site = 'east', epoch = 2`);
      await expect
        .poll(
          () =>
            signIn('wendy', 'east').then(
              ({ at: where }) => where,
              () => '',
            ),
          { timeout: 6000 },
        )
        .toBe(address.east);
      anna.say(`wendy@${DOMAIN}`, 'welcome');
      await expect.poll(() => service.sessions()[0]?.heard).toContain(`anna@${DOMAIN}: welcome`);
      expect([anna.ended, aron.ended]).toEqual([null, null]);
    });
  });
}
