import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { stopProcess, type ProcessRecord } from '../../ops/embedded/processes.ts';
import { certificateFor, openAuthority } from '../../ops/reference-service/authority.ts';
import { hasProsody, startPartner, type PartnerOptions } from '../../ops/reference-service/prosody/partner.ts';
import type { Site } from '../rig/databases.ts';
import { openDns } from '../rig/dns.ts';
import { freePort } from '../rig/ports.ts';
import { address, DOMAIN, ejabberd, startServiceSites, type ServiceSites } from '../rig/service.ts';
import { Session } from '../rig/xmpp.ts';
import { removeFolder, scratchFolder } from '../traffic/ends.ts';

/**
 * Two strangers' servers beside two ejabberd: a third party, which has one address of one site in its own configuration and may
 * send text, and a trusted partner. Neither is of our authority.
 */

const FABRIKAM = 'fabrikam.example';
const PARTNER = 'partner.example';
const ADDRESS = { [FABRIKAM]: '127.0.0.5', [PARTNER]: '127.0.0.4' };
const PASSWORD = 'a password of strangers';
type Stranger = keyof typeof ADDRESS;

let folder: string;
let service: ServiceSites;
let dns: Awaited<ReturnType<typeof openDns>>;
let servers: number;
const authorities = {} as Record<Stranger, string>;
const options = {} as Record<Stranger, PartnerOptions>;
const running = {} as Record<Stranger, ProcessRecord>;
const sessions: Session[] = [];

/** The third party's operators write another address into its configuration. */
async function pointTo(site: Site): Promise<void> {
  if (running[FABRIKAM]) await stopProcess(folder, running[FABRIKAM], 'SIGTERM', 5000);
  const resolver = { domain: DOMAIN, address: address[site], port: servers };
  running[FABRIKAM] = await startPartner(folder, { ...options[FABRIKAM], resolver });
}

async function stranger(at: Stranger): Promise<Session> {
  const { address: host, ports } = options[at];
  const where = { at: `${host}:${ports.clients}`, domain: at, user: 'friend', password: PASSWORD };
  const session = await Session.open({ ...where, authority: authorities[at] });
  sessions.push(session);
  return session;
}
/** The rights are read every second. */
async function signInSoon(user: string, site: Site): Promise<Session> {
  await expect
    .poll(() => service.inErlang(site, 'mod_tandem', 'where', user, DOMAIN), { timeout: 15_000 })
    .toContain('here');
  return service.signIn(user, site);
}
const came = async (session: Session, ...parts: string[]): Promise<void> => {
  const found = (): boolean => session.stanzas.some((s) => parts.every((p) => s.includes(p)));
  await expect.poll(found, { message: parts.join(' ') }).toBe(true);
};
/** What has come to it that is no answer to what it has sent itself. */
const handedOn = (session: Session, what: RegExp): string[] =>
  session.stanzas.filter((s) => what.test(s) && !s.includes('type="error"'));
const ANNA = `anna@${DOMAIN}`;

const jingle = (description: string): string =>
  `<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s'><content creator='initiator' name='c'>${description}</content></jingle>`;
/** What is no text, as clients offer it. */
const offers: Record<string, (to: string) => string> = {
  'a call': (to) =>
    `<iq ${to} type='set' id='offer'>${jingle("<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/>")}</iq>`,
  'the ringing of a call': (to) =>
    `<message ${to} type='chat' id='offer'><propose xmlns='urn:xmpp:jingle-message:0' id='p'><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='video'/></propose></message>`,
  'a file by Jingle': (to) =>
    `<iq ${to} type='set' id='offer'>${jingle("<description xmlns='urn:xmpp:jingle:apps:file-transfer:5'><file><name>a.txt</name></file></description>")}</iq>`,
  'a file by its address': (to) =>
    `<message ${to} type='chat' id='offer'><body>https://files.example/a.txt</body><x xmlns='jabber:x:oob'><url>https://files.example/a.txt</url></x></message>`,
  'a file within a forwarded message': (to) =>
    `<message ${to} type='chat' id='offer'><body>look</body><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><x xmlns='jabber:x:oob'><url>https://files.example/a.txt</url></x></message></forwarded></message>`,
  'a question for a place to put a file': (to) =>
    `<iq ${to} type='get' id='offer'><request xmlns='urn:xmpp:http:upload:0' filename='a.txt' size='5'/></iq>`,
  'a file by SI': (to) =>
    `<iq ${to} type='set' id='offer'><si xmlns='http://jabber.org/protocol/si' profile='http://jabber.org/protocol/si/profile/file-transfer'><file xmlns='http://jabber.org/protocol/si/profile/file-transfer' name='a.txt' size='5'/></si></iq>`,
};

