import { createServer, type AddressInfo, type Server } from 'node:net';
import { createServer as createHttp } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { beatKey, hearBeat, sendBeat, type Beat } from '../../activities/probes/beats.ts';
import { observeSource } from '../../activities/probes/source.ts';
import { proveSurvivor } from '../../activities/probes/survivor.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { fenceSite } from '../../activities/services/fence.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import type { SiteSettings, VaultAccess } from '../../activities/settings.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal } from '../../activities/vault/signed.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import { beat } from '../../ops/beat-loop.ts';
import type { Isolation } from '../../workflows/model/plan.ts';
import { FaultProxy } from '../rig/fault-proxy.ts';
import { blackHole, type BlackHole } from '../rig/black-holes.ts';
import { CUSTOMER, eastAt, kindOf, makeWorld, startMove, step, type World } from './world.ts';

let world: World;
let hole: BlackHole;
let dark: SiteSettings;
let darkEast: (change?: Partial<SiteSettings>) => OwnSite;
beforeAll(async () => {
  hole = await blackHole();
});
afterAll(() => hole.close());
beforeEach(async () => {
  world = await makeWorld();
  darkEast = (change = {}) => {
    const { customer, site } = eastAt(world, '127.0.0.1:9');
    return world.westWith({
      ...(customer && { customer }),
      site: { ...site, witness: world.vaults.witness.west, ...change },
    });
  };
  dark = darkEast().settings;
});
afterEach(() => world.close());

const signal = (): AbortSignal => AbortSignal.timeout(10_000);
const east = (): Parameters<typeof sendBeat>[1] => ({
  site: 'east',
  signingKey: world.keys.east,
  publicKeys: world.settings.publicKeys,
});
const beatOfEast = (): Promise<Beat> => sendBeat(world.vaults.witness.east, east(), signal());
/** As its administrator may: a beat of any content. */
async function put(document: unknown, key = world.keys.east, site = 'east'): Promise<void> {
  const { endpoint, region, bucket, accessKeyId, secretAccessKey } = world.vaults.witness.root;
  const s3 = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });
  const Body = typeof document === 'string' ? document : seal('beat', site, key, document);
  await s3.send(new PutObjectCommand({ Bucket: bucket, Key: beatKey('east'), Body }));
  s3.destroy();
}
const customerOf = (settings: SiteSettings) => settings.customers.get(CUSTOMER) ?? world.customer;
async function seen(settings = dark): Promise<{ verdict: string; witness: string | undefined; because: string }> {
  const { verdict, observers, because } = await observeSource(settings, customerOf(settings));
  return { verdict, witness: observers.find((o) => o.name === 'witness')?.saw, because: because['witness'] ?? '' };
}
const at = (access: VaultAccess, port: number): VaultAccess => ({ ...access, endpoint: `http://127.0.0.1:${port}` });

/** What the witness holds of beats, so much later by the witness' own clock. */
async function later(ms: number, work: (settings: SiteSettings) => Promise<void>): Promise<void> {
  const proxy = await FaultProxy.open(world.vaults.witness.west.endpoint);
  proxy.set(() => ({ datedMs: ms }));
  try {
    await work({ ...dark, witness: { ...world.vaults.witness.west, endpoint: proxy.endpoint } });
  } finally {
    await proxy.close();
  }
}

describe('a beat never counts', () => {
  it('when it was forged: by another key, another site, for another purpose, or as junk', async () => {
    const document = { format: 1, site: 'east', at: new Date().toISOString(), sequence: 99 };
    await put('junk');
    await put(document, generateKeyPairSync('ed25519').privateKey);
    await put(document, world.keys.west, 'west');
    await put({ ...document, site: 'west' });
    const told = await seen();
    expect(told).toMatchObject({ verdict: 'unknown', witness: 'unknown' });
    expect(told.because).toContain('was not signed by it');
  });

  it('when it is an old one that was put again, however often', async () => {
    const old = (sequence: number): Promise<void> =>
      put({ format: 1, site: 'east', at: '2026-01-01T00:00:00.000Z', sequence });
    // The gateway dates a version by the moment it was written over: the second is what the first is judged by.
    for (const sequence of [7, 7, 6, 7]) {
      await old(sequence);
      await new Promise((r) => setTimeout(r, 1100));
    }
    const heard = await hearBeat(world.vaults.witness.west, 'east', world.settings.publicKeys, signal());
    if (heard === null || heard === 'unsigned') throw new Error('no beat');
    expect(heard.beat.sequence).toBe(7);
    expect(heard.ageMs).toBeGreaterThan(2000);
  });
});

describe('a site is never found dead', () => {
  it('with a fresh beat, although nothing of it can be reached, and its own clock is wrong', async () => {
    await put({ format: 1, site: 'east', at: '2020-01-01T00:00:00.000Z', sequence: 3 });
    expect(await seen()).toMatchObject({ verdict: 'unknown', witness: 'answers' });
  });

  it('with a fresh beat under forged ones', async () => {
    await beatOfEast();
    await put('junk');
    expect(await seen()).toMatchObject({ verdict: 'unknown', witness: 'answers' });
  });

  it('when the witness is gone, or hangs: that is no statement, and costs no more than the other observers', async () => {
    await beatOfEast();
    for (const port of [9, hole.port]) {
      const start = performance.now();
      const told = await seen({ ...dark, witness: at(world.vaults.witness.west, port) });
      expect(performance.now() - start).toBeLessThan(3500);
      expect(told).toMatchObject({ verdict: 'unknown', witness: 'unknown' });
      expect(told.because).toMatch(/^cannot be reached: /);
    }
  });

  it('when it never beat', async () => {
    expect(await seen()).toEqual({
      verdict: 'unknown',
      witness: 'unknown',
      because: 'it has never had a beat of east',
    });
  });
});

