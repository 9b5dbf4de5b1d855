import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { readConfiguration } from '../../ops/config/configuration.ts';
import { settingsFor } from '../../ops/config/settings.ts';
import { openSshLine, publicKeyOf, rawHex } from '../../ops/keys.ts';

/** The embedded stack's own file, changed a little: what it takes to be refused. */

type Tree = { [key: string]: Tree } & { [key: number]: Tree };
let folder: string;
let good: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tandem-config-'));
  good = await readFile(inject('stack').configuration, 'utf8');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What the parser says of the file after a change. */
async function told(change: (tree: Tree) => unknown): Promise<string> {
  const tree = parse(good) as Tree;
  change(tree);
  return toldOf(stringify(tree));
}

async function toldOf(text: string): Promise<string> {
  const file = join(folder, 'tandem.yaml');
  await writeFile(file, text);
  return readConfiguration(file).then(
    () => 'no faults',
    (error: unknown) => (error as Error).message,
  );
}

const set = (tree: Tree, path: string, value: unknown): void => {
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  let at = tree;
  for (const key of keys) at = at[key] as Tree;
  if (value === undefined) delete at[last];
  else at[last] = value as Tree;
};

describe('a configuration is refused', () => {
  const cases: [string, string, unknown, RegExp][] = [
    [
      'when a secret is written into it',
      'customers.contoso.keys.ring.k1',
      'c2VjcmV0',
      /keys\.ring\.k1: a secret is never written here/,
    ],
    [
      'when the cadence cannot hold the RPO',
      'customers.contoso.snapshots.between',
      '8h',
      /2 × between \(8 h 00 min\) \+ budget \(30 min 0 s\) = 16 h 30 min; at most the rpo of 8 h 00 min/,
    ],
    [
      'when a rate is a number, and nobody knows of what',
      'customers.contoso.snapshots.pull-limit',
      20,
      /pull-limit: 20; a rate such as 20 MB\/s, 500 kB\/s or 100 Mbit\/s is allowed, 100 kB\/s at the least/,
    ],
    [
      'when a rate is next to nothing',
      'customers.contoso.snapshots.pull-limit',
      '99 kB/s',
      /pull-limit: "99 kB\/s"; a rate/,
    ],
    ['when a rate is misspelt', 'customers.contoso.snapshots.pull-limit', '20 mb/s', /pull-limit: "20 mb\/s"; a rate/],
    [
      'when it promises more than the service',
      'customers.contoso.objectives.rpo',
      '9h',
      /objectives\.rpo: "9h"; the service promises 8h/,
    ],
    [
      'when a site stands in for itself',
      'customers.contoso.sites',
      ['east', 'east'],
      /east twice; a site cannot stand in for itself/,
    ],
    ['when a site is unknown', 'customers.contoso.sites.1', 'wset', /sites\.1: "wset"; did you mean west\?/],
    [
      'when a key is misspelt',
      'customers.contoso.objektives',
      { rpo: '1h' },
      /objektives: unknown key; did you mean objectives\?/,
    ],
    [
      'when an option is not sold',
      'customers.contoso.options',
      ['teleport'],
      /"teleport"; allowed: third-party-federation/,
    ],
    [
      'when a vault is reached without TLS',
      'sites.east.vault.endpoint',
      'http://vault.example',
      /https is expected; http is allowed on loopback only/,
    ],
    ['when two sites share a vault', 'sites.west.vault', 'east', /east and west have the same vault/],
    [
      'when only one may approve',
      'operators.operator-1.roles',
      ['declare'],
      /1 may approve, 1 of them commander; a failover takes two/,
    ],
    ['when a key ends at no moment', 'operators.operator-1.expires', 'next summer', /"next summer"; a day such as/],
    ['when a key ends on no day', 'operators.operator-1.expires', '2030-02-31x', /a day such as/],
    ['when a key ends in some zone', 'operators.operator-1.expires', '2030-06-01T12:00', /a day such as/],
    ['when nobody is commander', 'operators.operator-2.roles', ['approve'], /2 may approve, 0 of them commander/],
    [
      'when two operators have one key',
      'operators.operator-2.key',
      'operator-1',
      /operator-1 and operator-2 have the same key/,
    ],
    [
      'when a key is no Ed25519 key',
      'operators.operator-1.key',
      'ssh-rsa AAAA',
      /operator-1\.key: "ssh-rsa AAAA"; an OpenSSH line is expected/,
    ],
    [
      'when a test is on a day that some months lack',
      'customers.contoso.continuity-test.day',
      31,
      /31; a whole number from 1 to 28 is allowed/,
    ],
    [
      'when a duration is none',
      'customers.contoso.snapshots.budget',
      '30 minutes',
      /"30 minutes"; a duration such as 8h/,
    ],
    [
      'when a site has capacity for nobody',
      'sites.east.capacity',
      { users: 0 },
      /sites\.east\.capacity\.users: 0; a whole number from 1/,
    ],
    [
      'when a link is to a site that is not the customer’s',
      'customers.contoso.links',
      { wset: '1 Gbit/s' },
      /links\.wset: unknown key; did you mean west\?/,
    ],
    ['when traffic has no unit', 'customers.contoso.traffic', 20, /contoso\.traffic: 20; a rate such as 20 MB\/s/],
    ['when a part is missing', 'sites.east.temporal', undefined, /sites\.east\.temporal: nothing; a map is expected/],
    [
      'when the database of a site is missing',
      'customers.contoso.databases.west',
      undefined,
      /databases\.west: nothing; a map is expected/,
    ],
    [
      'when the account that deletes is the one that writes',
      'sites.east.vault.cleaner.access-key-id.file',
      'secrets/east-vault-writer-id',
      /sites\.east\.vault: writer and cleaner have the same account; each needs its own/,
    ],
  ];
  it.each(cases)('%s', async (_, path, value, expected) => {
    const text = await told((tree) => {
      if (value === 'east') set(tree, path, (tree['sites'] as Tree)['east']?.['vault']);
      else if (value === 'operator-1') set(tree, path, (tree['operators'] as Tree)['operator-1']?.['key']);
      else set(tree, path, value);
    });
    expect(text).toMatch(expected);
    expect(text).toMatch(/tandem\.yaml:\d+:\d+: /);
    expect(text).not.toContain('c2VjcmV0');
  });

  it('when nobody may declare', async () => {
    const text = await told((tree) => {
      for (const id of ['operator-1', 'operator-2']) set(tree, `operators.${id}.roles`, ['approve', 'commander']);
    });
    expect(text).toMatch(/operators: nobody has the role declare/);
  });

  it('with every fault at once, each at its line', async () => {
    const text = await told((tree) => {
      set(tree, 'customers.contoso.domain', 'no domain');
      set(tree, 'sites.east.worker.listen', 'everywhere');
      set(tree, 'operators.operator-1.roles', ['boss']);
    });
    expect(text).toMatch(/^configuration .*: 4 faults\n/); // The fourth: then only one may approve.
    expect(new Set(text.match(/tandem\.yaml:\d+:/g)).size).toBe(4);
  });
  it('with one line for a part that is missing', async () => {
    const missing = told((tree) => set(tree, 'sites.east.vault.writer', undefined));
    expect(await missing).toMatch(/: 1 fault\n.*sites\.east\.vault\.writer: nothing; a map is expected/);
  });

  it('when it is no YAML, has a key twice, or is not there', async () => {
    expect(await toldOf('sites: [')).toMatch(/tandem\.yaml:\d+:\d+: /);
    expect(await toldOf(`${good}\noperators: {}\n`)).toMatch(/Map keys must be unique/);
    expect(await toldOf('')).toMatch(/a map is expected/);
    await expect(readConfiguration(join(folder, 'nowhere.yaml'))).rejects.toThrow(/does not exist/);
  });
});

