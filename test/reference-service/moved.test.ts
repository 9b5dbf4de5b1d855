import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { CustomerSettings } from '../../activities/settings.ts';
import type { FailoverReport } from '../../workflows/model/moves.ts';
import { readConfiguration, type Configuration } from '../../ops/config/configuration.ts';
import { settingsFor } from '../../ops/config/settings.ts';
import { operatorKeyPath } from '../../ops/embedded/configuration.ts';
import { killSite, reset } from '../../ops/embedded/control.ts';
import { populate } from '../../ops/embedded/people/populate.ts';
import { peoplePassword } from '../../ops/embedded/service.ts';
import { up, type Stack } from '../../ops/embedded/stack.ts';
import { loadPrivateKey } from '../../ops/keys.ts';
import { startFailover } from '../../ops/moves.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { snapshotNow, standbyNow } from '../../ops/snapshots.ts';
import { connectClient } from '../../ops/temporal.ts';
import { approve, reach } from '../rig/failovers.ts';
import { sql } from '../rig/sql.ts';
import { Session } from '../rig/xmpp.ts';

/** A whole failover, with users who are signed in and talk while it happens. */

const [LOST, BLOCKED, ONE, OTHER] = ['u000000', 'u000001', 'u000003', 'u000005'];
const SITES = ['east', 'west'] as const;

let folder: string;
let stack: Stack;
let configuration: Configuration;
const clients = new Map<string, Client>();
const sessions: Session[] = [];

const domain = 'contoso.example';
const clientOf = (site: string): Client => {
  const client = clients.get(site);
  if (!client) throw new Error(`no client of ${site}`);
  return client;
};
async function signIn(user = '', site: (typeof SITES)[number], resource = 'desk'): Promise<Session> {
  const authority = join(folder, 'tls', 'ca.pem');
  const at = stack.sites[site]?.clients ?? '';
  const session = await Session.open({ at, domain, user, resource, password: await peoplePassword(folder), authority });
  sessions.push(session);
  return session;
}

async function protect(): Promise<void> {
  const urls = { east: stack.sites['east']?.databaseUrl ?? '', west: stack.sites['west']?.databaseUrl ?? '' };
  await populate(stack, { seed: 'moved', users: 40 }, (site) => Promise.resolve(clientOf(site)));
  // Whom the lost user blocks, as his client has it in force: the most important thing that is brought over.
  await sql(
    urls.east,
    `delete from privacy_list where username = '${LOST}'; delete from privacy_default_list where username = '${LOST}'`,
  );
  await sql(
    urls.east,
    `with list as (insert into privacy_list (username, name) values ('${LOST}', 'Blocked contacts') returning id)
     insert into privacy_list_data (id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out)
     select id, 'j', '${BLOCKED}@${domain}', 'd', 0, true, false, false, false, false from list`,
  );
  await sql(urls.east, `insert into privacy_default_list (username, name) values ('${LOST}', 'Blocked contacts')`);
  // They have been contacts for long, each at his own site.
  for (const [url, owner, contact] of [
    [urls.east, LOST, OTHER],
    [urls.west, OTHER, LOST],
  ] as const)
    await sql(
      url,
      `delete from rosterusers where username = '${owner}' and jid = '${contact}@${domain}';
       insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
         values ('${owner}', '${contact}@${domain}', 'old friend', 'B', 'N', '', 'N', '', 'item')`,
    );
  const atEach = async (
    work: (client: Client, site: string, of: CustomerSettings) => Promise<unknown>,
  ): Promise<void> => {
    const one = async (site: string): Promise<void> => {
      const { customers } = await settingsFor(configuration, site, { reportsFolder: folder });
      const customer = customers.get('contoso');
      if (customer) await work(clientOf(site), site, customer);
    };
    await Promise.all(SITES.map(one));
  };
  await atEach(snapshotNow);
  await atEach(standbyNow);
}

/** What no snapshot has: he is removed by one contact, and accepted by another. Each at a further client, for stanzas of their own. */
async function changeSince(lost: Session): Promise<void> {
  const [him, her] = [`${LOST}@${domain}`, `${ONE}@${domain}`];
  const [one, other] = [await signIn(ONE, 'west', 'phone'), await signIn(OTHER, 'west', 'phone')];
  other.send(
    `<iq type='set' id='remove'><query xmlns='jabber:iq:roster'><item jid='${him}' subscription='remove'/></query></iq>`,
  );
  lost.send(`<presence to='${her}' type='subscribe'/>`);
  await vi.waitFor(() => expect(one.saw).toContain(`${him}: subscribe`), 15_000);
  one.send(`<presence to='${him}' type='subscribed'/>`);
  const told = [`${her}: subscribed`, `${OTHER}@${domain}: unsubscribed`];
  await vi.waitFor(() => expect(lost.saw).toEqual(expect.arrayContaining(told)), 15_000);
  for (const phone of [one, other]) phone.send("<presence type='unavailable'/>");
  await vi.waitFor(() => expect(lost.saw).toContain(`${her}: unavailable`), 15_000);
}

