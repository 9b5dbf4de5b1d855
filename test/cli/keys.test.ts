import { randomBytes } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { manifestKey } from '../../activities/vault/manifest.ts';
import { readManifest } from '../../activities/vault/open.ts';
import { seal } from '../../activities/vault/signed.ts';
import { LOCK_MS } from '../../activities/vault/generation.ts';
import { readConfiguration, type CustomerConfiguration } from '../../ops/config/configuration.ts';
import { checksum, readRing } from '../../ops/config/keyring.ts';
import { inventory, type KeyState } from '../../ops/keyring/inventory.ts';
import { nextKeyId } from '../../ops/keyring/rotation.ts';
import { surveyKeys } from '../../ops/keyring/survey.ts';
import { typed, type Said } from '../rig/cli.ts';
import { CUSTOMER, openWorld, type World } from '../vault/world.ts';
import { openKeyFolder, type KeyFolder, type Ring, type Tree } from './ring.ts';

/** Two vaults with snapshots of both sites under k1, and of east, in its own vault only, under k2. */
let world: World;
let at: KeyFolder;
const whole: Ring = { k1: { file: 'k1' }, k2: { file: 'k2' } };

beforeAll(async () => {
  world = await openWorld(20);
  at = await openKeyFolder(world);
  const ring = new Map(Object.entries(at.keys));
  const first = { keys: { current: 'k1', ring } };
  await Promise.all([world.take('east', first), world.take('west', first)]);
  await Promise.all([world.pull('east'), world.pull('west')]);
  await world.take('east', { keys: { current: 'k2', ring } });
});
afterAll(async () => {
  await world.drop();
  await at.drop();
});

const answer = <T>({ out }: Said): T => JSON.parse(out) as T;
const toNowhere = (tree: Tree): unknown => Object.assign(tree.sites['west']?.vault ?? {}, { bucket: 'not-there' });

describe('a ring', () => {
  it('takes keys from files and from the environment, side by side', async () => {
    const file = await at.configure({ k1: { env: 'ACME_K1' }, k2: { file: 'k2' } }, 'k2');
    const env = { ACME_K1: at.keys.k1.toString('base64') };
    const said = await at.run(['verify', '--json'], file, env);
    expect(said).toMatchObject({ code: 0, err: '' });
    expect(answer<{ keys: unknown[] }>(said).keys).toContainEqual(expect.objectContaining({ id: 'k1', says: 'opens' }));
    expect((await at.run(['verify'], file)).err).toMatch(/key k1 is missing\nTry: /);
  });

  it('is refused with one error that names every key that cannot be used', async () => {
    await writeFile(join(at.folder, 'cut'), at.keys.k3.toString('base64').slice(0, 20), { mode: 0o600 });
    await writeFile(join(at.folder, 'typed'), `${at.keys.k3.toString('base64').slice(0, 42)}!!`, { mode: 0o600 });
    const ring = { k1: { file: 'k1' }, a: { file: 'cut' }, b: { file: 'typed' }, c: { file: 'no' }, d: { env: 'NO' } };
    const { err, code } = await typed(at.folder, ['config', 'check', '--site', 'east'], {
      TANDEM_CONFIG: await at.configure(ring, 'k1'),
    });
    const [head = '', ...lines] = err.split('\n');
    expect(head).toBe('Error: customer acme: 4 keys of its ring cannot be used');
    expect(lines.slice(0, 4).map((line) => line.replace(/^.*keys\.ring\./, ''))).toEqual([
      'a: key a has 15 bytes; 32 in base64 are expected',
      'b: key b is no base64; 32 bytes in base64 are expected',
      expect.stringMatching(/^c: file .*no: does not exist$/),
      'd: the environment variable NO is not set',
    ]);
    expect(lines[4]).toMatch(/^Try: /);
    expect(code).toBe(1);
    expect(err).not.toContain(at.keys.k3.toString('base64').slice(0, 20));
  });

  it('is refused when two ids stand for one key, by their bytes or by their source', async () => {
    await writeFile(join(at.folder, 'twin'), at.keys.k1.toString('base64'), { mode: 0o600 });
    const ring = await readRing(
      ...(await opened(await at.configure({ k1: { file: 'k1' }, k2: { file: 'twin' } }, 'k1'))),
    );
    expect(ring.faults.get('k2')?.message).toMatch(/key k2 is the same as k1/);
    const file = await at.configure({ k1: { file: 'k1' }, k2: { file: 'k1' } }, 'k1');
    expect((await at.run(['list'], file)).err).toMatch(/key k1 and key k2 have the same source/);
  });
});

async function opened(file: string): Promise<[Awaited<ReturnType<typeof readConfiguration>>, CustomerConfiguration]> {
  const configuration = await readConfiguration(file);
  const customer = configuration.customers.get(CUSTOMER);
  if (!customer) throw new Error('no customer');
  return [configuration, customer];
}

