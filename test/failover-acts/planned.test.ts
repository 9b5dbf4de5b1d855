import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkEffect } from '../../activities/services/check.ts';
import { drainSessions } from '../../activities/services/drain.ts';
import { endForgottenDrains } from '../../activities/services/drained.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { openSource } from '../../activities/services/give-back.ts';
import { takeHandedOver } from '../../activities/services/handed-over.ts';
import { obeyNewerEpoch } from '../../activities/services/obey.ts';
import { askPeerRights } from '../../activities/services/peer-rights.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { readClaims } from '../../activities/vault/epochs.ts';
import { PostgresProxy } from '../rig/postgres-proxy.ts';
import { Tripwire } from '../rig/tripwire.ts';
import type { Act } from '../../workflows/model/acts.ts';
import { mayOpen } from '../../workflows/model/opening.ts';
import { loop } from '../watch/ground.ts';
import { copyNow, eastSite, plannedStep, quietWest, rowsAt, servedAt, servedTwice } from './planned-world.ts';
import { CUSTOMER, eastAt, endMove, kindOf, makeWorld, startMove, type World } from './world.ts';

/** The right to serve in a planned move: it changes hands once, and nobody ever has it twice. */

let world: World;
let west: OwnSite;
let move: string;
beforeEach(async () => {
  world = await makeWorld();
  west = quietWest(world);
  move = await startMove(world);
});
afterEach(() => world.close());

const EAST = ['e1', 'e2', 'e3'];
const WEST = ['w1', 'w2'];
const never = new AbortController().signal;
const advance = (site = west) => advanceEpoch(site, plannedStep('advance-epoch', move));
const drain = (round = 0) => drainSessions(world.west, plannedStep('drain-sessions', move, { round }));
const serve = (round = 0, site = west) => serveUsers(site, plannedStep('serve-users', move, { round }));
const back = (round = 0) => openSource(world.west, plannedStep('open-site', move, { round }));
const away = () => world.westWith(eastAt(world, '127.0.0.1:1'));
const atEast = (text: string) => world.eastDb.query(text);
const obeyAtEast = () => obeyNewerEpoch(eastSite(world).settings, CUSTOMER, world.eastDb);

describe('advance-epoch of a planned move never', () => {
  it('goes on without its destination, nor burns a number', async () => {
    expect(await kindOf(advance(away()))).toBe('destination-unreachable');
    const { publicKeys } = world.settings;
    expect((await readClaims(world.west.vault, CUSTOMER, { publicKeys })).newest).toBeNull();
    expect(await rowsAt(world, 'west')).toEqual(['east: east under 1', 'west: west under 1']);
  });

  it.each([
    ['a newer epoch', "update tandem.epoch set number = 5, site = 'east', move = 'theirs'", 'epoch-superseded'],
    ['the same of another move', "update tandem.epoch set number = 2, site = 'east', move = 'theirs'", 'epoch-taken'],
    ['an older one than this site', "update tandem.epoch set number = 0, move = 'before'", 'destination-behind'],
    ['the right to the half that moves', "update tandem.serving set site = 'east' where half = 'west'", 'world-worse'],
  ])('goes on when the destination holds %s', async (_, change, kind) => {
    await atEast(change);
    expect(await kindOf(advance())).toBe(kind);
    expect(await rowsAt(world, 'west')).toEqual(['east: east under 1', 'west: west under 1']);
  });

  it('moves whom this site does not serve', async () => {
    await world.westDb.query("update tandem.serving set epoch = 0 where half = 'west'");
    expect(await kindOf(advance())).toBe('world-worse');
  });
});

