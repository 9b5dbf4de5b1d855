import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { followDirectory } from '../../activities/directory/follow.ts';
import { inspectDirectory, type DirectoryLook } from '../../activities/directory/inspect.ts';
import type { DirectorySettings, LdapSettings } from '../../activities/settings.ts';
import { hasSlapd, loadPeople } from '../../ops/reference-service/slapd.ts';
import { newAuthority, newServer } from '../rig/certificates.ts';
import { preparedDatabases, type ScratchDatabase, type Site } from '../rig/databases.ts';
import { scratchSlapd, type ScratchSlapd } from '../rig/slapd.ts';
import { sql } from '../rig/sql.ts';

/** What `tandem doctor` says of a customer's directory, and of the answer by which each site goes. */

const CUSTOMER = 'contoso';
const pair = ['east', 'west'] as const;
const never = new AbortController().signal;
const people = Array.from({ length: 40 }, (_, i) => ({ username: `user${i}`, entitled: i < 30 }));

let slapd: ScratchSlapd;
let databases: Record<Site, ScratchDatabase>;

const settings = (change: Partial<LdapSettings> = {}, of: ScratchSlapd = slapd): DirectorySettings => ({
  source: { kind: 'ldap', ldap: { ...of.settings, ...change } },
  everyMs: 300_000,
  removalsShare: 0.02,
});
const customerAt = (site: Site) => {
  const peer = site === 'east' ? 'west' : 'east';
  return {
    id: CUSTOMER,
    sites: pair,
    peer,
    databaseUrl: databases[site].url,
    peerDatabaseUrl: databases[peer].peerUrl,
  } as const;
};
const follow = (site: Site): Promise<unknown> =>
  followDirectory({ site, customer: customerAt(site), settings: settings(), signal: never });
/** Each finding as people read it, and what it is that was seen. */
async function found(
  directory: DirectorySettings = settings(),
  site: Site = 'west',
): Promise<{ said: string[]; tries: string[]; look: DirectoryLook }> {
  const { findings, look } = await inspectDirectory({ site, customer: customerAt(site), directory, signal: never });
  return {
    said: findings.map(({ severity, observed }) => `${severity}: ${observed}`),
    tries: findings.map((f) => f.try),
    look,
  };
}
const at = (site: Site, text: string): Promise<unknown> => sql(databases[site].url, text);

