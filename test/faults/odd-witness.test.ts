import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { beatKey, sendBeat } from '../../activities/probes/beats.ts';
import { observeSource } from '../../activities/probes/source.ts';
import { Eyes } from '../../activities/probes/watch/eyes.ts';
import { lookAround, type Round } from '../../activities/probes/watch/look.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { obeyNewerEpoch } from '../../activities/services/obey.ts';
import { makePlan } from '../../activities/services/plan.ts';
import type { SiteSettings } from '../../activities/settings.ts';
import { claimEpoch } from '../../activities/vault/epochs.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { coverSnapshot } from '../failover-acts/shelf.ts';
import { CUSTOMER, eastAt, endMove, input, makeWorld, startMove, step, type World } from '../failover-acts/world.ts';
import { FaultProxy } from '../rig/fault-proxy.ts';
import { scratchVaults } from '../rig/vaults.ts';
import { removeVersions } from '../vault/damage.ts';

/** A witness that is none: something else answers at its address, or it tells what was true some time ago. */

let world: World;
const servers: Server[] = [];
beforeAll(async () => {
  world = await makeWorld();
});
afterAll(async () => {
  for (const server of servers) server.close().closeAllConnections();
  await world.close();
});

const XML = '<?xml version="1.0" encoding="UTF-8"?>';
/** What stands at its address says the same to every request, with 200. */
const oddities = [
  ['a page for people', 'text/html', '<html><head><title>Hotel</title></head><body>Sign in first.</body></html>'],
  ['nothing at all', 'application/xml', ''],
  ['half of a listing', 'application/xml', `${XML}<ListVersionsResult><Name>b</Name><IsTruncated>fal`],
  [
    'another document',
    'application/xml',
    `${XML}<ListAllMyBucketsResult><Owner><ID>x</ID></Owner></ListAllMyBucketsResult>`,
  ],
  ['JSON', 'application/json', '{"ok":true}'],
] as const;

async function answering(type: string, body: string): Promise<SiteSettings['witness']> {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) }).end(body);
  });
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return { ...world.vaults.witness.west, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
/** West, of which nothing reaches east. */
function dark(witness: SiteSettings['witness']) {
  const { customer, site } = eastAt(world, '127.0.0.1:9') ?? {};
  return world.westWith({ ...(customer && { customer }), site: { ...site, witness } });
}
async function look(settings: SiteSettings): Promise<Round> {
  const eyes = new Eyes(settings, 0);
  const customer = settings.customers.get(CUSTOMER) ?? world.customer;
  try {
    return await lookAround(eyes, eyes.of(customer), { least: 0, spared: null }, new AbortController().signal);
  } finally {
    eyes.close();
  }
}

describe('what answers with 200 and is no bucket', () => {
  it.each(oddities)('%s: is not seen as the witness, and finds nobody dead', async (_, type, body) => {
    const site = dark(await answering(type, body));
    const customer = site.customer(CUSTOMER);
    const { seen, claim } = await look(site.settings);
    // By this a site that is cut off closes itself.
    expect([seen.witness, claim, seen.fork]).toEqual(['silent', null, null]);
    const { verdict, observers, because } = await observeSource(site.settings, customer);
    expect([verdict, observers.find(({ name }) => name === 'witness')?.saw]).toEqual(['unknown', 'unknown']);
    expect(because['witness']).toMatch(/^cannot be reached: vault witness: /);
    expect(await obeyNewerEpoch(site.settings, CUSTOMER, world.westDb)).toBeNull();
  });

  it('stops no move, which tells that its claim is not there', async () => {
    const [, type, body] = oddities[0];
    const move = await startMove(world);
    const { facts, alarms } = await advanceEpoch(dark(await answering(type, body)), step('advance-epoch', move, 2));
    expect(facts).toMatchObject({ epoch: 2, claimedIn: 'database, vault', notClaimedIn: 'witness' });
    expect(alarms?.join()).toContain('the witness does not hold the claim of epoch 2 yet');
    await endMove(world, move);
  });

  it('says yes to everything and keeps nothing: what it took is not counted as claimed', async () => {
    const site = dark(
      await answering(
        'application/xml',
        `${XML}<ListVersionsResult><Name>b</Name><IsTruncated>false</IsTruncated></ListVersionsResult>`,
      ),
    );
    const move = await startMove(world);
    const { facts } = await advanceEpoch(site, step('advance-epoch', move, 3));
    expect(facts).toMatchObject({ claimedIn: 'database, vault', notClaimedIn: 'witness' });
    await endMove(world, move);
  });
});

describe('a witness that lags', () => {
  const asEast = () => ({ ...world.settings, site: 'east', signingKey: world.keys.east });
  const claim = async (number: number): Promise<void> => {
    const vault = new S3Vault(world.vaults.witness.east);
    await claimEpoch(vault, asEast(), CUSTOMER, { number, site: 'east', move: 'theirs' });
    vault.close();
  };
  const epoch = () => world.westDb.query('select number::int as n from tandem.epoch');

  it('opens nobody who was closed by it, and gives no number a second time', async () => {
    const witness = world.vaults.witness.west;
    await claim(7);
    expect(await obeyNewerEpoch(dark(witness).settings, CUSTOMER, world.westDb)).toMatchObject({ number: 7 });
    // As of yesterday.
    const site = dark((await scratchVaults()).witness.west);
    const { seen, claim: found } = await look(site.settings);
    expect([seen.witness, found]).toEqual(['answers', null]);
    expect(await obeyNewerEpoch(site.settings, CUSTOMER, world.westDb)).toBeNull();
    expect(await epoch()).toEqual([{ n: 7 }]);
    expect(await world.westDb.query('select from tandem.observe() where open')).toEqual([]);
    const east = new S3Vault(world.vaults.east);
    await coverSnapshot(world, east, { seq: 1, point: new Date(Date.now() - 60_000).toISOString() });
    east.close();
    const plan = await makePlan(site, { input: input(), declaredAt: new Date().toISOString() });
    expect(plan.decisions.epoch).toBe(8);
  });

  it('finds no site dead whose beats it does not show yet: it does not show this site’s own either', async () => {
    const { east, west, root } = world.vaults.witness;
    const { publicKeys } = world.settings;
    for (const [access, site] of [
      [east, 'east'],
      [west, 'west'],
    ] as const)
      await sendBeat(access, { site, signingKey: world.keys[site], publicKeys }, AbortSignal.timeout(10_000));
    const proxy = await FaultProxy.open(west.endpoint);
    proxy.set(() => ({ datedMs: 62_000 }));
    const site = dark({ ...west, endpoint: proxy.endpoint });
    const found = async () => {
      const { verdict, because } = await observeSource(site.settings, site.customer(CUSTOMER));
      return [verdict, because['witness']];
    };
    try {
      expect(await found()).toEqual(['dead', expect.stringMatching(/^no beat since/)]);
      await removeVersions(root, beatKey('west'));
      expect(await found()).toEqual(['unknown', expect.stringMatching(/nor the newest of west itself: it lags$/)]);
    } finally {
      await proxy.close();
    }
  });
});
