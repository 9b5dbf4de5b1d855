import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import { sayAlive } from '../../activities/services/alive.ts';
import { inspectService } from '../../activities/services/inspect.ts';
import { askService } from '../../activities/services/management.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import type { Closing } from '../../workflows/model/closing.ts';
import type { Site } from '../rig/databases.ts';
import type { points as pointsOf } from '../rig/form.ts';
import { DOMAIN, type ServiceSites } from '../rig/service.ts';
import { sql } from '../rig/sql.ts';
import type { Session } from '../rig/xmpp.ts';

/** A site that is closed serves nobody, whatever its serving rows say; one that was away waits for its worker. */

const homes = { anna: 'east', aron: 'east', wendy: 'west' } as const;
let service: ServiceSites;
const at = (site: Site, text: string): Promise<unknown> => service.at(site, text);
const signIn = (user: keyof typeof homes, site: Site): Promise<Session> => service.signIn(user, site);
const refused = async (user: keyof typeof homes, site: Site): Promise<void> =>
  expect(signIn(user, site)).rejects.toThrow('system-shutdown');
const hears = async (session: Session, what: string, timeout = 3000): Promise<void> => {
  await expect.poll(() => session.heard, { timeout }).toContain(what);
};
const where = (user: string): Promise<string> => service.inErlang('east', 'mod_tandem', 'where', user, DOMAIN);
const lookAgain = (): Promise<string> => service.inErlang('east', 'mod_tandem_rights', 'look_again', DOMAIN);
const ranThrough = (): Promise<unknown> =>
  askService(service.api('east', 'own-east'), 'tandem_ran_through', { host: DOMAIN }, { limitMs: 3000 });
const CLOSE = `insert into tandem.closed (customer, kind, because) values ('acme', 'cut-off', 'a test')`;
const lastSign = (ago: string): Promise<unknown> =>
  at('east', `update tandem.alive set at = clock_timestamp() - interval '${ago}'`);

