import { beforeAll, expect, it, vi } from 'vitest';
import { operatorKeyPath } from '../../ops/embedded/configuration.ts';
import { killSite, livingProcesses, status } from '../../ops/embedded/control.ts';
import { loadPrivateKey } from '../../ops/keys.ts';
import { startFailover } from '../../ops/moves.ts';
import { hasSlapd } from '../../ops/reference-service/slapd.ts';
import { snapshotNow, standbyNow } from '../../ops/snapshots.ts';
import type { FailoverReport, FailoverStatus } from '../../workflows/model/moves.ts';
import { approve, reach } from '../rig/failovers.ts';
import type { Session } from '../rig/xmpp.ts';
import { atBoth, CUSTOMER, DISABLED, DOMAIN, type WholeStack } from './whole-stack.ts';

const [LOST, BLOCKED, ONE, OTHER] = ['u000000', 'u000001', 'u000003', 'u000005'];

let all: WholeStack;

async function protect(): Promise<void> {
  // Whom the lost user blocks, as his client has it in force: the most important thing that is brought over.
  await all.at(
    'east',
    `delete from privacy_list where username = '${LOST}'; delete from privacy_default_list where username = '${LOST}'`,
  );
  await all.at(
    'east',
    `with list as (insert into privacy_list (username, name) values ('${LOST}', 'Blocked contacts') returning id)
     insert into privacy_list_data (id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out)
     select id, 'j', '${BLOCKED}@${DOMAIN}', 'd', 0, true, false, false, false, false from list`,
  );
  await all.at('east', `insert into privacy_default_list (username, name) values ('${LOST}', 'Blocked contacts')`);
  // They have been contacts for long, each at his own site.
  for (const [site, owner, contact] of [
    ['east', LOST, OTHER],
    ['west', OTHER, LOST],
  ] as const)
    await all.at(
      site,
      `delete from rosterusers where username = '${owner}' and jid = '${contact}@${DOMAIN}';
       insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
         values ('${owner}', '${contact}@${DOMAIN}', 'old friend', 'B', 'N', '', 'N', '', 'item')`,
    );
  await atBoth((site) => snapshotNow(all.client(site), site, all.site(site).customer(CUSTOMER)));
  await atBoth((site) => standbyNow(all.client(site), site, all.site(site).customer(CUSTOMER)));
}

/** What no snapshot has: he is removed by one contact, and accepted by another. Each at a further client, for stanzas of their own. */
async function changeSince(lost: Session): Promise<void> {
  const [him, her] = [`${LOST}@${DOMAIN}`, `${ONE}@${DOMAIN}`];
  const [one, other] = [await all.signIn(ONE, 'west', 'phone'), await all.signIn(OTHER, 'west', 'phone')];
  other.send(
    `<iq type='set' id='remove'><query xmlns='jabber:iq:roster'><item jid='${him}' subscription='remove'/></query></iq>`,
  );
  lost.send(`<presence to='${her}' type='subscribe'/>`);
  await vi.waitFor(() => expect(one.saw).toContain(`${him}: subscribe`), 15_000);
  one.send(`<presence to='${him}' type='subscribed'/>`);
  const told = [`${her}: subscribed`, `${OTHER}@${DOMAIN}: unsubscribed`];
  await vi.waitFor(() => expect(lost.saw).toEqual(expect.arrayContaining(told)), 15_000);
  for (const phone of [one, other]) phone.send("<presence type='unavailable'/>");
  await vi.waitFor(() => expect(lost.saw).toContain(`${her}: unavailable`), 15_000);
}

const factsOf = ({ steps }: FailoverReport, act: string): object => steps.find((step) => step.act === act)?.facts ?? {};

async function failOver(): Promise<{ plan: FailoverStatus['plan']; report: FailoverReport }> {
  const handle = await startFailover(all.client('west'), 'west', {
    customer: CUSTOMER,
    from: 'east',
    reason: 'the hall is dark, and the directory with it',
    requestedBy: 'operator-1',
    isolation: 'every process of it was killed',
  });
  const { plan } = await reach(handle, ({ phase }) => phase === 'approving');
  for (const id of ['operator-1', 'operator-2'])
    await approve(handle, { id, key: await loadPrivateKey(operatorKeyPath(all.folder, id)) });
  return { plan, report: (await handle.result()).report };
}