// slapd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(!hasSlapd())('a directory', () => {
  beforeAll(async () => {
    databases = await preparedDatabases();
    slapd = await scratchSlapd();
    await loadPeople(slapd, people);
  });
  beforeEach(async () => {
    for (const site of pair)
      await at(site, 'delete from tandem.directory_answer; delete from tandem.directory_removal');
    await Promise.all(pair.map(follow));
  });
  afterAll(async () => {
    await slapd.close();
    await Promise.all(pair.map((site) => databases[site].drop()));
  });

  describe('is an error, in a line that says what and a line that says what helps, when', () => {
    it.each<[string, () => Partial<LdapSettings>, RegExp, RegExp]>([
      [
        'the password is wrong',
        () => ({ bind: { ...slapd.reader, password: 'wrong' } }),
        /^error: the account or its password is wrong \(LDAP 49\)$/,
        /^Correct `customers\.contoso\.directory\.ldap\.bind`/,
      ],
      [
        'the account is another one',
        () => ({ bind: { ...slapd.reader, dn: 'cn=nobody,dc=contoso,dc=example' } }),
        /^error: the account or its password is wrong \(LDAP 49\)$/,
        /ldap\.bind`/,
      ],
      [
        'the base is not there',
        () => ({ base: 'ou=nobody,dc=contoso,dc=example' }),
        /^error: the base does not exist, or the account may not see it \(LDAP 32\)$/,
        /^Correct `customers\.contoso\.directory\.ldap\.base`/,
      ],
      [
        'its certificate is signed by somebody else',
        () => ({ ca: newAuthority('nobody we know').certificate }),
        /^error: its certificate is signed by nobody who is trusted \([A-Z_]+\)$/,
        /ldap\.ca`/,
      ],
      [
        'its certificate is for another name',
        () => ({ url: slapd.settings.url.replace('127.0.0.1', 'localhost') }),
        /^error: its certificate is for another name \(ERR_TLS_CERT_ALTNAME_INVALID\)$/,
        /ldap\.url` as its certificate does/,
      ],
      [
        'nobody is there',
        () => ({ url: 'ldaps://127.0.0.1:1' }),
        /^error: ECONNREFUSED$/,
        /^Look whether the directory server runs/,
      ],
      [
        'nobody has the attribute',
        () => ({ attributes: { ...slapd.settings.attributes, entitlement: { name: 'tandemEntitled', value: 'YES' } } }),
        /^error: nobody has tandemEntitled=YES among those whom \(objectClass=person\) finds$/,
        /attributes\.entitlement`/,
      ],
      [
        'the filter finds nobody',
        () => ({ filter: '(objectClass=device)' }),
        /^error: \(objectClass=device\) finds nobody below ou=people,dc=contoso,dc=example$/,
        /ldap\.filter`/,
      ],
      [
        'nobody has a name there',
        () => ({ attributes: { ...slapd.settings.attributes, username: 'mail' } }),
        /^error: 30 of 30 entitled entries have no name that the service can have$/,
        /attributes\.username`/,
      ],
    ])('%s', async (_, change, observed, next) => {
      const { said, tries, look } = await found(settings(change()));
      expect([said, tries]).toEqual([[expect.stringMatching(observed)], [expect.stringMatching(next)]]);
      // Whatever is wrong with it, the answer in force is told.
      expect(look.at).not.toBeNull();
    });

    it('its keys cannot become accounts, for the role lacks the right; one without keys needs none', async () => {
      const { credentials: _, ...rest } = slapd.settings.attributes;
      const keyless = settings({ attributes: { ...rest, credentials: null } });
      await at('west', 'revoke insert, update on users from current_user');
      try {
        const { said, tries } = await found();
        expect([said, tries]).toEqual([
          [expect.stringMatching(/^error: role \S+ lacks insert, update on users: no answer can be applied$/)],
          [expect.stringMatching(/: grant select, insert, update on users to \S+\.$/)],
        ]);
        expect((await found(keyless)).said).toEqual([]);
        // It is followed without these rights, too.
        const customer = customerAt('west');
        expect(await followDirectory({ site: 'west', customer, settings: keyless, signal: never })).toMatchObject({
          state: 'applied',
        });
        await at('west', 'revoke select on users from current_user');
        expect((await found(keyless)).tries).toEqual([
          expect.stringMatching(/: grant select \(username\) on users to /),
        ]);
      } finally {
        await at('west', 'grant select, insert, update on users to current_user');
      }
    });

    it('its certificate has expired', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'tandem-expired-'));
      const authority = newAuthority('of the directory');
      const until = Date.now() + 8000; // A busy machine needs some of it to start the server.
      const { key, cert } = newServer(authority, undefined, until);
      await writeFile(join(folder, 'ca.pem'), authority.certificate);
      await writeFile(join(folder, 'server.pem'), cert + key);
      const other = await scratchSlapd({
        certificate: join(folder, 'server.pem'),
        authority: join(folder, 'ca.pem'),
      });
      try {
        const directory = settings({ ca: authority.certificate }, other);
        expect((await found(directory)).said.join()).not.toMatch(/certificate/);
        await setTimeout(until + 1000 - Date.now());
        const { said, tries } = await found(directory);
        expect([said, tries]).toEqual([
          ['error: its certificate has expired (CERT_HAS_EXPIRED)'],
          [expect.stringMatching(/^Renew the certificate/)],
        ]);
      } finally {
        await other.close();
        await rm(folder, { recursive: true });
      }
    });

    it('the answer in force is old, or a later one is held', async () => {
      await at('west', "update tandem.directory_answer set at = at - interval '2 hours'");
      const old = await found();
      expect(old.said).toEqual(['error: the answer in force at west is 2 h 00 min old, asked for every 5 min 0 s']);
      expect(old.tries).toEqual([expect.stringMatching(/workflow `provisioning`/)]);
      await loadPeople(
        slapd,
        people.slice(0, 20).map((p) => ({ ...p, entitled: false })),
      );
      try {
        await follow('west');
        const held = await found();
        expect(held.said).toEqual([
          'error: an answer is held at west: it would disable 20 of 30 users, 3 are allowed without an operator',
        ]);
        expect(held.tries).toEqual(['`tandem directory show --site west --customer contoso`.']);
      } finally {
        await loadPeople(slapd, people);
      }
    });
  });

  describe('of which two sites hold different answers', () => {
    beforeEach(async () => {
      await loadPeople(slapd, [{ username: 'user0', entitled: false }]);
      await follow('west');
    });
    const sinceMinutes = async (minutes: number): Promise<void> => {
      await at('west', `update tandem.directory_answer set digest_at = now() - interval '${minutes} minutes'`);
      await at('east', `update tandem.directory_answer set digest_at = now() - interval '1 day'`);
    };

    it('is no matter while the other one may ask yet, and an error at both afterwards', async () => {
      expect((await found()).said).toEqual([]);
      await sinceMinutes(6); // A period, and the time that a look may take.
      expect((await found()).said).toEqual([]);
      await sinceMinutes(8);
      const told = 'error: the sites go by different answers of the directory since 8 min \\d s: ';
      expect((await found(settings(), 'west')).said).toEqual([
        expect.stringMatching(`^${told}29 users are entitled at west .*, 30 users are entitled at east `),
      ]);
      expect((await found(settings(), 'east')).said).toEqual([
        expect.stringMatching(`^${told}30 users are entitled at east .*, 29 users are entitled at west `),
      ]);
      await follow('east');
      expect((await found()).said).toEqual([]);
    });

    it('is seen also where as many are entitled at both: homes and keys count', async () => {
      await follow('east');
      await at(
        'east',
        "update tandem.home set site = 'west' where username = (select username from tandem.home where site = 'east' limit 1)",
      );
      await follow('east');
      await sinceMinutes(60);
      expect((await found()).said).toEqual([
        expect.stringMatching(/29 users are entitled at west .*29 users are entitled at east/),
      ]);
    });

    it('is no finding while the peer is silent: a lost site is what all this is for', async () => {
      await sinceMinutes(60);
      const customer = { ...customerAt('west'), peerDatabaseUrl: 'postgresql://tandem_peer:x@127.0.0.1:1/x' };
      const { findings } = await inspectDirectory({ site: 'west', customer, directory: settings(), signal: never });
      expect(findings).toEqual([]);
    });
  });

  it('without fault is told in numbers, and nothing is changed by the look', async () => {
    await loadPeople(slapd, people);
    await Promise.all(pair.map(follow));
    const before = await at('west', 'select * from tandem.directory_answer');
    const { said, look } = await found();
    expect(said).toEqual([]);
    expect(look).toMatchObject({ site: 'west', customer: CUSTOMER, entitled: 30 });
    expect(await at('west', 'select * from tandem.directory_answer')).toEqual(before);
  });

  it('that was never believed at a site is a warning there', async () => {
    await at('west', 'delete from tandem.directory_answer');
    expect((await found()).said).toEqual(['warning: no answer was ever believed at west: nobody is disabled there']);
  });
});
