import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { followDirectory } from '../../activities/directory/follow.ts';
import { scramText } from '../../activities/directory/scram.ts';
import { hasSlapd, loadPeople, type Person } from '../../ops/reference-service/slapd.ts';
import { address, DOMAIN, ejabberd, startServiceSites, type ServiceSites } from '../rig/service.ts';
import { scratchSlapd, type ScratchSlapd } from '../rig/slapd.ts';
import { sql } from '../rig/sql.ts';
import { scramRow, type Session } from '../rig/xmpp.ts';

/** From an attribute in a real directory to a user's session in a real ejabberd. */

/** As the rig's clients give it. */
const PASSWORD = 'a password of the tests';
const ADDRESS = address.east;

let slapd: ScratchSlapd;
let service: ServiceSites;
let url: string;

const signIn = (user: string): Promise<Session> => service.signIn(user, 'east');
const person = (username: string, change: Partial<Person> = {}): Person => {
  const [, storedKey, serverKey, salt, iterations] = scramRow(username, PASSWORD) as [
    string,
    string,
    string,
    string,
    number,
  ];
  const credentials = scramText({ storedKey, serverKey, salt, iterations });
  return { username, entitled: true, home: 'east', credentials, ...change };
};
const follow = (): Promise<unknown> =>
  followDirectory({
    site: 'east',
    customer: { id: 'acme', sites: ['east', 'west'], databaseUrl: url },
    settings: { source: { kind: 'ldap', ldap: slapd.settings }, everyMs: 300_000, removalsShare: 0.02 },
    signal: new AbortController().signal,
  });
const lookAgain = (): Promise<string> => service.inErlang('east', 'mod_tandem_rights', 'look_again', DOMAIN);
const ended = async (session: Session, timeout = 4000): Promise<void> => {
  await expect.poll(() => session.ended, { timeout }).not.toBeNull();
};

// Real servers are not on every machine: root on Debian gets them by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null || !hasSlapd())('the entitlement', () => {
  beforeAll(async () => {
    if (!ejabberd) return;
    [slapd, service] = await Promise.all([scratchSlapd(), startServiceSites(ejabberd, {})]);
    url = service.url('east');
    await loadPeople(
      slapd,
      ['anna', 'aron', 'alma', 'axel'].map((name) => person(name)),
    );
    // Homes and accounts come from there, and from nowhere else.
    await follow();
    await lookAgain();
  }, 60_000);
  afterEach(() => service.leaveAll());
  afterAll(async () => {
    await service?.close();
    await slapd?.close();
  }, 30_000);

  it('ends the session of a user who is cleared while he is signed in, and nobody else’s; he may not sign in again', async () => {
    const [anna, aron] = [await signIn('anna'), await signIn('aron')];
    await loadPeople(slapd, [person('anna', { entitled: false })]);
    await follow();
    await ended(anna);
    await expect(signIn('anna')).rejects.toThrow('system-shutdown');
    aron.say(`anna@${DOMAIN}`, 'are you there?');
    await expect.poll(() => aron.heard, { timeout: 3000 }).toContain('error: are you there?');
    expect(aron.ended).toBeNull();
    expect(await sql(url, `select count(*)::int as kept from spool where username = 'anna'`)).toEqual([{ kept: 0 }]);
    expect(await sql(url, `select count(*)::int as account from users where username = 'anna'`)).toEqual([
      { account: 1 },
    ]);
  });

  it('lets him in again when it is set again, with the keys that he had', async () => {
    await loadPeople(slapd, [person('anna', { credentials: 'garbage' })]);
    await follow();
    expect(await lookAgain()).toBe('ok');
    expect((await signIn('anna')).at).toBe(ADDRESS);
  });

  it('is obeyed at once when ejabberd is told to look again', async () => {
    const alma = await signIn('alma');
    await loadPeople(slapd, [person('alma', { entitled: false })]);
    await follow();
    expect(await lookAgain()).toBe('ok');
    await ended(alma, 500);
  });

  it('ends nobody’s session when the directory is away, or empty', async () => {
    const [aron, axel] = [await signIn('aron'), await signIn('axel')];
    process.kill(slapd.record.pid, 'SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 300)); // Until all of its threads stand still.
    try {
      await expect(follow()).rejects.toThrow();
    } finally {
      process.kill(slapd.record.pid, 'SIGCONT');
    }
    await loadPeople(
      slapd,
      ['anna', 'aron', 'axel'].map((name) => person(name, { entitled: false })),
    );
    expect(await follow()).toMatchObject({ state: 'held' });
    await lookAgain();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect([aron.ended, axel.ended]).toEqual([null, null]);
    expect((await signIn('anna')).at).toBe(ADDRESS);
  });

  it('is a no when it cannot be read: the site closes', async () => {
    const aron = await signIn('aron');
    await sql(url, 'alter table tandem.directory_answer rename to hidden');
    try {
      await ended(aron, 9000);
      await expect(signIn('axel')).rejects.toThrow('system-shutdown');
    } finally {
      await sql(url, 'alter table tandem.hidden rename to directory_answer');
    }
  });
});
