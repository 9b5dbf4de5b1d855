import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { claimMove } from '../../activities/journal/moves.ts';
import { anchorOperators } from '../../activities/services/operators.ts';
import { openSite } from '../../activities/services/site.ts';
import type { CustomerSettings, Keyring, SiteSettings } from '../../activities/settings.ts';
import { findStrays } from '../../activities/vault/strays.ts';
import { writeTestReceipt } from '../../activities/vault/test-receipts.ts';
import { readConfiguration } from '../../ops/config/configuration.ts';
import { settingsFor } from '../../ops/config/settings.ts';
import { openVaults } from '../../ops/coverage.ts';
import { goneAt } from '../../ops/customers/ground.ts';
import { foreignIds, refuseOthersIds } from '../../ops/customers/identity.ts';
import { lookAfter } from '../../ops/customers/loop.ts';
import { sealEscrow } from '../../ops/keyring/escrow.ts';
import { applySchedule, describeSchedule, schedulesOf } from '../../ops/schedules.ts';
import { prepareNamespace } from '../../ops/temporal.ts';
import type { TestReceipt } from '../../workflows/model/continuity.ts';
import { scheduleIds } from '../../workflows/model/names.ts';
import { typed, type Said } from '../rig/cli.ts';
import { openKeyFolder, PASSPHRASE, type KeyFolder } from '../cli/ring.ts';
import { CUSTOMER, openWorld, otherSite, quiet, type Site, type World } from '../vault/world.ts';

/** A customer's whole life on real servers: added, found to be protected, retired by two, and gone from both sites. */

const sites = ['east', 'west'] as const;
let world: World;
let at: KeyFolder;
let keys: Keyring;
const files = {} as Record<Site, string>;
const clients = {} as Record<Site, Client>;
const namespace = `customers-${process.pid}`;
const { signal } = new AbortController();

beforeAll(async () => {
  world = await openWorld(10);
  at = await openKeyFolder(world);
  keys = { current: 'k1', ring: new Map(Object.entries(at.keys).filter(([id]) => id !== 'k3')) };
  await Promise.all(sites.map(prepare));
});
afterAll(async () => {
  await Promise.all(Object.values(clients).map((client) => client.connection.close()));
  await world.drop();
  await at.drop();
});

/** Each site has its own files of the same keys, as two machines do. */
async function prepare(site: Site): Promise<void> {
  await mkdir(join(at.folder, site));
  const secret = (name: string, text: string): Promise<void> => writeFile(join(at.folder, name), text, { mode: 0o600 });
  for (const [id, key] of keys.ring) await secret(`${site}/${id}`, key.toString('base64'));
  await secret(`${site}.url`, world.urls[site]);
  files[site] = await at.configure({ k1: { file: `${site}/k1` }, k2: { file: `${site}/k2` } }, 'k1', (tree) => {
    for (const one of Object.values(tree.sites)) Object.assign((one as never)['temporal'], { namespace });
    const place = (s: Site): object => ({ url: { file: `${s}.url` }, 'peer-url': { file: `${s}.url` } });
    const databases = { east: place('east'), west: place('west') };
    Object.assign(tree.customers[CUSTOMER] ?? {}, { databases, domain: 'acme.example' });
  });
  const connection = await Connection.connect({ address: inject('stack').sites[site]?.temporalAddress ?? '' });
  clients[site] = new Client({ connection, namespace });
  await prepareNamespace(clients[site], namespace, signal);
  await anchorOperators(world.databases[site], (await readConfiguration(files[site])).operators);
}

const customer = (verb: string[], site: Site = 'east', env: Record<string, string> = {}): Promise<Said> =>
  typed(at.folder, ['customer', ...verb], { TANDEM_CONFIG: files[site], TANDEM_PASSPHRASE: PASSPHRASE, ...env });
const key = (who: string): string => join(dirname(inject('stack').configuration), 'secrets', `${who}.pem`);
const by = (who: string): string[] => ['--operator', who, '--key', key(who), '--because', 'its contract ends'];