/** A whole failover, with users who are signed in and talk while it happens; where the stack has a directory, without that. */
export function lostSiteClaims(opened: () => Promise<WholeStack>): void {
  let lost: Session;
  let one: Session;
  let other: Session;
  let moved: Session;
  let said = 0;
  let seenBefore = 0;
  let left: string[];
  let plan: FailoverStatus['plan'];
  let report: FailoverReport;

  beforeAll(async () => {
    all = await opened();
    await all.withoutDirectory();
    await protect();
    lost = await all.signIn(LOST, 'east');
    [one, other] = [await all.signIn(ONE, 'west'), await all.signIn(OTHER, 'west')];
    await changeSince(lost);
    seenBefore = other.saw.length;
    const talk = setInterval(() => one.say(`${OTHER}@${DOMAIN}`, `number ${(said += 1)}`), 50);
    try {
      await killSite(all.folder, 'east');
      left = (await livingProcesses(all.folder)).map(({ site, name }) => `${site} ${name}`);
      ({ plan, report } = await failOver());
    } finally {
      clearInterval(talk);
    }
    moved = await all.signIn(LOST, 'west');
  }, 180_000);

  it('lose it whole, and nothing of the other site', async () => {
    expect(left.filter((process) => process.startsWith('east '))).toEqual([]);
    const west = (await status(all.folder)).filter(({ site }) => site === 'west');
    expect(west.map(({ name, state }) => [name, state])).toEqual(west.map(({ name }) => [name, 'running']));
    expect(left).toContain('west ejabberd');
  });

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
    const expected = Array.from({ length: said }, (_, i) => `${ONE}@${DOMAIN}: number ${i + 1}`);
    await expect.poll(() => other.heard.filter((h) => h.includes('number'))).toEqual(expected);
    expect([one.ended, other.ended]).toEqual([null, null]);
  });

  it('who were moved sign in where they are served, and whom they blocked stays blocked', async () => {
    expect(`${moved.at}:`).toBe(all.stack.sites['west']?.clients?.replace(/\d+$/, ''));
    const blocked = await all.signIn(BLOCKED, 'west');
    blocked.say(`${LOST}@${DOMAIN}`, 'let me in');
    await expect.poll(() => blocked.heard).toContain('error: let me in');
    one.say(`${LOST}@${DOMAIN}`, 'welcome');
    await expect.poll(() => moved.heard).toContain(`${ONE}@${DOMAIN}: welcome`);
    expect(moved.heard.filter((h) => h.includes('let me in'))).toEqual([]);
  });

  it('are shown to nobody who had removed them since the snapshot, and see who had accepted them', async () => {
    await expect.poll(() => moved.saw).toContain(`${ONE}@${DOMAIN}: available`);
    other.say(`${OTHER}@${DOMAIN}`, 'all that comes before this has come');
    await expect.poll(() => other.heard).toContain(`${OTHER}@${DOMAIN}: all that comes before this has come`);
    expect(other.saw.slice(seenBefore).filter((seen) => seen === `${LOST}@${DOMAIN}: available`)).toEqual([]);
    expect(moved.saw.filter((seen) => seen.startsWith(`${OTHER}@`))).toEqual([]);
    const kept = `select nick, subscription from rosterusers where username = '${LOST}' and jid = '${OTHER}@${DOMAIN}'`;
    expect(await all.at('west', kept)).toEqual([{ nick: 'old friend', subscription: 'N' }]);
    expect(factsOf(report, 'restore-contacts')).toMatchObject({
      pairsDisagreed: 2,
      pairsMended: 2,
      pairsBlocked: 0,
      pairsWithin: 0,
    });
  });

  // As in whole.test.ts: without a directory nobody is disabled by it.
  it.skipIf(!hasSlapd())(
    'are failed over without their directory, told how old its answer is; whom it disabled is not brought back',
    async () => {
      expect(plan?.notes?.join('\n')).toMatch(
        /the directory's last good answer is .* old: 59 users entitled, 1 disabled/,
      );
      const step = (id: string) => report.steps.find((s) => s.id === id);
      expect(step('entitled')).toMatchObject({
        summary: expect.stringMatching(
          /^29 users of east are entitled, 1 are not; by the directory's answer of .* ago, because .*ECONNREFUSED/,
        ) as string,
        facts: { answered: false, entitled: 29, disabled: 1 },
      });
      expect(step('serve')?.summary).toMatch(/1 of them are disabled in the directory, and stay out/);
      expect(JSON.stringify(report.alarms)).toMatch(/who may be served is decided by the directory's answer of/);
      await expect(all.signIn(DISABLED, 'west')).rejects.toThrow('system-shutdown');
      expect(moved.ended).toBeNull();
    },
  );
}