describe('a rate', () => {
  it.each([
    ['20 MB/s', 20_000_000],
    ['1.5MB/s', 1_500_000],
    ['500 kB/s', 500_000],
    ['100 Mbit/s', 12_500_000],
    [undefined, null],
  ])('of %s is %s bytes per second', async (given, bytes) => {
    const tree = parse(good) as Tree;
    set(tree, 'customers.contoso.snapshots.pull-limit', given);
    const file = join(folder, 'rates.yaml');
    await writeFile(file, stringify(tree));
    const { customers } = await readConfiguration(file);
    expect(customers.get('contoso')?.snapshots.pullBytesPerSecond).toBe(bytes);
  });
});

describe('secrets', () => {
  const settings = async (change: (tree: Tree) => unknown = () => undefined, site = 'west'): Promise<unknown> => {
    const tree = parse(good) as Tree;
    change(tree);
    // Beside the stack's file, where its secrets are.
    const file = join(inject('stack').folder, `changed-${Math.floor(performance.now() * 1000)}.yaml`);
    await writeFile(file, stringify(tree));
    try {
      return await settingsFor(await readConfiguration(file), site, { reportsFolder: folder });
    } finally {
      await rm(file);
    }
  };
  const path = 'customers.contoso.keys.ring.k1';

  it('of the other site are never read', async () => {
    await expect(settings((t) => set(t, 'sites.east.signing.private-key.file', 'nowhere'))).resolves.toMatchObject({
      site: 'west',
    });
    await expect(
      settings((t) =>
        set(t, 'sites.east.vault.writer', {
          'access-key-id': { env: 'NOT_SET' },
          'secret-access-key': { env: 'NOT_SET' },
        }),
      ),
    ).resolves.toBeDefined();
  });
  it('of retention may be left out: then nothing is deleted', async () => {
    await expect(settings()).resolves.toMatchObject({ cleaner: { accessKeyId: 'tandem-west-cleaner' } });
    await expect(settings((t) => set(t, 'sites.west.vault.cleaner', undefined))).resolves.toMatchObject({
      cleaner: null,
    });
  });
  it('are refused when others can read them', async () => {
    const file = join(folder, 'open-key');
    await writeFile(file, Buffer.alloc(32, 7).toString('base64'), { mode: 0o644 });
    await expect(settings((t) => set(t, path, { file }))).rejects.toThrow(
      /ring\.k1: file .*others than its owner can read it \(mode 644\)/,
    );
  });
  it('are refused when missing, empty or of the wrong length, and never printed', async () => {
    await expect(settings((t) => set(t, path, { env: 'TANDEM_TEST_KEY' }))).rejects.toThrow(
      /TANDEM_TEST_KEY is not set/,
    );
    process.env['TANDEM_TEST_KEY'] = 'c2hvcnQ=';
    await expect(settings((t) => set(t, path, { env: 'TANDEM_TEST_KEY' }))).rejects.toThrow(
      /key k1 has 5 bytes; 32 in base64 are expected/,
    );
    delete process.env['TANDEM_TEST_KEY'];
  });
  it('are refused when two customers have one key: each must be able to lose its own', async () => {
    const shared = (t: Tree): void =>
      set(t, 'customers.fabrikam', { ...t['customers']?.['contoso'], domain: 'fabrikam.example' });
    await expect(settings(shared)).rejects.toThrow(/key k1 of fabrikam is the same as key k1 of contoso/);
  });
  it('do not fit when the private key is another’s', async () => {
    await expect(
      settings((t) => set(t, 'sites.west.signing.private-key.file', 'secrets/east-signing.pem')),
    ).rejects.toThrow(/is not the private half/);
  });
  it('are refused for a site that is unknown', async () => {
    await expect(settings(undefined, 'north')).rejects.toThrow(/site "north": not in/);
  });
});

describe('keys', () => {
  it('go from OpenSSH lines to raw bytes and back', () => {
    const { publicKey } = generateKeyPairSync('ed25519');
    const line = openSshLine(publicKey);
    const read = publicKeyOf(`${line} a comment`);
    expect(read && rawHex(read)).toBe(rawHex(publicKey));
    expect(publicKeyOf(line.slice(0, -4))).toBeNull();
    expect(publicKeyOf('ssh-ed25519')).toBeNull();
  });
});