describe('keys list', () => {
  it('shows what needs each key, from the manifests of both vaults', async () => {
    const said = await at.run(['list', '--json', '--customer', CUSTOMER], await at.configure(whole, 'k2'));
    expect(said).toMatchObject({ code: 0, err: '' });
    expect(answer<object>(said)).toMatchObject({
      current: 'k2',
      vaults: [
        { site: 'east', answers: true },
        { site: 'west', answers: true },
      ],
      keys: [
        { id: 'k1', checksum: checksum(at.keys.k1), state: 'needed', snapshots: 2, inVault: { east: 2, west: 2 } },
        { id: 'k2', checksum: checksum(at.keys.k2), state: 'current', snapshots: 1, inVault: { east: 1, west: 0 } },
      ],
    });
  });

  it('shows a key that the ring lacks as MISSING, and fails', async () => {
    const { out, err, code } = await at.run(['list'], await at.configure({ k2: { file: 'k2' } }, 'k2'));
    expect(out).toMatch(/^k1 +- +MISSING +2 +2 +2 /m);
    expect(err).toMatch(/Error: ring of acme: lacks key k1, needed by 2 snapshots until .*\nTry: .*keys restore/);
    expect(code).toBe(1);
  });

  it('says which vault cannot be read, and fails only when neither can', async () => {
    const lost = await at.run(['list'], await at.configure(whole, 'k2', toNowhere));
    expect(lost.out).toMatch(/The vault of west cannot be read, so what it needs is unknown/);
    expect(lost.code).toBe(0);
    const none = (tree: Tree): void => {
      toNowhere(tree);
      Object.assign(tree.sites['east']?.vault ?? {}, { endpoint: 'http://127.0.0.1:9' });
    };
    expect(await at.run(['list'], await at.configure(whole, 'k2', none))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/vaults of east and west: neither can be read/) as string,
    });
  });

  it('lets an old key go only after the lock time of its last snapshot, and when every vault was heard', async () => {
    const state = async (ring: Ring, laterMs: number, change?: (tree: Tree) => unknown): Promise<KeyState[]> => {
      const [configuration, customer] = await opened(await at.configure(ring, 'k2', change));
      const { vaults, close } = await surveyKeys(configuration, customer, new AbortController().signal);
      try {
        const newest = Math.max(...vaults.map((v) => Date.parse(v.uses.get('k1')?.newest ?? '')).filter(Boolean));
        const now = newest + LOCK_MS + laterMs;
        return inventory(customer, await readRing(configuration, customer), vaults, now).map((l) => l.state);
      } finally {
        close();
      }
    };
    expect(await state({ ...whole, k3: { file: 'k3' } }, -1)).toEqual(['needed', 'current', 'unused']);
    expect(await state({ ...whole, k3: { file: 'k3' } }, 0)).toEqual(['may-go', 'current', 'unused']);
    expect(await state({ ...whole, k3: { file: 'k3' } }, 0, toNowhere)).toEqual(['unknown', 'current', 'unknown']);
    expect(await state({ k2: { file: 'k2' } }, 0)).toEqual(['current', 'gone']);
    expect(await state({ k2: { file: 'k2' } }, -1)).toEqual(['current', 'missing']);
  });
});

describe('keys verify', () => {
  it('opens what each site wrote under each key, in each vault', async () => {
    const said = await at.run(['verify', '--json'], await at.configure({ ...whole, k3: { file: 'k3' } }, 'k2'));
    const rows = answer<{ keys: { id: string; vault: string; of: string; says: string }[] }>(said).keys;
    expect(rows.map((r) => `${r.id} in ${r.vault} of ${r.of}: ${r.says}`).toSorted()).toEqual([
      'k1 in east of east: opens',
      'k1 in east of west: opens',
      'k1 in west of east: opens',
      'k1 in west of west: opens',
      'k2 in east of east: opens',
      'k2 in west of null: nothing stored under it',
      'k3 in east of null: nothing stored under it',
      'k3 in west of null: nothing stored under it',
    ]);
    expect(said.code).toBe(0);
  });

  it('names a key whose bytes are others, and one that is not there', async () => {
    const wrong = await at.run(['verify'], await at.configure({ k1: { file: 'k3' }, k2: { file: 'k2' } }, 'k2'));
    expect(wrong.err).toMatch(/key k1 is wrong for what east wrote; key k1 is wrong for what west wrote\nTry: /);
    expect(wrong.code).toBe(1);
    const missing = await at.run(['verify'], await at.configure({ k2: { file: 'k2' } }, 'k2'));
    expect(missing.err).toMatch(/Error: ring of acme: key k1 is missing\nTry: /);
    expect(missing.code).toBe(1);
  });
});

