import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { prepareTables } from '../../ops/embedded/people/people.ts';
import { stopProcess, type ProcessRecord } from '../../ops/embedded/processes.ts';
import { certificateFor, openAuthority } from '../../ops/reference-service/authority.ts';
import { nodeOf } from '../../ops/reference-service/ejabberd/configuration.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { makeServiceTables, startEjabberd } from '../../ops/reference-service/ejabberd/site.ts';
import { admitToManagement } from '../../ops/reference-service/ejabberd/tokens.ts';
import { grantTables } from '../../ops/embedded/service.ts';
import { databaseUrl } from '../../ops/embedded/secrets.ts';
import { SERVICE_ROLE } from '../../ops/embedded/postgres.ts';
import { askService, rightsObeyed } from '../../activities/services/management.ts';
import { call } from '../rig/erlang.ts';
import { freePort } from '../rig/ports.ts';
import { scratchDatabase, type ScratchDatabase, type Site } from '../rig/databases.ts';
import { sql } from '../rig/sql.ts';
import { scramRow, Session } from '../rig/xmpp.ts';

/** Two real ejabberd obey the rows of their own databases: whoever has no right to serve serves nobody. */

const DOMAIN = 'acme.example';
const PASSWORD = 'a password of the tests';
const sites: Site[] = ['east', 'west'];
const address = { east: '127.0.0.2', west: '127.0.0.3' };
const homes = { anna: 'east', aron: 'east', wendy: 'west', will: 'west', nobody: null };
const ejabberd = findEjabberd();

let folder: string;
let databases: Record<Site, ScratchDatabase>;
const processes: Partial<Record<Site, ProcessRecord>> = {};
let clients: number;
let distribution: number;
let management: number;
let ca: string;
let pem: string;
const sessions: Session[] = [];

const at = (site: Site, text: string): Promise<unknown> => sql(databases[site].url, text);
/** The database as ejabberd reaches it: with the rights of its role, and no others. */
async function asService(site: Site): Promise<string> {
  const { folder: stack, sites: all } = inject('stack');
  const name = new URL(databases[site].url).pathname.slice(1);
  return databaseUrl(stack, site, SERVICE_ROLE, all[site]?.ports.postgres ?? 0, name);
}
const signIn = async (user: keyof typeof homes, site: Site): Promise<Session> => {
  const session = await Session.open({
    at: `${address[site]}:${clients}`,
    domain: DOMAIN,
    user,
    password: PASSWORD,
    authority: ca,
  });
  sessions.push(session);
  return session;
};
const hears = async (session: Session, what: string, timeout = 3000): Promise<void> => {
  await expect.poll(() => session.heard, { timeout }).toContain(what);
};

// A real ejabberd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null)('the right to serve', () => {
  beforeAll(async () => {
    if (!ejabberd) return;
    folder = await mkdtemp(join(tmpdir(), 'tandem-service-'));
    await chmod(folder, 0o755); // Mnesia wants to be let in.
    const [east, west] = await Promise.all([scratchDatabase('east'), scratchDatabase('west')]);
    databases = { east, west };
    distribution = await freePort();
    clients = await freePort();
    management = await freePort();
    const authority = await openAuthority(join(folder, 'tls'));
    ca = authority.certificate;
    pem = await readFile(ca, 'utf8');
    for (const site of sites) {
      await prepareTables(databases[site].url, 'acme', site, ['east', 'west']);
      await makeServiceTables(ejabberd, databases[site].url);
      for (const [user, home] of Object.entries(homes)) {
        const row = scramRow(user, PASSWORD).map((cell) => (typeof cell === 'number' ? cell : `'${cell}'`));
        await at(
          site,
          `insert into users (username, password, serverkey, salt, iterationcount) values (${row.join()})`,
        );
        if (home) await at(site, `insert into tandem.home values ('${user}', '${home}')`);
      }
      await grantTables(databases[site].url);
      await admitToManagement(databases[site].url, DOMAIN, { own: `own-${site}`, peer: `peer-${site}` });
      const peer = site === 'east' ? 'west' : 'east';
      processes[site] = await startEjabberd(folder, ejabberd, {
        site,
        domain: DOMAIN,
        address: address[site],
        ports: { clients, distribution, management },
        databaseUrl: await asService(site),
        certificate: await certificateFor(authority, join(folder, 'tls', `${site}.pem`), [DOMAIN, address[site]]),
        authority: authority.certificate,
        peer: { site: peer, address: address[peer] },
      });
    }
  }, 60_000);
  afterEach(async () => {
    for (const session of sessions.splice(0)) session.leave();
    for (const site of sites) {
      await at(site, `update tandem.epoch set number = 1, site = '-'`);
      await at(site, `delete from tandem.serving`);
      await at(
        site,
        `insert into tandem.serving (customer, half, site, epoch) values ('acme','east','east',1), ('acme','west','west',1)`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 2200)); // Until both have read them.
  });
  afterAll(async () => {
    for (const record of Object.values(processes)) {
      process.kill(record.pid, 'SIGCONT');
      await stopProcess(folder, record, 'SIGTERM', 5000);
    }
    await Promise.all(Object.values(databases ?? {}).map((database) => database.drop()));
    await rm(folder, { recursive: true, force: true });
  }, 30_000);

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
    const url = await asService('east');
    for (const change of ['update tandem.serving set epoch = 9', 'delete from tandem.home', 'select from tandem.move'])
      await expect(sql(url, change)).rejects.toThrow('permission denied');
  });

  it('is told over the API to who has a token, as far as it reaches', async () => {
    const ask = (token: string) => ({ url: `https://${address.east}:${management}/api`, token, ca: pem });
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
      call(
        { node: nodeOf('east', address.east), port: distribution, home: join(folder, 'data', 'east', 'ejabberd') },
        { module, name, args: [...args, DOMAIN] },
      );
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

  it.each([
    ['a row that is missing', `delete from tandem.serving where half = 'east'`],
    ['a row older than the newest epoch', `update tandem.epoch set number = 2, site = 'west'`],
    ['rows that cannot be read', `alter table tandem.serving rename to hidden`],
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
    }
  });

  it('comes with a row under the newest epoch: users of a dead site are served, those of this one notice nothing', async () => {
    const [anna, aron] = [await signIn('anna', 'east'), await signIn('aron', 'east')];
    process.kill(processes.west?.pid ?? 0, 'SIGSTOP');
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
    await expect.poll(() => sessions.at(-1)?.heard, { timeout: 3000 }).toContain(`anna@${DOMAIN}: welcome`);
    expect([anna.ended, aron.ended]).toEqual([null, null]);
    process.kill(processes.west?.pid ?? 0, 'SIGCONT');
  });
});