const restoredBy = ({ steps }: FailoverReport): object =>
  steps.find(({ act }) => act === 'restore-contacts')?.facts ?? {};

async function failOver(): Promise<FailoverReport> {
  const handle = await startFailover(clientOf('west'), 'west', {
    customer: 'contoso',
    from: 'east',
    reason: 'the hall is dark',
    requestedBy: 'operator-1',
    isolation: 'every process of it was killed',
  });
  await reach(handle, ({ phase }) => phase === 'approving');
  for (const id of ['operator-1', 'operator-2'])
    await approve(handle, { id, key: await loadPrivateKey(operatorKeyPath(folder, id)) });
  return (await handle.result()).report;
}

// A real ejabberd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(findEjabberd() === null)('users of a lost site, and of the other one', () => {
  let lost: Session;
  let one: Session;
  let other: Session;
  let said = 0;
  let seenBefore = 0;
  let report: FailoverReport;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tandem-moved-'));
    stack = await up({ folder, workers: true });
    configuration = await readConfiguration(stack.configuration);
    for (const site of SITES) {
      const temporal = configuration.sites.get(site)?.temporal;
      if (temporal) clients.set(site, await connectClient(temporal));
    }
    await protect();
    lost = await signIn(LOST, 'east');
    [one, other] = [await signIn(ONE, 'west'), await signIn(OTHER, 'west')];
    await changeSince(lost);
    seenBefore = other.saw.length;
    const talk = setInterval(() => one.say(`${OTHER}@${domain}`, `number ${(said += 1)}`), 50);
    try {
      await killSite(folder, 'east');
      report = await failOver();
    } finally {
      clearInterval(talk);
    }
  }, 180_000);
  afterAll(async () => {
    for (const session of sessions) session.leave();
    await Promise.all([...clients.values()].map((client) => client.connection.close()));
    await reset(folder);
  }, 60_000);

  it('are all served in the end, and every promised service was looked at by real clients', () => {
    expect(report).toMatchObject({ outcome: 'closed', mismatches: 0 });
    const seen = (report.services ?? []).filter(({ stoppedAt }) => stoppedAt !== null).map(({ service }) => service);
    // Federation where a partner's server is on the machine.
    expect(seen.filter((service) => service !== 'trusted-federation').toSorted()).toEqual([
      'archiving',
      'audio-video',
      'contacts',
      'file-transfer',
      'instant-messaging',
      'mobile',
      'presence',
      'provisioning',
      'remote-access',
      'web-access',
    ]);
    expect(lost.ended).not.toBeNull();
  });

  it('who stayed where they were noticed nothing: every message came, in order, and no session ended', async () => {
    expect(said).toBeGreaterThan(20);
    const expected = Array.from({ length: said }, (_, i) => `${ONE}@${domain}: number ${i + 1}`);
    await expect.poll(() => other.heard.filter((h) => h.includes('number'))).toEqual(expected);
    expect([one.ended, other.ended]).toEqual([null, null]);
  });

  it('who were moved sign in where they are served, and whom they blocked stays blocked', async () => {
    const moved = await signIn(LOST, 'west');
    expect(`${moved.at}:`).toBe(stack.sites['west']?.clients?.replace(/\d+$/, ''));
    const blocked = await signIn(BLOCKED, 'west');
    blocked.say(`${LOST}@${domain}`, 'let me in');
    await expect.poll(() => blocked.heard).toContain('error: let me in');
    one.say(`${LOST}@${domain}`, 'welcome');
    await expect.poll(() => moved.heard).toContain(`${ONE}@${domain}: welcome`);
    expect(moved.heard.filter((h) => h.includes('let me in'))).toEqual([]);
  });

  it('are shown to nobody who had removed them since the snapshot, and see who had accepted them', async () => {
    const moved = await signIn(LOST, 'west');
    await expect.poll(() => moved.saw).toContain(`${ONE}@${domain}: available`);
    other.say(`${OTHER}@${domain}`, 'all that comes before this has come');
    await expect.poll(() => other.heard).toContain(`${OTHER}@${domain}: all that comes before this has come`);
    expect(other.saw.slice(seenBefore).filter((seen) => seen === `${LOST}@${domain}: available`)).toEqual([]);
    expect(moved.saw.filter((seen) => seen.startsWith(`${OTHER}@`))).toEqual([]);
    const kept = `select nick, subscription from rosterusers where username = '${LOST}' and jid = '${OTHER}@${domain}'`;
    expect(await sql(stack.sites['west']?.databaseUrl ?? '', kept)).toEqual([
      { nick: 'old friend', subscription: 'N' },
    ]);
    expect(restoredBy(report)).toMatchObject({ pairsDisagreed: 2, pairsMended: 2, pairsBlocked: 0, pairsWithin: 0 });
  });
});