// All three are not on every machine: root on Debian gets them by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null || !hasProsody())('other domains', () => {
  beforeAll(async () => {
    if (!ejabberd) return;
    folder = await scratchFolder();
    servers = await freePort();
    const zone: Record<string, { host: string; port: number }> = {};
    const strangers: string[] = [];
    for (const domain of [FABRIKAM, PARTNER] as const) {
      const ports = { clients: await freePort(), servers: await freePort() };
      const authority = await openAuthority(join(folder, domain));
      authorities[domain] = authority.certificate;
      strangers.push(await readFile(authority.certificate, 'utf8'));
      zone[`_xmpp-server._tcp.${domain}`] = { host: ADDRESS[domain], port: ports.servers };
      options[domain] = {
        name: domain,
        domain,
        address: ADDRESS[domain],
        ports,
        certificate: await certificateFor(authority, join(folder, domain, 'server.pem'), [domain]),
        authority: authority.certificate,
        resolver: null,
        accounts: [{ user: 'friend', password: PASSWORD }],
      };
    }
    dns = await openDns(zone);
    const bought = { partners: [PARTNER], thirdParties: [FABRIKAM], publicIm: ['public.example'] };
    service = await startServiceSites(
      ejabberd,
      { anna: 'east', wendy: 'west' },
      { bought, strangers, dns: dns.port, servers },
    );
    for (const domain of [FABRIKAM, PARTNER] as const) options[domain].authority = service.authority.certificate;
    await pointTo('east');
    const resolver = { domain: DOMAIN, address: address.west, port: servers };
    running[PARTNER] = await startPartner(folder, { ...options[PARTNER], resolver });
  }, 90_000);
  afterEach(() => {
    for (const session of sessions.splice(0)) session.leave();
    service.leaveAll();
  });
  afterAll(async () => {
    for (const record of Object.values(running)) await stopProcess(folder, record, 'SIGTERM', 5000);
    await service?.close();
    await dns?.close();
    if (folder) await removeFolder(folder);
  }, 30_000);

  it.each([FABRIKAM, PARTNER] as const)(
    '%s exchanges text with users of both sites, by proof of its certificate',
    async (domain) => {
      const [anna, wendy] = [await service.signIn('anna', 'east'), await service.signIn('wendy', 'west')];
      const friend = await stranger(domain);
      for (const [user, name] of [
        [anna, 'anna'],
        [wendy, 'wendy'],
      ] as const) {
        user.say(`friend@${domain}`, `out from ${name}`);
        await came(friend, `out from ${name}`, `from="${name}@${DOMAIN}`);
        friend.say(`${name}@${DOMAIN}`, `in for ${name}`);
        await came(user, `in for ${name}`, `from="friend@${domain}`);
      }
    },
  );

  describe('of which one is a third party', () => {
    let anna: Session;
    let friend: Session;
    beforeEach(async () => {
      [anna, friend] = [await service.signIn('anna', 'east'), await stranger(FABRIKAM)];
    });
    const ends = () =>
      [
        [anna, `to='friend@${FABRIKAM}/test-friend'`, friend],
        [friend, `to='${ANNA}/test-anna'`, anna],
      ] as const;

    it.each(Object.entries(offers))('never hands on %s, in either direction: its sender is told', async (_, offer) => {
      for (const [from, to, other] of ends()) {
        from.send(offer(to));
        await came(from, 'id="offer"', 'type="error"', 'policy-violation', 'carries text only');
        from.send(`<message ${to} type='chat' id='after'><body>after it</body></message>`);
        await came(other, 'after it');
        expect(handedOn(other, /id="offer"/)).toEqual([]);
      }
    });

    it('hands on the text of a message, and nothing that a client has put beside it', async () => {
      for (const [from, to, other] of ends()) {
        from.send(
          `<message ${to} type='chat' id='m'><subject>sub</subject><body>words</body><html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>fancy</body></html><active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/><nick xmlns='http://jabber.org/protocol/nick'>boss</nick></message>`,
        );
        await came(other, 'id="m"', '<body>words</body>', '<subject>sub</subject>', 'urn:xmpp:receipts');
        const [got = ''] = other.stanzas.filter((s) => s.includes('id="m"'));
        expect(got).not.toMatch(/fancy|chatstates|boss/);
      }
    });

    it('carries no presence, no signs of typing and no questions', async () => {
      for (const [from, to, other] of ends()) {
        from.send(`<presence ${to}/>`);
        from.send(
          `<message ${to} type='chat' id='typing'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>`,
        );
        from.send(`<presence ${to} type='subscribe' id='ask'/>`);
        await came(from, '<presence', 'type="error"', 'policy-violation');
        from.send(`<iq ${to} type='get' id='version'><query xmlns='jabber:iq:version'/></iq>`);
        await came(from, 'id="version"', 'type="error"', 'policy-violation');
        from.send(`<message ${to} type='chat' id='after'><body>after it</body></message>`);
        await came(other, 'after it');
        const sender = `from="${from === anna ? ANNA : `friend@${FABRIKAM}`}`;
        expect(handedOn(other, /typing|<presence|version/).filter((seen) => seen.includes(sender))).toEqual([]);
      }
      // Nor does it stay in the contacts of a user as a wish.
      expect(
        await service.at('east', `select count(*)::int as n from rosterusers where jid like '%${FABRIKAM}'`),
      ).toEqual([{ n: 0 }]);
    });
  });

  it('of public IM carry text and presence, and nothing else', async () => {
    const anna = await service.signIn('anna', 'east');
    // The way on which ejabberd hands on what came from other servers.
    const from = (domain: string, stanza: string): Promise<string> =>
      service.inErlang('east', 'mod_admin_extra', 'send_stanza', `eve@${domain}/x`, `${ANNA}/test-anna`, stanza);
    for (const domain of ['public.example', FABRIKAM]) {
      await from(domain, '<presence><status>here</status></presence>');
      await from(domain, `<iq type='get' id='q'><query xmlns='jabber:iq:version'/></iq>`);
      await from(
        domain,
        `<message type='chat'><body>hi</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>`,
      );
      await came(anna, '<body>hi</body>', `from="eve@${domain}/x"`);
    }
    expect(handedOn(anna, /status|jabber:iq:version|chatstates/)).toEqual([
      expect.stringMatching(/^<presence[^>]*from="eve@public\.example\/x"/),
    ]);
  });

  describe('of which one is the trusted partner', () => {
    let anna: Session;
    let friend: Session;
    beforeEach(async () => {
      [anna, friend] = [await service.signIn('anna', 'east'), await stranger(PARTNER)];
    });
    const ends = () =>
      [
        [anna, `to='friend@${PARTNER}/test-friend'`, friend],
        [friend, `to='${ANNA}/test-anna'`, anna],
      ] as const;

    it.each(Object.entries(offers))('never hands on %s to those who have not bought calls', async (name, offer) => {
      for (const [from, to, other] of ends()) {
        from.send(offer(to));
        const why = name.includes('call') ? 'carries no calls' : 'carries no files';
        await came(from, 'id="offer"', 'type="error"', 'policy-violation', why);
        from.send(`<message ${to} type='chat' id='after'><body>after it</body></message>`);
        await came(other, 'after it');
        expect(handedOn(other, /id="offer"/)).toEqual([]);
      }
    });

    it('hands on presence, questions and whatever stands beside a text', async () => {
      for (const [from, to, other] of ends()) {
        from.send(`<presence ${to}><status>here</status></presence>`);
        await came(other, '<status>here</status>');
        from.send(`<iq ${to} type='get' id='q'><query xmlns='jabber:iq:version'/></iq>`);
        await came(other, 'id="q"', 'jabber:iq:version');
        from.send(
          `<message ${to} type='chat' id='m'><body>words</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>`,
        );
        await came(other, 'words', 'chatstates');
      }
    });
  });

  it('a third party whose configuration names the lost site reaches nobody until it has been changed', async () => {
    const friend = await stranger(FABRIKAM);
    const wendy = await service.signIn('wendy', 'west');
    friend.say(`wendy@${DOMAIN}`, 'before');
    await came(wendy, 'before');
    await stopProcess(service.folder, service.processes.east, 'SIGKILL', 5000);
    await service.at('west', `update tandem.epoch set number = 2, site = 'west'`);
    await service.at('west', `update tandem.serving set site = 'west', epoch = 2`);
    const anna = await signInSoon('anna', 'west');
    for (const user of ['anna', 'wendy']) {
      friend.send(`<message to='${user}@${DOMAIN}' type='chat' id='lost-${user}'><body>lost</body></message>`);
      await came(friend, `id="lost-${user}"`, 'type="error"');
    }
    expect([...anna.heard, ...wendy.heard].join()).not.toContain('lost');
    // What goes out needs nothing of its operators.
    anna.say(`friend@${FABRIKAM}`, 'we have moved');
    await came(friend, 'we have moved');

    await pointTo('west');
    const again = await stranger(FABRIKAM);
    again.say(ANNA, 'found you');
    await came(anna, 'found you');
    anna.say(`friend@${FABRIKAM}`, 'good');
    await came(again, 'good');
  }, 40_000);
});