async function settingsAt(site: Site): Promise<{ settings: SiteSettings; own: CustomerSettings }> {
  const settings = await settingsFor(await readConfiguration(files[site]), site, { reportsFolder: '' });
  const own = settings.customers.get(CUSTOMER);
  if (!own) throw new Error('no customer');
  return { settings, own };
}

/** What the worker of a site does once a minute. */
async function look(site: Site): Promise<string[]> {
  const { settings, own } = await settingsAt(site);
  const vaults = openVaults(settings);
  try {
    return await lookAfter({ settings, vaults }, clients[site], own, signal);
  } finally {
    vaults.close();
  }
}

/** A snapshot of each site, covered by the other and applied there. */
async function cover(): Promise<void> {
  for (const site of sites) {
    const peer = otherSite(site);
    const taken = await world.take(site, { keys });
    await world.pull(peer);
    await world.verify(peer, taken, { keys });
    const snapshot = await world.open(peer, taken, keys);
    await applyStandby({ database: world.databases[peer], site: peer, snapshot, keys, ...quiet });
  }
}

const receipt: TestReceipt = {
  format: 1,
  customer: CUSTOMER,
  kind: 'isolated',
  site: 'west',
  run: 'test-1',
  outcome: 'passed',
  snapshot: null,
  point: null,
  startedAt: '2030-01-01T00:00:00.000Z',
  endedAt: '2030-01-01T00:10:00.000Z',
  counts: { users: 0, contacts: 0, groups: 0, aclItems: 0 } as never,
  mismatches: 0,
  because: '',
  notTested: [],
};

const startMove = async (site: Site, run: string): Promise<unknown> => {
  const { settings } = await settingsAt(site);
  const own = openSite(settings);
  const input = { customer: CUSTOMER, from: otherSite(site), reason: 'it burns', requestedBy: 'operator-1' };
  try {
    return await claimMove(own, { input, run, workflowId: 'w', at: new Date().toISOString() });
  } finally {
    await own.close();
  }
};

