import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { nodeOf, TICK_S } from '../../ops/reference-service/ejabberd/configuration.ts';
import { freeze } from '../rig/freeze.ts';
import { address, DOMAIN, type ServiceSites } from '../rig/service.ts';

/** The way between two ejabberd sites: order, presence, and a peer that takes no more. */

const ANNA = `anna@${DOMAIN}`;
const WENDY = `wendy@${DOMAIN}`;
let service: ServiceSites;

export function link(opened: () => ServiceSites): void {
  describe('the link between two sites', () => {
    beforeAll(async () => {
      service = opened();
      for (const site of ['east', 'west'] as const)
        for (const [user, contact] of [
          ['anna', WENDY],
          ['wendy', ANNA],
        ])
          await service.at(
            site,
            `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
           values ('${user}', '${contact}', '', 'B', 'N', '', 'N', '', 'item')`,
          );
    }, 60_000);
    afterEach(() => {
      process.kill(service.processes.west.pid, 'SIGCONT');
      service.leaveAll();
    });

    it('brings what one user says in the order in which he said it', async () => {
      const [anna, wendy] = [await service.signIn('anna', 'east'), await service.signIn('wendy', 'west')];
      const said = Array.from({ length: 300 }, (_, i) => `number ${i}`);
      for (const body of said) anna.say(WENDY, body);
      // She may be told as well what she missed of another part.
      const heard = (): string[] => wendy.heard.filter((one) => one.startsWith(`${ANNA}: number `));
      await expect.poll(() => heard().length).toBe(said.length);
      expect(heard()).toEqual(said.map((body) => `${ANNA}: ${body}`));
    });

    /** Time after which Erlang misses a peer, s. */
    const ticks = async (seconds: number): Promise<void> => {
      const [time, atOnce] = [{ term: String(seconds) }, { term: '0' }];
      for (const site of ['east', 'west'] as const)
        await service.inErlang(site, 'net_kernel', 'set_net_ticktime', time, atOnce);
    };

    it('that takes no more holds up nobody: the sender’s own session goes on, and he is told', async () => {
      const [anna, aron] = [await service.signIn('anna', 'east'), await service.signIn('aron', 'east')];
      // Whoever waits for the peer waits until it is missed: three times longer than is waited for him here.
      await ticks(60);
      try {
        await freeze(service.processes.west.pid);
        // More than the buffers between the sites hold.
        const large = 'x'.repeat(60_000);
        for (let i = 0; i < 300; i += 1) anna.say(WENDY, large);
        anna.say(`aron@${DOMAIN}`, 'still here');
        await expect.poll(() => aron.heard).toContain(`${ANNA}: still here`);
        await expect.poll(() => anna.heard.some((heard) => heard.startsWith('error: x'))).toBe(true);
        expect([anna.ended, aron.ended]).toEqual([null, null]);
      } finally {
        process.kill(service.processes.west.pid, 'SIGCONT');
        await ticks(TICK_S);
      }
    });

    it('that is lost shows the users of the other site as gone, and when it is back as they are', async () => {
      const [anna, wendy] = [await service.signIn('anna', 'east'), await service.signIn('wendy', 'west')];
      await expect.poll(() => anna.saw).toContain(`${WENDY}: available`);
      await service.inErlang('east', 'erlang', 'disconnect_node', `'${nodeOf('west', address.west)}'`);
      const shown = [`${WENDY}: available`, `${WENDY}: unavailable`, `${WENDY}: available`];
      // A client is told its own presence as well, and that of a contact perhaps twice: by both when they come at once.
      await expect.poll(() => anna.saw.filter((saw) => saw.startsWith(WENDY)).slice(-3)).toEqual(shown);
      await expect
        .poll(() => wendy.saw.filter((saw) => saw.startsWith(ANNA)).slice(-2))
        .toEqual([`${ANNA}: unavailable`, `${ANNA}: available`]);
      expect([anna.ended, wendy.ended]).toEqual([null, null]);
    });

    it('to a site that stands still is lost as well: its users are shown as gone', async () => {
      const anna = await service.signIn('anna', 'east');
      await service.signIn('wendy', 'west');
      await expect.poll(() => anna.saw).toContain(`${WENDY}: available`);
      await freeze(service.processes.west.pid);
      await expect.poll(() => anna.saw.at(-1), { timeout: 20_000 }).toBe(`${WENDY}: unavailable`);
      expect(anna.ended).toBeNull();
    });
  });
}
