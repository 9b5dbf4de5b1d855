import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { probesOf, type ProbeConfiguration } from '../../ops/config/probes.ts';
import { faultLine, Source } from '../../runbooks/yaml.ts';

/** `customers.CUSTOMER.probes`. */

const account = (user: string) => ({ user, password: { env: 'PASSWORD' } });
const three = { first: account('a'), second: account('b'), third: account('c') };
const addresses = {
  east: { clients: 'east.example:5222', web: 'https://im.example', address: '10.0.0.1' },
  west: { clients: 'west.example:5222' },
};
const accounts = { east: three, west: three };

function read(probes: object): { parsed: ProbeConfiguration | null; faults: string } {
  const source = new Source('t.yaml', stringify({ probes }));
  const parsed = probesOf(source.root.fields(['probes']).probes, ['east', 'west'], new Map());
  return { parsed, faults: source.faults.map(faultLine).join('\n') };
}

describe('probes are refused', () => {
  it.each<[string, object, RegExp]>([
    [
      'a password that is written out',
      { accounts: { ...accounts, east: { ...three, first: { user: 'a', password: 'x' } } } },
      /east\.first\.password: a secret is never written/,
    ],
    [
      'an account that is missing',
      { accounts: { ...accounts, west: { first: account('a'), second: account('b') } } },
      /west\.third/,
    ],
    [
      'the same user twice',
      { accounts: { ...accounts, east: { ...three, third: account('a') } } },
      /east: three different users/,
    ],
    [
      'a whole address for a user',
      { accounts: { ...accounts, east: { ...three, third: account('c@im.example') } } },
      /third\.user: .*before the @/,
    ],
    ['a half without accounts', { accounts: { east: three } }, /accounts\.west/],
    [
      'the web without encryption',
      { addresses: { ...addresses, west: { clients: 'w:1', web: 'http://127.0.0.1:80' } } },
      /west\.web: .*https/,
    ],
    [
      'a password in an address',
      { addresses: { ...addresses, west: { clients: 'w:1', web: 'https://a:b@im.example' } } },
      /without user and password/,
    ],
    [
      'a name where an IP address is',
      { addresses: { ...addresses, east: { ...addresses.east, address: 'im.example' } } },
      /east\.address: .*an IP address/,
    ],
    [
      'a site without a client port',
      { addresses: { east: addresses.east, west: {} } },
      /west\.clients: nothing; host:port/,
    ],
    ['a limit in which nobody can sign in', { limit: '1s' }, /limit: "1s"; from 5s to 2m/],
    ['a partner without a domain', { partner: { clients: 'p:1', ...account('p') } }, /partner\.domain/],
    ['a name for a name server', { resolver: 'ns1.example:53' }, /resolver: .*the IP address and port/],
    ['a name server without a port', { resolver: '192.0.2.53' }, /resolver: .*the IP address and port/],
    ['an unknown key', { adress: {} }, /adress: unknown key/],
  ])('with %s', (_, change, told) => {
    expect(read({ addresses, accounts, ...change }).faults).toMatch(told);
  });
});

describe('probes that are given', () => {
  it('may leave out all but the accounts and where clients sign in', () => {
    const { parsed, faults } = read({ addresses, accounts });
    expect(faults).toBe('');
    expect(parsed).toMatchObject({ partner: null, ca: null, limitMs: 20_000 });
    expect(parsed?.addresses.get('west')).toEqual({ clients: 'west.example:5222', web: null, address: null });
  });

  it('may be left out', () => {
    const source = new Source('t.yaml', '{}');
    expect(probesOf(source.root.fields(['probes']).probes, ['east', 'west'], new Map())).toBeNull();
    expect(source.faults).toEqual([]);
  });
});