// Its commands are processes of their own, and take as long as a busy machine makes them.
describe('a customer', { timeout: 180_000 }, () => {
  it('is not taken on while anything stands against it, and joins at both sites at once', async () => {
    const early = await customer(['add', CUSTOMER, '--domain', 'other.example']);
    expect(early).toMatchObject({ code: 1, out: '' });
    expect(early.err).toMatch(/2 faults\n.*its domain is acme.example .*not other.example\n.*in an escrow\nTry: /);
    const escrow = join(at.folder, 'escrow.json');
    await writeFile(escrow, await sealEscrow(CUSTOMER, keys, PASSPHRASE, new Date()), { mode: 0o600 });
    const said = await customer(['add', CUSTOMER, '--domain', 'acme.example', '--escrow', escrow]);
    expect(said.err).toBe('');
    expect(said.out).toMatch(/acme was added at east .*\nacme was added at west /);
    expect(said.out).toMatch(/east lacks \d+ of its schedules: restart its worker/);
    expect(said.out).toMatch(/JOINING: not protected yet\n +no snapshot of east is covered by west/);
    expect(said.out).toMatch(/\nNext: tandem worker --site east\n$/);
    const strays = await findStrays(world.vaults.east, { customer: CUSTOMER, site: 'west' }, signal);
    expect(strays).toMatchObject({ unknown: 0, versions: 0 });
  });

  it('is found to be protected when both copies are applied and a test has passed, and not before', async () => {
    await cover();
    expect(await look('east')).toEqual([]);
    const { settings, own } = await settingsAt('west');
    await writeTestReceipt(world.vaults.west, settings, receipt);
    expect(await look('east')).toEqual(['acme: is protected from now on']);
    expect(await look('west')).toEqual([]);
    // One name for it in the configuration, another in its database: neither a check nor a worker takes that.
    expect(await foreignIds({ ...settings, customers: new Map([['globex', { ...own, id: 'globex' }]]) })).toEqual([
      expect.stringMatching(
        /^customer globex: its database at west says it is that of acme at west, and the vault of west has acme since /,
      ),
    ]);
    expect(await foreignIds(settings)).toEqual([]);
    await expect(startMove('east', 'before')).resolves.toMatchObject({ resumed: null });
    await world.sql('east', 'update tandem.move set ended_at = now()');
  });

  it('leaves by the words of two, given at two sites, and no move starts from then on', async () => {
    const { own } = await settingsAt('east');
    for (const site of sites) for (const want of schedulesOf(own, site, null)) await applySchedule(clients[site], want);
    const one = await customer(['retire', CUSTOMER, ...by('operator-1'), '--site', 'east']);
    expect(one).toMatchObject({ code: 3, err: '' });
    const two = await customer(['retire', CUSTOMER, ...by('operator-2'), '--site', 'west'], 'west');
    expect(two).toMatchObject({ code: 0, err: '' });
    expect(two.out).toMatch(/acme leaves on .*, by operator-1 and operator-2\. No new move starts/);
    await expect(startMove('west', 'after')).rejects.toMatchObject({ type: 'customer-leaving' });
    expect(await look('east')).toContainEqual(expect.stringMatching(/^acme: leaves on /));
    await expect(startMove('east', 'after')).rejects.toMatchObject({ type: 'customer-leaving' });
    expect(await describeSchedule(clients.east, scheduleIds.standby(CUSTOMER))).toBeNull();
  });

  it('is gone when its keys are, whoever kills the one that destroys them, and its id with it', async () => {
    const { settings } = await settingsAt('east');
    const deadly = join(at.folder, 'deadly.mjs');
    await writeFile(
      deadly,
      `import fs from 'node:fs/promises'; import { syncBuiltinESMExports } from 'node:module';
       const { rm } = fs;
       fs.rm = async (...of) => { await rm(...of); process.kill(process.pid, 'SIGKILL'); };
       syncBuiltinESMExports();`,
    );
    const killed = await customer(['retire', CUSTOMER, '--destroy', ...by('operator-1'), '--site', 'east'], 'east', {
      NODE_OPTIONS: `--import ${deadly}`,
    });
    expect(killed).toMatchObject({ code: null, out: '' });
    expect(await readdir(join(at.folder, 'east'))).toEqual(['k2']);
    // Nobody signs twice for what was begun.
    const again = await customer(['retire', CUSTOMER, '--destroy', '--site', 'east']);
    expect(again).toMatchObject({ code: 3, err: '' });
    expect(again.out).toMatch(/k1 \(\w{8}\): was not there any more\n +k2 \(\w{8}\): overwritten and removed/);
    expect(await readdir(join(at.folder, 'east'))).toEqual([]);
    const last = await customer(['retire', CUSTOMER, '--destroy', ...by('operator-2'), '--site', 'west'], 'west');
    expect(last).toMatchObject({ code: 0, err: '' });
    expect(await readdir(join(at.folder, 'west'))).toEqual([]);
    expect(await describeSchedule(clients.west, scheduleIds.standby(CUSTOMER))).toBeNull();
    const shown = await customer(['show', CUSTOMER]);
    expect(shown.out).toMatch(/^acme: gone since /);
    expect(shown.out).toMatch(/certificate of east, .*decided by operator-1 and operator-2, carried out by operator-1/);
    await expect(refuseOthersIds(settings)).rejects.toMatchObject({
      type: 'customer-refused',
      message: expect.stringMatching(/acme: its keys were destroyed at .*: its id is never given again/) as string,
    });
    expect(await goneAt(await readConfiguration(files.east), 'east', signal)).toEqual([CUSTOMER]);
    // Each vault has the certificates of both.
    for (const site of sites)
      for (const of of sites)
        expect(await world.vaults[site].versions(`acme/${of}/customer/destroyed.json`)).toHaveLength(1);
  });
});
