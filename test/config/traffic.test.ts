import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { parse, stringify } from 'yaml';
import type { DnsSettings } from '../../activities/settings.ts';
import { readConfiguration, type Configuration, type SiteConfiguration } from '../../ops/config/configuration.ts';
import { settingsFor } from '../../ops/config/settings.ts';
import { backendsOf, dnsOf, dnsSettings, proxyOf, type DnsConfiguration } from '../../ops/config/traffic.ts';
import { faultLine, Source } from '../../runbooks/yaml.ts';

/** What leads users, as `tandem.yaml` says it: what is taken, and what is refused. */

const srv = {
  name: '_xmpp-client._tcp',
  port: 5222,
  targets: { east: 'xmpp-east.contoso.example', west: 'xmpp-west.contoso.example' },
};
const chat = { name: 'chat', addresses: { east: ['192.0.2.1'], west: ['192.0.2.2', '2001:db8::2'] } };
const keys = {
  east: { name: 'tandem-east', secret: { file: 'east' } },
  west: { name: 'tandem-west', secret: { file: 'west' }, algorithm: 'hmac-sha512' },
};
const dns = { server: 'ns.example:53', zone: 'contoso.example', keys, records: [srv, chat] };

function read<T>(value: unknown, parsing: (at: Source['root']) => T): { parsed: T; faults: string[] } {
  const source = new Source('t.yaml', stringify({ x: value }));
  const parsed = parsing(source.root.fields(['x']).x);
  return { parsed, faults: source.faults.map((f) => faultLine(f).replace(/^t\.yaml:\d+:\d+: x[.:]? ?/, '')) };
}
const readDns = (change: object): { parsed: DnsConfiguration | null; faults: string[] } =>
  read({ ...dns, ...change }, (at) => dnsOf(at, ['east', 'west']));

describe('a zone', () => {
  it('may be left out, and says no more than it must', () => {
    expect(read(undefined, (at) => dnsOf(at, ['east', 'west']))).toEqual({ parsed: null, faults: [] });
    const { parsed, faults } = readDns({});
    expect(faults).toEqual([]);
    expect(parsed).toMatchObject({
      ttlSeconds: 30,
      records: [
        { kind: 'service', name: '_xmpp-client._tcp.contoso.example', port: 5222, priority: 10, weight: 50 },
        { kind: 'address', name: 'chat.contoso.example' },
      ],
    });
    expect([...(parsed?.keys.values() ?? [])].map((k) => k.algorithm)).toEqual(['hmac-sha256', 'hmac-sha512']);
    expect(readDns({ records: [{ ...chat, name: '@' }] }).parsed?.records[0]?.name).toBe('contoso.example');
  });

  const records = (...all: object[]): object => ({ records: all });
  const twice = { ...keys, west: { ...keys.west, name: 'tandem-east' } };
  it.each<[string, object, RegExp]>([
    ['with a ttl that keeps users at a lost site', { ttl: '61s' }, /^ttl: "61s"; at most 60s is allowed/],
    ['with a server without a port', { server: 'ns.example' }, /^server: .*host:port of the primary server/],
    ['with a zone in capitals', { zone: 'Contoso.example' }, /^zone: "Contoso\.example"; a zone in small letters/],
    [
      'with a secret in it',
      { keys: { ...keys, east: { name: 'a', secret: 'c2VjcmV0' } } },
      /keys\.east\.secret: a secret is never/,
    ],
    ['with one key for both sites', { keys: twice }, /^keys: east and west have the same key; each needs its own/],
    ['with one site’s key', { keys: { east: keys.east } }, /^keys\.west: nothing; a map is expected/],
    [
      'with a weak algorithm',
      { keys: { ...keys, east: { ...keys.east, algorithm: 'hmac-md5' } } },
      /"hmac-md5"; .*hmac-sha256/,
    ],
    ['without records', records(), /^records: no records/],
    ['with a name twice', records(srv, { ...srv, port: 5223 }), /^records: entry 0 and entry 1 have the same name/],
    ['with Tandem’s own record', records({ ...srv, name: '_epoch' }), /is Tandem’s own record/],
    [
      'with a name that is none',
      records({ ...srv, name: 'a..b' }),
      /^records\.0\.name: "a\.\.b"; a name within the zone/,
    ],
    ['with neither target nor address', records({ name: 'x', port: 1 }), /^records\.0: exactly one of targets[^\n]*$/],
    ['with both', records({ ...srv, ...chat }), /^records\.0: exactly one of targets/],
    [
      'with a port where there is none',
      records({ ...chat, port: 443 }),
      /^records\.0\.port: only a record with targets/,
    ],
    ['without a port', records({ ...srv, port: undefined }), /^records\.0\.port: nothing; a whole number/],
    [
      'with the same host for both sites',
      records({ ...srv, targets: { east: 'a.b', west: 'a.b' } }),
      /east and west have the same place/,
    ],
    [
      'with the same address for both',
      records({ name: 'x', addresses: { east: ['192.0.2.1'], west: ['192.0.2.1'] } }),
      /the same place/,
    ],
    [
      'with no address for a site',
      records({ name: 'x', addresses: { east: [], west: ['192.0.2.1'] } }),
      /addresses\.east: no address/,
    ],
    [
      'with an address that is none',
      records({ name: 'x', addresses: { east: ['fe80::1%eth0'], west: ['192.0.2.1'] } }),
      /an IPv4 or IPv6 address/,
    ],
    [
      'with a site that it has not',
      records({ ...srv, targets: { ...srv.targets, north: 'n.b' } }),
      /targets\.north: unknown key/,
    ],
  ])('is refused %s', (_, change, fault) => {
    expect(readDns(change).faults.join('\n')).toMatch(fault);
  });
});

