import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Configuration } from '../../ops/config/configuration.ts';
import { directoryOf, directorySettings, type DirectoryConfiguration } from '../../ops/config/directory.ts';
import { faultLine, Source } from '../../runbooks/yaml.ts';
import { newAuthority } from '../rig/certificates.ts';

/** What `customers.CUSTOMER.directory` takes, and what it refuses. */

const attributes = '{ username: uid, entitlement: tandemEntitled }';
const bind = "{ dn: 'cn=tandem,dc=x', password: { file: password } }";
const ldap = (change: Record<string, string> = {}): string => {
  const all = { url: "'ldaps://ldap.example:636'", bind, base: "'ou=people,dc=x'", attributes, ...change };
  return `{ ldap: { ${Object.entries(all)
    .map(([key, value]) => `${key}: ${value}`)
    .join(', ')} } }`;
};

function read(text: string): { found: DirectoryConfiguration | null; faults: string } {
  const source = new Source('t.yaml', `directory: ${text}`);
  const found = directoryOf(source.root.fields(['directory']).directory, ['east', 'west']);
  return { found, faults: source.faults.map(faultLine).join('\n') };
}

describe('a directory is refused', () => {
  it.each<[string, string, RegExp]>([
    ['of no kind', '{ every: 5m }', /exactly one of ldap and table/],
    ['of two kinds', `{ table: {}, ldap: { url: x } }`, /exactly one of ldap and table/],
    ['that is asked every second', '{ table: {}, every: 1s }', /every: "1s"; from 1m to 24h/],
    ['that may lose most of its users', "{ table: {}, removals-limit: '60%' }", /a share from 0% to 50%/],
    ['with a limit that is no share', '{ table: {}, removals-limit: 20 }', /a share from 0% to 50%/],
    ['by another protocol', ldap({ url: "'https://ldap.example'" }), /url: .*ldaps:\/\/host:port/],
    ['with a password in its address', ldap({ url: "'ldaps://cn=x:secret@ldap.example'" }), /ldaps:\/\/host:port/],
    ['with a search in its address', ldap({ url: "'ldaps://ldap.example/dc=x??sub'" }), /ldaps:\/\/host:port/],
    [
      'without encryption to another machine',
      ldap({ url: "'ldap://ldap.example'", tls: 'none' }),
      /what leaves this machine is encrypted/,
    ],
    [
      'that one site asks encrypted from the first byte, the other not',
      ldap({ url: "{ east: 'ldaps://a', west: 'ldap://b' }" }),
      /ldaps at one site and ldap at the other/,
    ],
    ['with StartTLS over TLS', ldap({ tls: 'starttls' }), /stands with ldap:\/\/ only/],
    [
      'whose password is written there',
      ldap({ bind: "{ dn: 'cn=t', password: hush }" }),
      /a secret is never written here/,
    ],
    ['whose account is no entry', ldap({ bind: '{ dn: EXTERNAL, password: { env: P } }' }), /the name of an entry/],
    ['without a base', ldap({ base: "''" }), /base: .*the name of an entry/],
    ['with a filter that is none', ldap({ filter: "'(&(uid=a)'" }), /filter: .*in brackets/],
    ['with two filters', ldap({ filter: "'(uid=a)(uid=b)'" }), /filter: .*in brackets/],
    ['with a filter without brackets', ldap({ filter: 'uid=a' }), /filter: .*in brackets/],
    [
      'with an attribute that ends the filter',
      ldap({ attributes: "{ username: uid, entitlement: 'x)(uid=*' }" }),
      /entitlement: .*attribute=value/,
    ],
    ['without an entitlement', ldap({ attributes: '{ username: uid }' }), /entitlement: nothing/],
    [
      'with a misspelt key',
      ldap({ attributes: '{ username: uid, entitlement: x, hoem: y }' }),
      /hoem: unknown key; did you mean home/,
    ],
  ])('%s', (_, text, why) => expect(read(text).faults).toMatch(why));

  it('and never repeats what may be a secret', () => {
    expect(read(ldap({ bind: "{ dn: 'cn=t', password: hush }" })).faults).not.toMatch(/hush/);
  });
});

describe('a directory', () => {
  it('is none when the file names none', () => expect(read('')).toEqual({ found: null, faults: '' }));

  it('may be the table, asked every 5 minutes, with 2 % removals at once', () => {
    expect(read('{ table: {} }')).toEqual({ found: { ldap: null, everyMs: 300_000, removalsShare: 0.02 }, faults: '' });
  });

  it('may be asked at another server by each site, with another limit', () => {
    const text = ldap({
      url: "{ east: 'ldap://127.0.0.1:389', west: 'ldap://b.example' }",
      attributes:
        "{ username: sAMAccountName, entitlement: 'msRTCSIP-UserEnabled=TRUE', home: site, credentials: authPassword }",
    });
    const { found, faults } = read(text.replace(/}$/, ", every: 15m, removals-limit: '0.5%' }"));
    expect(faults).toBe('');
    expect(found).toMatchObject({ everyMs: 900_000, removalsShare: 0.005 });
    expect(found?.ldap).toMatchObject({
      urls: new Map([
        ['east', 'ldap://127.0.0.1:389'],
        ['west', 'ldap://b.example'],
      ]),
      tls: 'starttls',
      filter: '(objectClass=person)',
      attributes: {
        entitlement: { name: 'msRTCSIP-UserEnabled', value: 'TRUE' },
        home: 'site',
        credentials: 'authPassword',
      },
    });
    expect(read(ldap({ url: "'ldap://127.0.0.1:389'", tls: 'none' })).faults).toBe('');
  });
});

describe('what asks', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tandem-config-'));
    await writeFile(join(folder, 'ca.pem'), newAuthority('x').certificate);
    await writeFile(join(folder, 'nonsense.pem'), 'nonsense');
    await writeFile(join(folder, 'password'), 'hush\n', { mode: 0o600 });
    await writeFile(join(folder, 'empty'), '\r\n', { mode: 0o600 });
  });
  afterAll(() => rm(folder, { recursive: true }));
  const settings = (text: string): Promise<unknown> => {
    const { found } = read(text);
    if (!found) throw new Error('no directory');
    return directorySettings({ folder } as Configuration, found, 'west');
  };

  it('never has an empty password: a server would take it for nobody, and say yes', async () => {
    await expect(settings(ldap({ bind: "{ dn: 'cn=t', password: { file: empty } }" }))).rejects.toThrow(
      /t\.yaml:1:\d+: directory\.ldap\.bind\.password.*empty/,
    );
  });

  it('is told of certificates that are none before it starts', async () => {
    await expect(settings(ldap({ ca: 'nonsense.pem' }))).rejects.toThrow(/directory\.ldap\.ca: nonsense\.pem/);
    await expect(settings(ldap({ ca: 'nowhere.pem' }))).rejects.toThrow(/nowhere\.pem/);
  });

  it('has the server of its own site, the password and the certificates', async () => {
    expect(await settings(ldap({ ca: 'ca.pem', url: "{ east: 'ldaps://a', west: 'ldaps://b' }" }))).toMatchObject({
      source: {
        kind: 'ldap',
        ldap: {
          url: 'ldaps://b',
          bind: { dn: 'cn=tandem,dc=x', password: 'hush' },
          ca: expect.stringContaining('BEGIN CERTIFICATE') as string,
        },
      },
    });
  });
});
