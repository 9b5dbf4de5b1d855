import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import type { SiteSettings } from '../../activities/settings.ts';
import { sharedWitness } from '../../activities/vault/judge-witness.ts';
import { readConfiguration, type Configuration } from '../../ops/config/configuration.ts';
import { settingsFor } from '../../ops/config/settings.ts';

interface Tree {
  [key: string]: Tree;
}
let good: string;
beforeAll(async () => {
  good = await readFile(inject('stack').configuration, 'utf8');
});

async function changed<T>(change: (tree: Tree) => void, work: (of: Configuration) => Promise<T>): Promise<T> {
  const tree = parse(good) as Tree;
  change(tree);
  // Beside the stack's file, where its secrets are.
  const file = join(inject('stack').folder, `witness-${Math.floor(performance.now() * 1000)}.yaml`);
  await writeFile(file, stringify(tree));
  try {
    return await work(await readConfiguration(file));
  } finally {
    await rm(file);
  }
}

const told = (change: (tree: Tree) => void): Promise<string> =>
  changed(change, () => Promise.resolve('no faults')).catch((error: unknown) => (error as Error).message);
const settings = (change: (tree: Tree) => void, site = 'west'): Promise<SiteSettings> =>
  changed(change, (of) => settingsFor(of, site, { reportsFolder: '/nowhere' }));
const witness = (tree: Tree): Tree => tree['witness'] ?? {};
const east = (tree: Tree): Tree => tree['sites']?.['east'] ?? {};

describe('a witness is refused', () => {
  it('when it is the vault of a site', async () => {
    const text = await told((t) => {
      Object.assign(witness(t), { endpoint: east(t)['vault']?.['endpoint'], bucket: east(t)['vault']?.['bucket'] });
    });
    expect(text).toMatch(/witness: it is the vault of east; a witness is at neither site/);
  });

  it('when both sites have one account, or one has none', async () => {
    const one = await told((t) =>
      Object.assign(witness(t)['accounts'] ?? {}, { west: witness(t)['accounts']?.['east'] }),
    );
    expect(one).toMatch(/witness\.accounts: east and west have the same account; each needs its own/);
    const none = await told((t) => delete witness(t)['accounts']?.['east']);
    expect(none).toMatch(/witness\.accounts\.east: nothing; a map is expected/);
    const id = (access: string): Map<string, string> =>
      new Map([
        ['east', 'a'],
        ['west', access],
      ]);
    expect([sharedWitness(id('a')).length, sharedWitness(id('b')).length]).toEqual([1, 0]);
  });

  it('with every fault of it at once, and those of a service', async () => {
    const text = await told((t) => {
      Object.assign(witness(t), { endpoint: 'http://witness.example', bucket: 'B', regoin: 'here' });
      Object.assign(east(t), { service: { clients: 'everywhere', api: 'ftp://x', 'outside-check': 7 } });
    });
    expect(text).toMatch(/: 6 faults\n/);
    for (const path of ['endpoint', 'bucket', 'regoin']) expect(text).toContain(`witness.${path}: `);
    for (const path of ['clients', 'api', 'outside-check']) expect(text).toContain(`sites.east.service.${path}: `);
  });
});

describe('self-fence', () => {
  const contoso = (t: Tree): Tree => t['customers']?.['contoso'] ?? {};

  it('is refused without a witness, and below a minute', async () => {
    const alone = await told((t) => {
      delete t['witness'];
      Object.assign(contoso(t), { 'self-fence': '10m' });
    });
    expect(alone).toMatch(
      /customers\.contoso\.self-fence: "10m"; it needs a witness: without one both sites would close/,
    );
    const short = await told((t) => Object.assign(contoso(t), { 'self-fence': '59s' }));
    expect(short).toMatch(/customers\.contoso\.self-fence: "59s"; 1m at the least/);
    const never = await told((t) => Object.assign(contoso(t), { 'self-fence': 'never' }));
    expect(never).toMatch(/self-fence: "never"; a duration such as/);
  });

  it('goes with a bucket, or with a URL that is only looked at; nothing is claimed there', async () => {
    const fenced = (t: Tree): unknown => Object.assign(contoso(t), { 'self-fence': '10m' });
    const bucket = await settings(fenced);
    expect([bucket.customers.get('contoso')?.selfFenceMs, bucket.witnessUrl]).toEqual([600_000, undefined]);
    const url = await settings((t) => {
      fenced(t);
      Object.assign(t, { witness: { url: 'https://status.example/' } });
    });
    expect([url.customers.get('contoso')?.selfFenceMs, url.witnessUrl, url.witness]).toEqual([
      600_000,
      'https://status.example/',
      null,
    ]);
    const off = await settings(() => undefined);
    expect(off.customers.get('contoso')?.selfFenceMs).toBeUndefined();
  });

  it('takes no URL that anybody on the way could answer for, and none beside a bucket', async () => {
    const plain = await told((t) => Object.assign(t, { witness: { url: 'http://status.example/' } }));
    expect(plain).toMatch(/witness\.url: "http:\/\/status\.example\/"; /);
    const beside = await told((t) => Object.assign(witness(t), { url: 'https://status.example/' }));
    expect(beside).toMatch(/witness\.bucket: unknown key; allowed: url/);
  });
});

describe('a site', () => {
  it('has the account of its own, and never reads the other’s', async () => {
    const gone = { 'access-key-id': { env: 'NOT_SET' }, 'secret-access-key': { env: 'NOT_SET' } };
    const { witness: access } = await settings((t) => Object.assign(witness(t)['accounts'] ?? {}, { east: gone }));
    expect(access).toMatchObject({ site: 'witness', accessKeyId: 'tandem-witness-west' });
  });

  it('has none when there is no witness, and knows the services that are named', async () => {
    const of = await settings((t) => {
      delete t['witness'];
      Object.assign(east(t), { service: { clients: 'im.east.example:5222' } });
    });
    expect(of.witness).toBeNull();
    expect([...of.services]).toEqual([
      ['east', { clients: 'im.east.example:5222', api: null, outsideCheck: null, management: null }],
    ]);
  });
});