describe('advance-epoch of a planned move', () => {
  it('closes nobody: both sites go on under the new number, and know of each other', async () => {
    const first = await advance();
    expect(first.facts).toMatchObject({ epoch: 2, before: 1, keptOpen: 1, followed: true });
    expect(await advance()).toEqual(first);
    for (const site of ['east', 'west'] as const)
      expect(await rowsAt(world, site)).toEqual(['east: east under 2', 'west: west under 2']);
    expect([await servedAt(world, 'east'), await servedAt(world, 'west')]).toEqual([EAST, WEST]);
    // A destination that closes itself now is confirmed by what this site vouches for.
    const told = await askPeerRights(eastSite(world).customer(CUSTOMER), world.eastDb);
    const epoch = { number: 2, site: 'west', move };
    expect(mayOpen('was-down', { site: 'east', epoch, halves: ['east'] }, told)).toMatchObject({ open: true });
  });

  it('goes on when its destination cannot be told in its database, says so, and is followed all the same', async () => {
    const wire = new Tripwire();
    const peer = await PostgresProxy.open(world.customer.peerDatabaseUrl, wire);
    // How it stands it has answered before.
    wire.next = (call) => (call.includes('tandem.follow') ? { when: 'before', strike: () => void peer.close() } : null);
    const site = world.westWith({ customer: { peerDatabaseUrl: peer.through(world.customer.peerDatabaseUrl) } });
    const { alarms, facts } = await advance(site);
    expect([alarms?.length, facts['followed']]).toEqual([1, false]);
    expect(alarms?.[0]).toContain('its worker obeys what it reads in the vault');
    expect([await rowsAt(world, 'east'), await servedAt(world, 'east')]).toEqual([
      ['east: east under 1', 'west: west under 1'],
      EAST,
    ]);
    // Its watch reads west's database alone.
    const looking = loop({ ...eastSite(world).settings, peerVaults: new Map() }, 100);
    await expect
      .poll(() => rowsAt(world, 'east'), { timeout: 10_000 })
      .toEqual(['east: east under 2', 'west: west under 2']);
    await looking.stop();
    expect(looking.said).toContainEqual(expect.stringContaining('goes on serving what that leaves to it'));
    expect([await servedAt(world, 'east'), await servedAt(world, 'west')]).toEqual([EAST, WEST]);
  });

  it('is followed by a destination that reads the claim in a vault only', async () => {
    await world.eastDb.query('revoke execute on all functions in schema tandem from tandem_peer');
    await world.eastDb.query(
      'grant execute on function tandem.observe(), tandem.observe_cohorts(), tandem.observe_rehomed() to tandem_peer',
    );
    expect(await kindOf(advance())).toBe('database-refused');
    expect(await rowsAt(world, 'east')).toContain('east: east under 1');
    expect(await obeyAtEast()).toMatchObject({ number: 2, kept: 1 });
    expect(await rowsAt(world, 'east')).toEqual(['east: east under 2', 'west: west under 2']);
    expect([await servedAt(world, 'east'), await servedAt(world, 'west')]).toEqual([EAST, WEST]);
  });

  it.each([
    ['the claim in a vault', () => obeyAtEast()],
    ['its own database', () => atEast(`select tandem.follow('contoso', 2, 'west', '${move}', 1, '{east}')`)],
  ])('leaves a destination nothing by %s, when it missed an epoch in between', async (_, follows) => {
    await advance();
    await atEast("update tandem.epoch set number = 0, site = '-', move = 'old'");
    await atEast("update tandem.serving set epoch = 0 where half = 'east'");
    await follows();
    expect(await world.eastDb.query('select number::int from tandem.epoch')).toEqual([{ number: 2 }]);
    expect(await servedAt(world, 'east')).toEqual([]);
  });
});

describe('a half that is drained', () => {
  beforeEach(() => advance());

  it('is served by nobody, and stays this site’s to protect', async () => {
    const { facts } = await drain();
    expect(facts).toMatchObject({ half: 'west', epoch: 2 });
    expect([await servedAt(world, 'west'), await servedAt(world, 'east')]).toEqual([[], EAST]);
    const seen =
      'select count(*)::int as n, (select open from tandem.observe() where half = $$west$$) from tandem.served';
    expect(await world.westDb.query(seen)).toEqual([{ n: 2, open: false }]);
    expect(await checkEffect(world.west, plannedStep('drain-sessions', move), never)).toMatchObject({ seen: true });
  });

  it('is not handed over before the destination holds all that was changed, nor before it is drained', async () => {
    await copyNow(world);
    expect(await kindOf(serve())).toBe('not-drained');
    await drain();
    expect(await kindOf(serve())).toBe('destination-behind');
    await world.westDb.query('update tandem.drained set obeyed_at = null');
    await copyNow(world);
    expect(await kindOf(serve())).toBe('not-drained');
    expect([await servedAt(world, 'west'), await servedAt(world, 'east')]).toEqual([[], EAST]);
    expect(await rowsAt(world, 'west')).toContain('west: west under 2');
  });

  it('is served again after a turn-back, and neither drained nor handed over by what is left of the move', async () => {
    await drain();
    await copyNow(world);
    expect(await checkEffect(world.west, plannedStep('open-site', move), never)).toMatchObject({ seen: false });
    const first = await back();
    expect([first.facts, await back()]).toEqual([{ half: 'west', epoch: 2, drained: true }, first]);
    expect(await kindOf(serve())).toBe('not-drained');
    expect(await kindOf(drain(1))).toBe('not-drained');
    expect([await servedAt(world, 'west'), await servedAt(world, 'east')]).toEqual([WEST, EAST]);
    expect(await checkEffect(world.west, plannedStep('open-site', move), never)).toMatchObject({ seen: true });
  });

  it('is served again when its move ends without a hand-over, and then drained by nothing of it', async () => {
    await drain();
    expect(await endForgottenDrains(world.westDb, CUSTOMER)).toEqual([]);
    await endMove(world, move);
    expect(await endForgottenDrains(world.westDb, CUSTOMER)).toEqual(['west']);
    expect(await servedAt(world, 'west')).toEqual(WEST);
    expect(await kindOf(drain(1))).toBe('move-ended');
  });

  it('is nothing to a move that a newer epoch has overtaken', async () => {
    await drain();
    await copyNow(world);
    await world.westDb.query("update tandem.epoch set number = 3, site = 'east', move = 'theirs'");
    for (const late of [serve, drain, back]) expect(await kindOf(late(1))).toBe('epoch-superseded');
    expect(await rowsAt(world, 'west')).toContain('west: west under 2');
  });
});

