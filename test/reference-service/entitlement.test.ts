import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { followDirectory } from '../../activities/directory/follow.ts';
import { scramText } from '../../activities/directory/scram.ts';
import { prepareTables } from '../../ops/embedded/people/people.ts';
import { stopProcess, type ProcessRecord } from '../../ops/embedded/processes.ts';
import { certificateFor, openAuthority } from '../../ops/reference-service/authority.ts';
import { nodeOf } from '../../ops/reference-service/ejabberd/configuration.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { makeServiceTables, startEjabberd } from '../../ops/reference-service/ejabberd/site.ts';
import { hasSlapd, loadPeople, type Person } from '../../ops/reference-service/slapd.ts';
import { scratchDatabase, type ScratchDatabase } from '../rig/databases.ts';
import { call } from '../rig/erlang.ts';
import { freePort } from '../rig/ports.ts';
import { scratchSlapd, type ScratchSlapd } from '../rig/slapd.ts';
import { sql } from '../rig/sql.ts';
import { scramRow, Session } from '../rig/xmpp.ts';

/** From an attribute in a real directory to a user's session in a real ejabberd. */

const DOMAIN = 'acme.example';
const PASSWORD = 'a password of the tests';
const ADDRESS = '127.0.0.4';
const ejabberd = findEjabberd();

let folder: string;
let slapd: ScratchSlapd;
let database: ScratchDatabase;
let server: ProcessRecord;
let clients: number;
let distribution: number;
let authority: string;
const sessions: Session[] = [];

const signIn = async (user: string): Promise<Session> => {
  const session = await Session.open({
    at: `${ADDRESS}:${clients}`,
    domain: DOMAIN,
    user,
    password: PASSWORD,
    authority,
  });
  sessions.push(session);
  return session;
};
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
    customer: { id: 'acme', sites: ['east', 'west'], databaseUrl: database.url },
    settings: { source: { kind: 'ldap', ldap: slapd.settings }, everyMs: 300_000, removalsShare: 0.02 },
    signal: new AbortController().signal,
  });
const lookAgain = (): Promise<string> =>
  call(
    { node: nodeOf('east', ADDRESS), port: distribution, home: join(folder, 'data', 'east', 'ejabberd') },
    { module: 'mod_tandem_rights', name: 'look_again', args: [DOMAIN] },
  );
const ended = async (session: Session, timeout = 4000): Promise<void> => {
  await expect.poll(() => session.ended, { timeout }).not.toBeNull();
};

// Real servers are not on every machine: root on Debian gets them by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null || !hasSlapd())('the entitlement', () => {
  beforeAll(async () => {
    if (!ejabberd) return;
    folder = await mkdtemp(join(tmpdir(), 'tandem-entitled-'));
    await chmod(folder, 0o755); // Mnesia wants to be let in.
    [slapd, database, clients, distribution] = await Promise.all([
      scratchSlapd(),
      scratchDatabase('east'),
      freePort(),
      freePort(),
    ]);
    await loadPeople(
      slapd,
      ['anna', 'aron', 'alma', 'axel'].map((name) => person(name)),
    );
    await prepareTables(database.url, 'acme', 'east', ['east', 'west']);
    await makeServiceTables(ejabberd, database.url);
    await follow();
    const own = await openAuthority(join(folder, 'tls'));
    authority = own.certificate;
    server = await startEjabberd(folder, ejabberd, {
      site: 'east',
      domain: DOMAIN,
      address: ADDRESS,
      ports: { clients, distribution },
      databaseUrl: database.url,
      certificate: await certificateFor(own, join(folder, 'tls', 'east.pem'), [DOMAIN]),
      authority,
      peer: { site: 'west', address: '127.0.0.5' },
    });
  }, 60_000);
  afterEach(() => {
    for (const session of sessions.splice(0)) session.leave();
  });
  afterAll(async () => {
    if (server) await stopProcess(folder, server, 'SIGTERM', 5000);
    await Promise.all([slapd?.close(), database?.drop()]);
    await rm(folder, { recursive: true, force: true });
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
    expect(await sql(database.url, `select count(*)::int as kept from spool where username = 'anna'`)).toEqual([
      { kept: 0 },
    ]);
    expect(await sql(database.url, `select count(*)::int as account from users where username = 'anna'`)).toEqual([
      { account: 1 },
    ]);
  });

  it('lets him in again when it is set again, with the keys that he had', async () => {
    await loadPeople(slapd, [person('anna', { credentials: 'garbage' })]);
    await follow();
    expect(await lookAgain()).toBe('0');
    expect((await signIn('anna')).at).toBe(ADDRESS);
  });

  it('is obeyed at once when ejabberd is told to look again', async () => {
    const alma = await signIn('alma');
    await loadPeople(slapd, [person('alma', { entitled: false })]);
    await follow();
    expect(await lookAgain()).toBe('0');
    await ended(alma, 500);
  });

  it('ends nobody’s session when the directory is away, or empty', async () => {
    const [aron, axel] = [await signIn('aron'), await signIn('axel')];
    process.kill(slapd.record.pid, 'SIGSTOP');
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
    await sql(database.url, 'alter table tandem.directory_answer rename to hidden');
    try {
      await ended(aron, 9000);
      await expect(signIn('axel')).rejects.toThrow('system-shutdown');
    } finally {
      await sql(database.url, 'alter table tandem.hidden rename to directory_answer');
    }
  });
});
