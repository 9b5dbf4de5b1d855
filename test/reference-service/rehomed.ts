import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { rightsObeyed } from '../../activities/services/management.ts';
import { address, DOMAIN, type ServiceSites } from '../rig/service.ts';
import type { Session } from '../rig/xmpp.ts';

/** Two real ejabberd, while a user of a cohort that was moved is given another home: nothing ends, nothing gets lost. */

const sites = ['east', 'west'] as const;
let service: ServiceSites;
const atBoth = (text: string): Promise<unknown> => Promise.all(sites.map((site) => service.at(site, text)));
/** As an act asks, once it has changed homes. */
const look = (): Promise<unknown> =>
  Promise.all(sites.map((site) => rightsObeyed(service.api(site, `own-${site}`), DOMAIN, { limitMs: 3000 })));
const hears = async (session: Session, what: string): Promise<void> => {
  await expect.poll(() => session.heard, { timeout: 3000 }).toContain(what);
};

export function rehomed(opened: () => ServiceSites): void {
  describe('another home', () => {
    beforeAll(() => {
      service = opened();
    });
    afterEach(async () => {
      service.leaveAll();
      await atBoth(`update tandem.home set site = 'west' where username = 'wendy'; delete from tandem.rehomed;
                    delete from tandem.serving where half = 'west/pilot'; delete from tandem.salvage`);
      await look();
    });

    it('ends no session, and all that is said to her or by her arrives, from either site', async () => {
      await atBoth(`delete from tandem.salvage;
                    insert into tandem.serving (customer, half, site, epoch) values ('acme', 'west/pilot', 'east', 1)`);
      await look();
      await atBoth(`update tandem.home set site = 'west/pilot' where username = 'wendy'`);
      await look();
      const [wendy, anna, will] = [
        await service.signIn('wendy', 'east'),
        await service.signIn('anna', 'east'),
        await service.signIn('will', 'west'),
      ];
      expect(wendy.at).toBe(address.east);
      const talk = async (word: string): Promise<void> => {
        for (const other of [anna, will]) other.say(`wendy@${DOMAIN}`, word);
        for (const who of ['anna', 'will']) {
          await hears(wendy, `${who}@${DOMAIN}: ${word}`);
          wendy.say(`${who}@${DOMAIN}`, `${word} yourself`);
        }
        for (const other of [anna, will]) await hears(other, `wendy@${DOMAIN}: ${word} yourself`);
      };
      await talk('before');
      // The destination's database goes first; what is said between the two arrives as well.
      for (const site of ['east', 'west'] as const) {
        const rehome = `select outcome from tandem.rehome('acme', '{west/pilot}', 'east', '{wendy}', 1, '-', (select move from tandem.epoch), now())`;
        expect(await service.at(site, rehome)).toEqual([{ outcome: 'rehomed' }]);
        await talk(`told at ${site}`);
      }
      await look();
      await talk('after');
      expect([wendy.ended, anna.ended, will.ended]).toEqual([null, null, null]);
      service.leaveAll();
      expect((await service.signIn('wendy', 'west')).at).toBe(address.east);
    });
  });
}