/** `points`: those of the form that whoever calls it runs in. */
export function closed(opened: () => ServiceSites, points: typeof pointsOf): void {
  describe('a service', () => {
    beforeAll(() => {
      service = opened();
    });
    afterEach(async () => {
      service.leaveAll();
      await at('east', 'delete from tandem.closed');
      await lastSign('0');
      await lookAgain();
    });

    type Shut = [what: string, change: string, back: string, limitMs: number];
    const shut = points<Shut>(
      [
        ['is closed', CLOSE, 'delete from tandem.closed', 3000],
        [
          'cannot be known to be open',
          'revoke select on tandem.closed from tandem_service',
          'grant select on tandem.closed to tandem_service',
          9000,
        ],
      ],
      [
        // The worker makes the tables before a module comes that reads them; who does it the other way round serves nobody.
        [
          'lacks the table',
          'alter table tandem.closed rename to hidden',
          'alter table tandem.hidden rename to closed',
          9000,
        ],
      ],
    );
    it.each(shut)(
      'that %s serves nobody: sessions end, nobody signs in, nothing is delivered',
      async (_, change, back, limit) => {
        const [anna, wendy] = [await signIn('anna', 'east'), await signIn('wendy', 'west')];
        const served = await at('east', 'select count(*)::int as n from tandem.served');
        await at('east', change);
        try {
          await expect.poll(() => anna.ended, { timeout: limit }).not.toBeNull();
          await refused('anna', 'east');
          await refused('wendy', 'east');
          wendy.say(`anna@${DOMAIN}`, 'are you there?');
          await hears(wendy, 'error: are you there?');
          expect(await at('east', 'select count(*)::int as kept from spool')).toEqual([{ kept: 0 }]);
        } finally {
          await at('east', back);
        }
        // Nothing of what it protects has changed, and it serves as before.
        expect(await at('east', 'select count(*)::int as n from tandem.served')).toEqual(served);
        expect(await lookAgain()).toBe('ok');
        await signIn('anna', 'east');
      },
    );

    it('says so to whoever asks in its database, and in its peer’s name', async () => {
      await at('east', CLOSE);
      expect(await at('east', `select username from tandem.home where tandem.may_serve(username)`)).toEqual([]);
      expect(await at('east', 'select half, site, open from tandem.observe() order by half')).toEqual([
        { half: 'east', site: 'east', open: false },
        { half: 'west', site: 'west', open: false },
      ]);
    });

    it('reads whether it is closed, and writes neither that nor that its site lives', async () => {
      const url = await service.asService('east');
      await sql(url, 'select from tandem.closed, tandem.drained, tandem.alive');
      for (const change of [
        CLOSE,
        'delete from tandem.closed',
        'delete from tandem.drained',
        'update tandem.alive set at = now()',
      ])
        await expect(sql(url, change)).rejects.toThrow('permission denied');
      for (const secret of ['tandem.site_word', 'tandem.site_opened'])
        await expect(sql(url, `select from ${secret}`)).rejects.toThrow('permission denied');
    });

    const signs = points<[string, () => Promise<unknown>]>(
      [['6 minutes old', () => lastSign('6 minutes')]],
      [
        ['3 hours ahead, by a clock that was set', () => lastSign('-3 hours')],
        ['not there', () => at('east', 'delete from tandem.alive')],
      ],
    );
    it.each(signs)('that starts when the last sign of life is %s serves nobody until the next', async (_, change) => {
      await service.restart('east', change);
      const wendy = await signIn('wendy', 'west');
      expect([await lookAgain(), await where('anna'), await ranThrough()]).toEqual(['ok', '<<"closed">>', 1]);
      await refused('anna', 'east');
      const findings = await inspectService(service.api('east'), { site: 'east', domain: DOMAIN });
      expect(findings.map(({ observed }) => observed)).toContain(
        'it waits for a sign of life of its site, and serves nobody',
      );
      wendy.say(`anna@${DOMAIN}`, 'are you up?');
      await hears(wendy, 'error: are you up?', 8000);
      await at(
        'east',
        `insert into tandem.alive values ('acme', clock_timestamp()) on conflict (customer) do update set at = excluded.at`,
      );
      expect([await lookAgain(), await where('anna'), await ranThrough()]).toEqual(['ok', '<<"here">>', 0]);
      await signIn('anna', 'east');
    });

    it('that runs is not closed by a worker that is away, nor by a fault of its own that leaves the node', async () => {
      const anna = await signIn('anna', 'east');
      await lastSign('2 hours');
      expect([await lookAgain(), await where('anna'), anna.ended]).toEqual(['ok', '<<"here">>', null]);
      const pid = await service.inErlang('east', 'erlang', 'whereis', `'mod_tandem_${DOMAIN}'`);
      expect(pid).toMatch(/^<\d/);
      await service.inErlang('east', 'gen_server', 'stop', { term: `'mod_tandem_${DOMAIN}'` }, `'kill'`, {
        term: '2000',
      });
      await expect.poll(lookAgain).toBe('ok');
      // It knew nothing for a moment, and let nobody stay; what it reads then is believed.
      expect([await where('anna'), await ranThrough()]).toEqual(['<<"here">>', 0]);
    });

    it('that was there all the while keeps its site open when the worker alone was away; one that started is no witness', async () => {
      const database = new Database('east', service.url('east'), {
        connections: 1,
        connectMs: 3000,
        statementMs: 5000,
      });
      const customer = { id: 'acme', domain: DOMAIN, peer: 'west', peerDatabaseUrl: 'postgres://nobody@127.0.0.1:9/x' };
      const services = new Map([
        ['east', { clients: '', api: null, outsideCheck: null, management: service.api('east') }],
      ]);
      // Of a site's settings it needs no more; the peer is silent.
      const alive = (): Promise<Closing | null> =>
        sayAlive({ site: 'east', services } as unknown as SiteSettings, customer as CustomerSettings, database);
      try {
        await lastSign('6 minutes');
        expect([await alive(), await at('east', 'select kind from tandem.closed')]).toEqual([null, []]);
        await service.restart('east', () => lastSign('6 minutes'));
        expect(await alive()).toMatchObject({ kind: 'was-down' });
        expect([await lookAgain(), await where('anna')]).toEqual(['ok', '<<"closed">>']);
        await refused('anna', 'east');
      } finally {
        await database.close();
      }
    });

    it('that starts while its site is closed stays so, however fresh the sign of life', async () => {
      await service.restart('east', () => at('east', CLOSE));
      expect([await lookAgain(), await where('anna')]).toEqual(['ok', '<<"closed">>']);
      await refused('anna', 'east');
    });
  });
}