describe('serve-users of a planned move', () => {
  beforeEach(async () => {
    await advance();
    await drain();
    await copyNow(world);
  });

  it('hands the half over once, leaves nothing to be salvaged, and there is no way back', async () => {
    const first = await serve();
    expect(first.facts).toMatchObject({ half: 'west', users: 2, epoch: 2 });
    expect([await servedAt(world, 'west'), await servedAt(world, 'east')]).toEqual([[], [...EAST, ...WEST]]);
    expect(await serve()).toEqual(first);
    expect((await serve(1)).facts).toMatchObject({ users: 2 });
    expect(await world.westDb.query('select half from tandem.salvage where manifest is null')).toEqual([]);
    expect(await kindOf(back())).toBe('already-served');
    expect(await kindOf(drain(1))).toBe('already-served');
    expect(await checkEffect(world.west, plannedStep('serve-users', move), never)).toMatchObject({ seen: true });
    for (const site of ['east', 'west'] as const)
      expect(await rowsAt(world, site)).toEqual(['east: east under 2', 'west: east under 2']);
  });

  it('lets go of nothing while the destination does not answer', async () => {
    expect(await kindOf(serve(0, away()))).toBe('destination-unreachable');
    expect(await rowsAt(world, 'west')).toContain('west: west under 2');
    expect(await kindOf(back())).toBe('no failure');
    expect(await servedAt(world, 'west')).toEqual(WEST);
  });

  const tellAgain = 'grant execute on all functions in schema tandem to tandem_peer';
  const eastTakes = async (): Promise<string[]> => {
    const customer = eastSite(world).customer(CUSTOMER);
    const told = await askPeerRights(customer, world.eastDb);
    if (told.state !== 'says') throw new Error(told.because);
    return takeHandedOver(world.eastDb, customer, told);
  };
  /** West has let go, and is then kept from telling. */
  const halfWay = async (): Promise<void> => {
    await atEast(
      `revoke execute on function tandem.hand_over(text, text, bigint, text, text, timestamptz) from tandem_peer`,
    );
    expect(await kindOf(serve())).toBe('handed-over');
    expect([await servedAt(world, 'west'), await servedAt(world, 'east')]).toEqual([[], EAST]);
    expect(await checkEffect(world.west, plannedStep('serve-users', move), never)).toMatchObject({ seen: false });
  };

  it('is brought to its end by the destination itself, when it could not be told', async () => {
    await halfWay();
    expect(await eastTakes()).toEqual(['west']);
    expect(await eastTakes()).toEqual([]);
    expect([await servedAt(world, 'west'), await servedAt(world, 'east')]).toEqual([[], [...EAST, ...WEST]]);
    expect(await servedTwice(world)).toEqual([]);
  });

  it('gives nobody to a destination that was put back to an older copy meanwhile, by either way, until it holds it again', async () => {
    await halfWay();
    const older = "update tandem.applied set point = point - interval '1 hour'";
    await atEast(older);
    await atEast(tellAgain);
    expect(await kindOf(serve(1))).toBe('handed-over');
    expect(await eastTakes()).toEqual([]);
    expect([await servedAt(world, 'west'), await servedAt(world, 'east')]).toEqual([[], EAST]);
    await copyNow(world);
    expect((await serve(1)).facts).toMatchObject({ users: 2 });
    expect(await servedAt(world, 'east')).toEqual([...EAST, ...WEST]);
  });
});

it('a failback gives east its own half again, and each site knows what the other one serves', async () => {
  // West serves everybody since its failover, and east follows it.
  for (const database of [world.eastDb, world.westDb]) {
    await database.query("update tandem.epoch set number = 2, site = 'west', move = 'failover'");
    await database.query("update tandem.serving set site = 'west', epoch = 2");
  }
  const planned = { half: 'east', keeps: [], servedAt: ['east', 'west'], reconcile: null };
  const of = (act: Act) => plannedStep(act, move, { epoch: 3, planned });
  expect((await advanceEpoch(world.west, of('advance-epoch'))).facts).toMatchObject({ keptOpen: 2, followed: true });
  expect([await servedAt(world, 'east'), await servedAt(world, 'west')]).toEqual([[], [...EAST, ...WEST]]);
  await drainSessions(world.west, of('drain-sessions'));
  expect([await servedAt(world, 'east'), await servedAt(world, 'west')]).toEqual([[], WEST]);
  await copyNow(world);
  await serveUsers(west, of('serve-users'));
  expect([await servedAt(world, 'east'), await servedAt(world, 'west')]).toEqual([EAST, WEST]);
  for (const site of ['east', 'west'] as const)
    expect(await rowsAt(world, site)).toEqual(['east: east under 3', 'west: west under 3']);
});