describe('keys rotate', () => {
  it('makes a key with a new id, and says both configurations in the safe order', async () => {
    const file = await at.configure(whole, 'k2');
    const before = await readFile(file, 'utf8');
    const said = await at.run(['rotate', '--out', 'fresh'], file);
    expect(said.code).toBe(0);
    const key = Buffer.from(await readFile(join(at.folder, 'fresh'), 'utf8'), 'base64');
    expect(key).toHaveLength(32);
    expect((await stat(join(at.folder, 'fresh'))).mode & 0o777).toBe(0o600);
    expect(said.out).not.toContain(key.toString('base64'));
    expect(said.out).toContain(`shows k3 with checksum ${checksum(key)}`);
    const [, first = '', second = '', third = ''] = said.out.split(/^\d\. /m);
    const lines = (text: string): unknown => parse(/^ {5}customers:[\s\S]*?(?=^ {3}\S)/m.exec(text)?.[0] ?? '');
    const ring = { ...whole, k3: { file: 'fresh' } };
    expect(lines(first)).toEqual({ customers: { acme: { keys: { current: 'k2', ring } } } });
    expect(lines(second)).toEqual({ customers: { acme: { keys: { current: 'k3', ring } } } });
    expect(third).toMatch(/^Keep k2 in both rings until/);
    expect(await readFile(file, 'utf8')).toBe(before);
    const again = await at.run(['rotate', '--out', 'fresh'], file);
    expect(again).toMatchObject({ code: 1, err: expect.stringMatching(/fresh: exists already/) as string });
    expect(Buffer.from(await readFile(join(at.folder, 'fresh'), 'utf8'), 'base64')).toEqual(key);
  });

  it('prints the key when no file is named, as one object for programs', async () => {
    const said = await at.run(['rotate', '--json'], await at.configure({ k1: { env: 'ACME_K1' } }, 'k1'));
    const {
      id,
      key,
      checksum: sum,
      steps,
    } = answer<Record<'id' | 'key' | 'checksum', string> & { steps: unknown[] }>(said);
    expect(Buffer.from(key, 'base64')).toHaveLength(32);
    expect(sum).toBe(checksum(Buffer.from(key, 'base64')));
    expect(id).toBe('k3'); // The ring does not know k2, a vault does.
    expect(steps).toHaveLength(3);
    expect(JSON.stringify(steps)).toContain('{ env: ACME_KEY_K3 }');
  });

  it('never gives an id twice', () => {
    expect(nextKeyId('k1', ['k1'])).toBe('k2');
    expect(nextKeyId('k1', ['k1', 'k9', 'other77'])).toBe('k10');
    expect(nextKeyId('main', ['main'])).toBe('main2');
    expect(nextKeyId('key-2025', ['key-2025', 'key-2026'])).toBe('key-2027');
  });
});

describe('a damaged pack', () => {
  /** A manifest that west has signed, of a pack which is not there. */
  const lost = async (seq: number, keyId: string): Promise<void> => {
    const id = { customer: CUSTOMER, site: 'west', gen: 1, seq: 1 };
    const found = await readManifest({ vault: world.vaults.east, publicKeys: world.publicKeys, id });
    const packs = [{ sha256: 'ab'.repeat(32), bytes: 5000, footer: 500, keyId }];
    const manifest = { ...found?.manifest, ...id, gen: seq, seq, packs };
    await world.vaults.east.put(manifestKey(manifest), seal('manifest', 'west', world.signingKeys.west, manifest));
  };

  it('is not taken for a wrong key: another pack proves it', async () => {
    await lost(8, 'k1');
    const said = await at.run(['verify'], await at.configure(whole, 'k2'));
    expect(said.out).toMatch(/^k1 +\w+ +east +west +opens/m);
    expect(said.out).toMatch(/Key k1: vault east: .*abab: it is not there/);
    expect(said.code).toBe(0);
  });

  it('leaves its key unproven when there is no other', async () => {
    await lost(9, 'k3');
    const said = await at.run(['verify'], await at.configure({ ...whole, k3: { file: 'k3' } }, 'k2'));
    expect(said.err).toMatch(/key k3 is damaged for what west wrote\nTry: The packs are damaged, which says nothing/);
    expect(said.code).toBe(1);
  });
});

describe('one id with different keys at the two sites', () => {
  it('is found at each, though a site opens what it wrote itself', async () => {
    const bytes = { east: randomBytes(32), west: randomBytes(32) };
    // East comes last: the newest pack under the id is its own.
    for (const site of ['west', 'east'] as const) {
      await writeFile(join(at.folder, `${site}-k4`), bytes[site].toString('base64'), { mode: 0o600 });
      await world.take(site, { keys: { current: 'k4', ring: new Map([['k4', bytes[site]]]) } });
    }
    await Promise.all([world.pull('east'), world.pull('west')]);
    for (const [here, there] of [
      ['east', 'west'],
      ['west', 'east'],
    ] as const) {
      const ring = { ...whole, k3: { file: 'k3' }, k4: { file: `${here}-k4` } };
      const { out, err, code } = await at.run(['verify'], await at.configure(ring, 'k4'));
      expect(out).toMatch(new RegExp(`^k4 +\\w+ +${there} +${here} +opens`, 'm'));
      expect(err).toMatch(new RegExp(`key k4 is wrong for what ${there} wrote.*\nTry: `));
      expect(code).toBe(1);
    }
  });
});
