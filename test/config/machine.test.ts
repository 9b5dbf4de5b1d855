import { generateKeyPairSync } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfiguration, type Configuration } from '../../ops/config/configuration.ts';
import { sitesHere } from '../../ops/config/here.ts';
import { settingsFor } from '../../ops/config/settings.ts';
import { openSshLine } from '../../ops/keys.ts';
import { openAuthority } from '../../ops/reference-service/authority.ts';
import { typed, type Said } from '../rig/cli.ts';

/** The machine of one site, which has the secrets of its own site and no others, as ops/EJABBERD.md sets it up. */

let folder: string;
let configuration: Configuration;

/** What the page puts on a machine of east. */
const accounts = ['east-writer', 'east-cleaner', 'east-reader', 'west-reader', 'witness-east'];
const texts: Record<string, string> = {
  'x-k1': Buffer.alloc(32, 1).toString('base64'),
  'x-east': 'postgresql://tandem:secret@127.0.0.1:1/ejabberd',
  'x-west-peer': 'postgresql://tandem_peer:secret@127.0.0.1:1/ejabberd',
  'east-token': 'a token',
  'west-peer-token': 'another token',
  ...Object.fromEntries(accounts.flatMap((name) => [name, `${name}-id`]).map((name) => [name, name])),
};
const secret = (name: string): string => join(folder, 'secrets', name);
const put = (name: string, text = texts[name] ?? ''): Promise<void> => writeFile(secret(name), text, { mode: 0o600 });
const settings = (site: string): Promise<unknown> => settingsFor(configuration, site, { reportsFolder: folder });
const check = (...args: string[]): Promise<Said> =>
  typed(folder, ['config', 'check', ...args], { TANDEM_CONFIG: configuration.file });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tandem-machine-'));
  await mkdir(join(folder, 'secrets'));
  const page = await readFile(new URL('../../ops/EJABBERD.md', import.meta.url), 'utf8');
  const [, text = ''] = /```yaml\n([^]*?)```/.exec(page) ?? [];
  // Nobody listens there, and nobody is waited for.
  const silent = text
    .replaceAll(/https:\/\/[a-z0-9-]+\.example\.org/g, 'http://127.0.0.1:1')
    .replaceAll(/10\.0\.(\d)\.\d+:\d+/g, '127.0.0.1:$1');
  const keys = [...text.matchAll(/ssh-ed25519 AAAA…/g)].map(() => generateKeyPairSync('ed25519'));
  const lines = keys.map(({ publicKey }) => openSshLine(publicKey));
  const file = join(folder, 'tandem.yaml');
  await writeFile(
    file,
    silent.replaceAll('ssh-ed25519 AAAA…', () => lines.shift() ?? ''),
  );
  const { certificate } = await openAuthority(join(folder, 'tls'));
  await copyFile(certificate, join(folder, 'ca.pem'));
  const pem = keys[0]?.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  await Promise.all([put('east-signing.pem', pem), ...Object.keys(texts).map((name) => put(name))]);
  configuration = await readConfiguration(file);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('the whole example of the page is a configuration without fault, and has every part that the page adds', async () => {
  const text = await readFile(new URL('../../ops/ejabberd-example.yaml', import.meta.url), 'utf8');
  const line = (): string => openSshLine(generateKeyPairSync('ed25519').publicKey);
  const file = join(folder, 'example.yaml');
  await writeFile(file, text.replaceAll('ssh-ed25519 AAAA…', line));
  const { sites, customers } = await readConfiguration(file);
  const { dns, backends, directory, probes, options } = customers.get('x') ?? {};
  expect([dns, backends, directory, probes].every((part) => part)).toBe(true);
  expect(options).toEqual(['content-archiving']);
  for (const { proxy, service } of sites.values()) {
    expect(proxy?.socket).toBe('/run/haproxy/tandem.sock');
    // A proxy that leads to the other site would answer in the place of a dead service.
    expect(service?.clients).toMatch(/^10\.0\.[12]\.4:5222$/);
  }
});

describe('a machine of east, set up by the page', () => {
  it('has all that its worker reads, and is known for what it is', async () => {
    await expect(settings('east')).resolves.toMatchObject({ site: 'east' });
    expect(await sitesHere(configuration)).toEqual(['east']);
    const { out, code } = await check();
    expect(out).toMatch(/The secrets of east can be read\.\nThe secrets of west were not looked at: /);
    expect(code).toBe(0);
  });

  it('is shown what east sees, and told that west sees more', async () => {
    const { out, err } = await typed(folder, ['status'], { TANDEM_CONFIG: configuration.file });
    expect(err).toBe('');
    expect(out).toMatch(/\nx +east +unknown +UNPROTECTED/);
    expect(out).toMatch(/\nWhat west sees is told on its own machine/);
    const doctor = await typed(folder, ['doctor'], { TANDEM_CONFIG: configuration.file });
    expect(doctor.out).toMatch(/error, seen from east: database of x at east: connect ECONNREFUSED/);
    expect(doctor.out).not.toContain('seen from west');
  });

  it('is sent to west for what needs the secrets of west', async () => {
    const { err, code } = await check('--site', 'west');
    expect(err).toMatch(
      /west\.signing\.private-key: file .*; this machine has the secrets of east, not of west\nTry: Give/,
    );
    expect(code).toBe(1);
  });

  it('is told every secret that is missing, at its place in the file, in one go', async () => {
    await Promise.all(
      ['east-writer', 'west-reader-id', 'x-west-peer', 'west-peer-token'].map((name) => rm(secret(name))),
    );
    await put('x-east', 'no address');
    const { err, code } = await check();
    expect(code).toBe(1);
    expect(err).toMatch(/^Error: 5 faults\n/);
    for (const place of ['east.vault.writer.secret', 'west.vault.reader.access', 'west.peer-url', 'west.service.manag'])
      expect(err).toMatch(new RegExp(`tandem.yaml:\\d+:\\d+: \\S*${place}\\S*: file .*: does not exist`));
    expect(err).toMatch(/databases\.east\.url: is no database address/);
    await Promise.all(Object.keys(texts).map((name) => put(name)));
  });

  it('is told when its own signing key is not there, and takes nothing for read', async () => {
    await rm(secret('east-signing.pem'));
    expect((await check()).out).toMatch(/The secrets of east were not looked at/);
    expect((await check('--site', 'east')).err).toMatch(
      /east\.signing\.private-key: file .*does not exist\nTry: Correct/,
    );
  });
});