describe('a proxy', () => {
  const known = (proxied: string[]): ReadonlyMap<string, SiteConfiguration> =>
    new Map(
      ['east', 'west'].map((site) => [
        site,
        { proxy: proxied.includes(site) ? { socket: '/x' } : null } as SiteConfiguration,
      ]),
    );
  const both = [{ backend: 'contoso-c2s', servers: { east: 'east', west: 'west' } }];
  const readBackends = (value: unknown, proxied = ['east', 'west']): string =>
    read(value, (at) => backendsOf(at, ['east', 'west'], known(proxied))).faults.join('\n');

  it('may be left out', () => {
    expect(read(undefined, proxyOf)).toEqual({ parsed: null, faults: [] });
    expect(read(undefined, (at) => backendsOf(at, ['east', 'west'], known([])))).toEqual({ parsed: null, faults: [] });
    expect(readBackends(both)).toBe('');
  });

  it.each(['/run/haproxy/tandem.sock', '127.0.0.1:9999', 'localhost:9999'])('has a socket at %s', (socket) => {
    expect(read({ socket }, proxyOf)).toEqual({ parsed: { socket }, faults: [] });
  });
  it.each(['192.0.2.1:9999', 'proxy.example:9999', 'run/x.sock', '127.0.0.1'])('has none at %s', (socket) => {
    expect(read({ socket }, proxyOf).faults.join()).toMatch(/an absolute path is expected, or host:port on loopback/);
  });

  it.each<[string, unknown, RegExp]>([
    ['without backends', [], /no backend/],
    ['with a name with a blank', [{ ...both[0], backend: 'a b' }], /0\.backend: "a b"; a name as in HAProxy/],
    ['with a command in a name', [{ ...both[0], backend: 'a;show' }], /0\.backend: "a;show"/],
    ['with one server for both sites', [{ backend: 'a', servers: { east: 'x', west: 'x' } }], /the same place/],
    ['with one site', [{ backend: 'a', servers: { east: 'x' } }], /0\.servers\.west: nothing/],
    ['with a backend twice', [...both, ...both], /the same backend/],
  ])('is refused %s', (_, value, fault) => expect(readBackends(value)).toMatch(fault));

  it('is refused where a site of the customer has none', () => {
    expect(readBackends(both, ['west'])).toBe('site east has no proxy: `sites.east.proxy` names its socket');
  });
});

describe('a whole configuration', () => {
  type Tree = { [key: string]: Tree };
  const changed = async (change: (tree: Tree) => void): Promise<Configuration> => {
    const { configuration, folder } = inject('stack');
    const tree = parse(await readFile(configuration, 'utf8')) as Tree;
    change(tree);
    // Beside the stack's file, where its secrets are.
    const file = join(folder, `traffic-${Math.floor(performance.now() * 1000)}.yaml`);
    await writeFile(file, stringify(tree));
    try {
      return await readConfiguration(file);
    } finally {
      await rm(file);
    }
  };
  const both = [{ backend: 'contoso-c2s', servers: { east: 'east', west: 'west' } }];
  const led = (tree: Tree): void => {
    for (const site of ['east', 'west'])
      Object.assign(tree['sites']?.[site] ?? {}, { proxy: { socket: `/run/${site}` } });
    const secret = { env: 'TANDEM_TEST_TSIG' };
    const own = { east: { name: 'tandem-east', secret: { env: 'NOT_SET' } }, west: { name: 'tandem-west', secret } };
    Object.assign(tree['customers']?.['contoso'] ?? {}, { dns: { ...dns, keys: own }, proxy: both });
  };

  it('gives a site its zone with its own key, its proxy and its backends; and none where it says none', async () => {
    process.env['TANDEM_TEST_TSIG'] = Buffer.alloc(32, 7).toString('base64');
    try {
      const settings = await settingsFor(await changed(led), 'west', { reportsFolder: '/nowhere' });
      expect(settings.proxy).toEqual({ socket: '/run/west' });
      expect(settings.customers.get('contoso')).toMatchObject({
        dns: { zone: 'contoso.example', key: { name: 'tandem-west', secret: Buffer.alloc(32, 7) } },
        backends: [{ backend: 'contoso-c2s' }],
      });
      const without = await settingsFor(await changed(() => undefined), 'west', { reportsFolder: '/nowhere' });
      expect([without.proxy, without.customers.get('contoso')?.dns]).toEqual([undefined, undefined]);
    } finally {
      delete process.env['TANDEM_TEST_TSIG'];
    }
  });

  it('is refused when two customers share a zone or a backend: one would lead the other’s users away', async () => {
    const shared = changed((tree) => {
      led(tree);
      Object.assign(tree['customers'] ?? {}, { fabrikam: tree['customers']?.['contoso'] });
    });
    await expect(shared).rejects.toThrow(/contoso and fabrikam have the same zone.*\n.*the same backend/);
  });
});

describe('a key’s secret', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tandem-keys-'));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const secretOf = async (text: string): Promise<DnsSettings> => {
    await writeFile(join(folder, 'west'), text, { mode: 0o600 });
    const { parsed } = readDns({});
    if (!parsed) throw new Error('unreachable');
    return dnsSettings({ folder } as Configuration, parsed, 'west');
  };

  it('is base64, and the other site’s is not read', async () => {
    const { key } = await secretOf(`${Buffer.alloc(32, 7).toString('base64')}\n`);
    expect(key).toEqual({ name: 'tandem-west', algorithm: 'hmac-sha512', secret: Buffer.alloc(32, 7) });
  });

  it.each(['c2hvcnQ=', 'no base64 at all, but long enough for one', ' '])(
    'is refused as %j, and never printed',
    async (text) => {
      await expect(secretOf(text)).rejects.toThrow(/keys\.west\.secret: is no secret of a TSIG key$/);
    },
  );
});
