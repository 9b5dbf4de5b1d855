import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { readConfiguration } from '../../ops/config/configuration.ts';
import { settingsFor } from '../../ops/config/settings.ts';

/** `sites.SITE.service`: what it takes to be refused, and whose token a site is given. */

type Tree = { sites: Record<string, Record<string, unknown>> };
const management = { url: 'https://im.example/api', token: { env: 'OWN_TOKEN' }, 'peer-token': { env: 'PEER_TOKEN' } };
let folder: string;
let good: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tandem-config-'));
  good = await readFile(inject('stack').configuration, 'utf8');
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(() => void vi.unstubAllEnvs());

async function written(service: unknown): Promise<string> {
  const tree = parse(good) as Tree;
  for (const site of Object.values(tree.sites)) site['service'] = service;
  const file = join(inject('stack').folder, `service-${process.pid}.yaml`);
  await writeFile(file, stringify(tree));
  return file;
}

describe('a service', () => {
  it.each([
    ['a token that is written out', { ...management, token: 'abc' }, /token: a secret is never written here/],
    [
      'an API without encryption',
      { ...management, url: 'http://im.example/api' },
      /management\.url: .*https is expected/,
    ],
    ['an unknown key', { ...management, user: 'x' }, /management\.user/],
  ])('is refused with %s', async (_, changed, expected) => {
    const file = await written({ clients: 'im.example:5222', management: changed });
    await expect(readConfiguration(file)).rejects.toThrow(expected);
  });

  it('is asked by its own site with its own token, by the peer with the peer’s, and by none without one', async () => {
    vi.stubEnv('OWN_TOKEN', 'own');
    vi.stubEnv('PEER_TOKEN', 'peer');
    const tokens = async (of: unknown): Promise<unknown> => {
      const configuration = await readConfiguration(await written({ clients: 'im.example:5222', management: of }));
      const { services } = await settingsFor(configuration, 'west', { reportsFolder: folder });
      return Object.fromEntries([...services].map(([site, at]) => [site, at.management?.token ?? null]));
    };
    expect(await tokens(management)).toEqual({ west: 'own', east: 'peer' });
    const { 'peer-token': _, ...alone } = management;
    expect(await tokens(alone)).toEqual({ west: 'own', east: null });
  });

  it('whose certificates cannot be read is refused before anything starts', async () => {
    const file = await written({ clients: 'im.example:5222', management: { ...management, ca: 'nowhere.pem' } });
    const configuration = await readConfiguration(file);
    await expect(settingsFor(configuration, 'west', { reportsFolder: folder })).rejects.toThrow(
      /service\.management\.ca: nowhere\.pem: .*ENOENT/,
    );
  });
});