it('a site that nothing can be reached of is dead a minute after its last beat, and then fenced without a statement', async () => {
  await beatOfEast();
  await later(55_000, async (settings) => expect(await seen(settings)).toMatchObject({ witness: 'answers' }));
  await later(62_000, async (settings) => {
    const told = await seen(settings);
    expect(told).toMatchObject({ verdict: 'dead', witness: 'unreachable' });
    expect(told.because).toMatch(/^no beat since 20/);
  });
  const isolation: Isolation = {
    verdict: 'dead',
    observers: [{ name: 'witness', saw: 'unreachable' }],
    statement: null,
  };
  const move = await startMove(world);
  // It beats again: what was signed is void, and nothing is done.
  expect(await kindOf(advanceEpoch(darkEast(), step('advance-epoch', move, 2, isolation)))).toBe('world-worse');
  await world.westDb.query("update tandem.epoch set number = 2, site = 'west', move = $1", [move]);
  const dead = step('fence-site', move, 2, isolation);
  expect((await fenceSite(darkEast(), dead)).facts).toEqual({ confirmedBy: 'observers' });
  // A database that answers, and does not close, is not dead.
  await world.eastDb.query("update tandem.epoch set customer = 'another'");
  const refused = step('fence-site', move, 2, isolation);
  expect(await kindOf(fenceSite(world.west, { ...refused, key: { ...refused.key, round: 1 } }))).toBe(
    'isolation-unknown',
  );
});

describe('beats', () => {
  it('grow by one, whoever of a site sends them, and leave one object behind', async () => {
    const sent = [await beatOfEast(), await beatOfEast(), await beatOfEast()];
    expect(sent.map((b) => b.sequence)).toEqual([1, 2, 3]);
    const root = new S3Vault(world.vaults.witness.root);
    expect(await root.versions(beatKey('east'))).toHaveLength(1);
    root.close();
  });

  it('go on after a witness that hung, which is told once', async () => {
    const said: string[] = [];
    const stop = new AbortController();
    const metrics = new SiteMetrics();
    const settings = { ...world.settings, site: 'east', signingKey: world.keys.east };
    await beat({ ...settings, witness: null }, metrics, stop.signal, (line) => said.push(line));
    const going = beat({ ...settings, witness: at(world.vaults.witness.east, 9) }, metrics, stop.signal, (line) => {
      said.push(line);
      stop.abort();
    });
    await going;
    expect(said).toEqual([expect.stringMatching(/^the witness does not hear this site: /)]);
  });
});

describe('observers at the service', () => {
  const servers: Server[] = [];
  const listening = (greets: boolean): Promise<string> =>
    new Promise((resolve) => {
      const server = createServer((socket) => {
        socket.on('error', () => undefined);
        socket.on('data', () => greets && socket.write("<?xml version='1.0'?><stream:stream from='contoso.example'>"));
      });
      servers.push(server.listen(0, '127.0.0.1', () => resolve(`127.0.0.1:${(server.address() as AddressInfo).port}`)));
    });
  afterEach(() => servers.splice(0).forEach((s) => s.close()));

  it('see a client port that greets, and never take a silent one, or a refusal, for an answer', async () => {
    const api = await new Promise<string>((resolve) => {
      const server = createHttp((_, response) => response.writeHead(503).end()).listen(0, '127.0.0.1', () =>
        resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
      );
      servers.push(server);
    });
    const look = async (clients: string, url: string | null): Promise<Record<string, string>> => {
      const settings = { ...dark, services: new Map([['east', { clients, api: url, outsideCheck: null }]]) };
      const { observers } = await observeSource(settings, customerOf(settings));
      return Object.fromEntries(observers.map((o) => [o.name, o.saw]));
    };
    expect(await look(await listening(true), api)).toMatchObject({ 'sign-in': 'answers', api: 'answers' });
    expect(await look(await listening(false), 'http://127.0.0.1:9/')).toMatchObject({
      'sign-in': 'unreachable',
      api: 'unreachable',
    });
    expect(await look('127.0.0.1:9', null)).not.toHaveProperty('api');
  });

  it('prove the survivor, and say what is missing, within seconds', async () => {
    const outside = createHttp((_, response) => response.writeHead(502).end());
    servers.push(outside);
    await new Promise<void>((resolve) => outside.listen(0, '127.0.0.1', resolve));
    const outsideCheck = `http://127.0.0.1:${(outside.address() as AddressInfo).port}/`;
    const clients = await listening(true);
    const proofs = async (change: Partial<SiteSettings>): Promise<string[]> =>
      (await proveSurvivor(darkEast(change), world.customer)).map((p) => `${p.name} ${p.ok}`);
    expect(await proofs({ witness: null })).toEqual(['database true', 'vault true']);
    const start = performance.now();
    expect(
      await proofs({
        vault: at(world.vaults.west, hole.port),
        witness: at(world.vaults.witness.west, 9),
        services: new Map([['west', { clients, api: null, outsideCheck }]]),
      }),
    ).toEqual(['database true', 'vault false', 'witness false', 'client port true', 'client port from outside false']);
    expect(performance.now() - start).toBeLessThan(8000);
    const [database] = await proveSurvivor(await readOnly(), world.customer);
    expect(database).toMatchObject({ ok: false, told: expect.stringContaining('only be read') as string });
  });

  async function readOnly(): Promise<OwnSite> {
    const url = new URL(world.customer.databaseUrl);
    url.searchParams.set('options', '-c default_transaction_read_only=on');
    return Promise.resolve(world.westWith({ customer: { databaseUrl: url.toString() } }));
  }
});
