import { createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sendBeat } from '../../activities/probes/beats.ts';
import { readWatched, type StoredWatch } from '../../activities/probes/watch/stored.ts';
import type { SiteSettings } from '../../activities/settings.ts';
import { peerLine, peerStatus } from '../../ops/cli/status-peer.ts';
import type { News } from '../../workflows/model/watch-news.ts';
import { CUSTOMER, eastAt, makeWorld, type World } from '../failover-acts/world.ts';
import { FaultProxy } from '../rig/fault-proxy.ts';
import { never } from '../traffic/ends.ts';
import { loop, type Loop } from './ground.ts';

/** What west's watch comes to about east, and about itself; what it keeps of it, and what people would be told. */

let world: World;
let loops: Loop[];
let witness: FaultProxy;
let servers: Server[];
beforeEach(async () => {
  world = await makeWorld();
  witness = await FaultProxy.open(world.vaults.witness.west.endpoint);
  [loops, servers] = [[], []];
});
afterEach(async () => {
  await Promise.all(loops.map((one) => one.stop()));
  for (const server of servers) server.close();
  await witness.close();
  await world.close();
});

const beatOfEast = (): Promise<unknown> =>
  sendBeat(
    world.vaults.witness.east,
    { site: 'east', signingKey: world.keys.east, publicKeys: world.settings.publicKeys },
    AbortSignal.timeout(10_000),
  );
/** So long after the last beat came, by the clock of the witness. */
const beatsAreOld = (ms: number): void => witness.set(() => ({ datedMs: ms }));
/** West's settings with all of east gone, and the witness as it is. */
function dark(site: Partial<SiteSettings> = {}): SiteSettings {
  const { customer = {}, site: east } = eastAt(world, '127.0.0.1:9');
  const at = { ...world.vaults.witness.west, endpoint: witness.endpoint };
  return world.westWith({ customer, site: { ...east, witness: at, ...site } }).settings;
}
const watching = (settings: SiteSettings, gated = false): Loop => {
  const one = loop(settings, 200, { gated });
  loops.push(one);
  return one;
};
const kept = (): Promise<StoredWatch | null> => readWatched(world.westDb, CUSTOMER, 'east');
const newsOf = async (one: Loop, about: string): Promise<News | undefined> =>
  (await one.watchers.differing(CUSTOMER, {}, 50, never)).find((news) => news.about === about);

/** Greets as a service does, until it is closed. */
async function clientPort(): Promise<{ at: string; server: Server }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.write('<stream:stream>'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  servers.push(server);
  const address = server.address();
  return { at: `127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`, server };
}

describe('a peer', () => {
  it('is dead after three looks, since the first that failed, and a worker that starts goes on from there', async () => {
    await beatOfEast();
    beatsAreOld(62_000);
    const one = watching(dark(), true);
    await one.after(2);
    expect((await kept())?.verdict ?? null).toBeNull();
    await one.after(2);
    const found = await kept();
    expect(found).toMatchObject({ peer: 'east', verdict: 'dead', silentSince: null });
    const first = await newsOf(one, 'peer');
    expect(first).toMatchObject({ value: 'dead', severity: 'critical', since: found?.since });
    expect(first?.text).toMatch(
      /Verdict: dead, since .*: three looks in a row.*\n.*witness unreachable \(no beat since/,
    );
    expect(first?.text).toContain(`Next: tandem failover start --customer ${CUSTOMER} --from east --reason TEXT`);
    expect(await one.metrics.registry.metrics()).toMatch(/tandem_peer_verdict\{[^}]*verdict="dead"\} 1/);
    await one.stop();

    const next = watching(dark(), true);
    await next.after(1);
    expect(await newsOf(next, 'peer')).toMatchObject({ value: 'dead', since: found?.since });
    // It is back: no longer dead at once, and not before it was seen three times.
    const alive = watching(world.westWith({ site: { witness: dark().witness } }).settings, true);
    await next.stop();
    await alive.after(2);
    expect((await kept())?.verdict).toBe('dead');
    await alive.after(2);
    expect(await newsOf(alive, 'peer')).toMatchObject({ value: 'serving', severity: 'info' });
  });

  it('without a beat that has stopped is unknown after six looks, and never dead; nor with a fresh one', async () => {
    const one = watching(dark());
    await one.after(7);
    expect(await newsOf(one, 'peer')).toMatchObject({ value: 'unknown', severity: 'warning' });
    expect((await newsOf(one, 'peer'))?.text).toContain('--isolation TEXT');
    await beatOfEast();
    await one.after(7);
    expect((await kept())?.verdict).toBe('unknown');
    expect(one.rounds.at(-1)?.seen).toMatchObject({ witness: 'answers', peer: { tells: false, verdict: 'unknown' } });
  });

  it('whose users are all served here is nobody’s to take over', async () => {
    await world.westDb.query("update tandem.serving set site = 'west'");
    await beatOfEast();
    beatsAreOld(62_000);
    const one = watching(dark());
    await one.after(4);
    const news = await newsOf(one, 'peer');
    expect([news?.severity, news?.text.split('\n').at(-1)]).toEqual([
      'info',
      `Next: tandem status --customer ${CUSTOMER}`,
    ]);
  });

  it('has a client port whose silence is kept from the first look that failed, until it answers', async () => {
    const port = await clientPort();
    const services = new Map([['east', { clients: port.at, api: null, outsideCheck: null }]]);
    const one = watching(dark({ services }));
    await one.after(2);
    expect((await kept())?.silentSince ?? null).toBeNull();
    port.server.close();
    const before = Date.now();
    await one.after(3);
    const silent = (await kept())?.silentSince ?? '';
    expect(Date.parse(silent)).toBeGreaterThanOrEqual(before - 500);
    await one.after(3);
    expect((await kept())?.silentSince).toBe(silent);
    port.server.listen(Number(port.at.split(':')[1]), '127.0.0.1');
    await one.after(2);
    expect((await kept())?.silentSince).toBeNull();
  });
});

describe('this site', () => {
  it('is not well when its client port, or its database, is silent for six looks', async () => {
    const services = new Map([['west', { clients: '127.0.0.1:9', api: null, outsideCheck: null }]]);
    const one = watching(world.westWith({ site: { services } }).settings);
    await one.after(4);
    expect((await newsOf(one, 'client port'))?.value).toBe('well');
    await one.after(4);
    expect(await newsOf(one, 'client port')).toMatchObject({ value: 'ill', severity: 'critical' });
    expect((await newsOf(one, 'database'))?.value).toBe('well');
    const gone = watching(world.westWith({ customer: { databaseUrl: 'postgres://x:x@127.0.0.1:9/x' } }).settings);
    await gone.after(7);
    expect(await newsOf(gone, 'database')).toMatchObject({ value: 'ill', severity: 'critical' });
    expect((await newsOf(gone, 'database'))?.subject).toBe(`${CUSTOMER}: the database of this site, west, is SILENT`);
  });
});

describe('status', () => {
  it('tells what the watch keeps, and that nobody watches once it is old', async () => {
    const told = async (): Promise<string> => peerLine('west', peerStatus('east', await kept()));
    expect(await told()).toBe('PEER, seen at west: NOBODY WATCHES east: the worker of west has never looked');
    const one = watching(world.westWith({}).settings);
    await one.after(4);
    expect(await told()).toMatch(/^PEER, seen at west: east serves, since 20/);
    await one.stop();
    await world.westDb.query("update tandem.watched set at = at - interval '3 min'");
    expect(await told()).toMatch(
      /^PEER, seen at west: NOBODY WATCHES east: last looked at 3 min.* ago; then: serves, since 20/,
    );
  });
});
