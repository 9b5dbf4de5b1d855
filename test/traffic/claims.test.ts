import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { claimAgain, claimsInReach } from '../../activities/services/claims.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { proveSurvivor } from '../../activities/probes/survivor.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { txtData, types } from '../../activities/traffic/dns-message.ts';
import { replaced, update } from '../../activities/traffic/dns-server.ts';
import { nextEpoch } from '../../activities/vault/epochs.ts';
import { findBind } from '../../ops/reference-service/bind.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { blackHole, type BlackHole } from '../rig/black-holes.ts';
import { CUSTOMER, kindOf, makeWorld, startMove, step, type World } from '../failover-acts/world.ts';
import { nameServer, never, removeFolder, scratchFolder, ZONE, type NameServer } from './ends.ts';

/** The zone as one of the stores in which an epoch is claimed. */

let folder: string;
let end: NameServer;
let hole: BlackHole;
let world: World;
let move: string;
const setEpoch = (...texts: string[]): Promise<boolean> => {
  const changes = replaced(`_epoch.${ZONE}`, types.TXT, 30, texts.map(txtData));
  return update(end.dns, { requires: [], changes }, { signal: never });
};
const west = (address?: string): OwnSite => world.westWith(end.settings(address));
const advance = (site: OwnSite): Promise<StepResult> => advanceEpoch(site, step('advance-epoch', move, 2));
const claims = (): Promise<unknown> =>
  world.westDb.query('select store, claimed, refused from tandem.claim order by store');

// A real bind9 is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(findBind() === null)('the zone', () => {
  beforeAll(async () => {
    folder = await scratchFolder();
    [end, hole] = await Promise.all([nameServer(folder), blackHole()]);
  });
  afterAll(async () => {
    await Promise.all([end.close(), hole.close()]);
    await removeFolder(folder);
  });
  beforeEach(async () => {
    world = await makeWorld();
    move = await startMove(world);
    await world.eastDb.query('update tandem.serving set epoch = 0');
    await setEpoch();
  });
  afterEach(() => world.close());

  it.each([
    ['a higher claim', '5 east theirs', 'epoch-superseded'],
    ['the same number of another move', '2 east theirs', 'epoch-taken'],
  ])('with %s ends the move before anything is changed', async (_, stands, kind) => {
    await setEpoch(stands);
    expect(await kindOf(advance(west()))).toBe(kind);
    expect(await end.epoch()).toEqual([stands]);
    expect(await world.westDb.query('select number::int as n from tandem.epoch')).toEqual([{ n: 1 }]);
  });

  it('holds the claim, with site and move, and its records stay as they are', async () => {
    await end.byHand(['east', 'west']);
    expect((await advance(west())).facts).toMatchObject({ claimedIn: 'database, vault, dns' });
    expect([await end.epoch(), await end.leads()]).toEqual([[`2 west ${move}`], ['east', 'west']]);
  });

  it.each([
    ['gone', () => 9],
    ['hanging', () => hole.port],
  ])('never holds up a move by being %s: the claim is told, and written when it answers', async (_, port) => {
    const start = performance.now();
    const { facts, alarms } = await advance(west(`127.0.0.1:${port()}`));
    expect(performance.now() - start).toBeLessThan(6000);
    expect(facts).toMatchObject({ claimedIn: 'database, vault', notClaimedIn: 'dns' });
    expect(alarms).toEqual([expect.stringContaining('the dns does not hold the claim of epoch 2 yet')]);
    await claimAgain(west(), { customer: CUSTOMER, move }, { afterMs: 0 });
    expect(await end.epoch()).toEqual([`2 west ${move}`]);
    expect(await claims()).toContainEqual({ store: 'dns', claimed: true, refused: false });
  });

  it('is never claimed late over a newer claim', async () => {
    await advance(west('127.0.0.1:9'));
    await setEpoch('3 east theirs');
    await claimAgain(west(), { customer: CUSTOMER, move }, { afterMs: 0 });
    expect(await end.epoch()).toEqual(['3 east theirs']);
    expect(await claims()).toContainEqual({ store: 'dns', claimed: false, refused: true });
  });

  it('counts for the next epoch, whoever wrote it: a plan made after it goes over it', async () => {
    await setEpoch('7');
    const { claims: read, silent } = await claimsInReach(west(), CUSTOMER);
    expect([nextEpoch(read, 1), silent]).toEqual([8, {}]);
    expect((await claimsInReach(west('127.0.0.1:9'), CUSTOMER)).silent).toHaveProperty('dns');
  });

  it('is part of what a survivor proves of itself', async () => {
    const proof = async (site: OwnSite): Promise<unknown> =>
      (await proveSurvivor(site, site.customer(CUSTOMER))).find(({ name }) => name === 'name server');
    expect(await proof(west())).toMatchObject({ ok: true });
    expect(await proof(west('127.0.0.1:9'))).toMatchObject({
      ok: false,
      told: expect.stringContaining('ECONNREFUSED') as unknown,
    });
    expect(await proof(world.west)).toBeUndefined();
  });
});
