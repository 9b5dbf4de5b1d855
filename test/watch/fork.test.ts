import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blockersOf } from '../../activities/services/decide.ts';
import { forkHere } from '../../activities/services/fork.ts';
import { readUnsalvaged } from '../../activities/contacts/salvaged.ts';
import { chainFault, readJournal } from '../../activities/journal/chain.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { servedFrom } from '../../activities/services/restored-here.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { salvageHalves } from '../../activities/vault/salvage.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import { servedAt, servedTwice } from '../failover-acts/planned-world.ts';
import { contact } from '../failover-acts/returned.ts';
import { CUSTOMER, isolated, kindOf, makeWorld, type World } from '../failover-acts/world.ts';
import { guarded } from './ground.ts';
import { apart, forkStep, give, slotAt, type Apart } from './fork-ground.ts';

/**
 * Both control rooms fail each other over while neither sees the other; west serves everybody by that, east had not come so far.
 * Each test goes on where the one before has ended.
 */
describe('a partition in which both sites have claimed one epoch heals', () => {
  let world: World;
  let sides: Apart;
  let east: OwnSite;
  let west: OwnSite;
  const ending = new AbortController();
  const loops: Promise<void>[] = [];
  const twice: string[][] = [];
  const said: string[] = [];
  const moves = { east: '', west: '' };

  beforeAll(async () => {
    world = await makeWorld();
    sides = await apart(world);
    ({ east, west } = sides);
    sides.cut(true);
    [moves.east, moves.west] = await Promise.all([slotAt(east, 'west'), slotAt(west, 'east')]);
    await Promise.all([
      advanceEpoch(east, forkStep(east, 'advance-epoch', moves.east)),
      advanceEpoch(west, forkStep(west, 'advance-epoch', moves.west)),
    ]);
    await serveUsers(west, forkStep(west, 'serve-users', moves.west));
    // What west's users do by then is nowhere else.
    await world.westDb.query(contact('e1', 'x@example.org'));
    sides.cut(false);
    for (const { settings } of [east, west])
      loops.push(guarded(settings, new SiteMetrics(), ending.signal, (line) => void said.push(line)));
  }, 60_000);
  afterAll(async () => {
    ending.abort();
    await Promise.all(loops);
    await sides?.close();
    await world?.close();
  });

  const forks = async (): Promise<number> => {
    const count = 'select count(*)::int as n from tandem.fork where ended_at is null';
    const found = await Promise.all([world.eastDb, world.westDb].map((db) => db.query<{ n: number }>(count)));
    return found.reduce((sum, [row]) => sum + (row?.n ?? 0), 0);
  };
  async function lookUntil(done: () => Promise<boolean>): Promise<void> {
    for (const end = Date.now() + 30_000; !(await done());) {
      if (Date.now() > end) throw new Error(`nothing more happens; said: ${said.join(' / ')}`);
      twice.push(await servedTwice(world));
      await setTimeout(30);
    }
    twice.push(await servedTwice(world));
  }
  const served = async (): Promise<string[][]> => [await servedAt(world, 'east'), await servedAt(world, 'west')];
  /** As if a service's lease had gone by since the peer was first heard to say so. */
  const leaseOver = async (table: string, column: string): Promise<void> => {
    for (const db of [world.eastDb, world.westDb])
      await db.query(
        `update ${table} set ${column} = ${column} - interval '7 s' where ${column} > now() - interval '7 s'`,
      );
  };

  it('and from the first that has noted it on nobody is served twice, until each serves its own half alone', async () => {
    await expect.poll(forks, { timeout: 20_000 }).toBeGreaterThan(0);
    await lookUntil(async () => {
      await leaseOver('tandem.fork', 'noted_there_at');
      return (
        JSON.stringify(await served()) ===
        JSON.stringify([
          ['e1', 'e2', 'e3'],
          ['w1', 'w2'],
        ])
      );
    });
    expect(twice.flat()).toEqual([]);
    expect(said.filter((line) => line.includes('FORK'))).toHaveLength(2);
  });

  it('and no move goes on at either site, nor can another be approved', async () => {
    for (const [site, move] of [
      [east, moves.east],
      [west, moves.west],
    ] as const) {
      expect(await kindOf(serveUsers(site, forkStep(site, 'serve-users', move)))).toBe('forked');
      expect(await kindOf(advanceEpoch(site, forkStep(site, 'advance-epoch', 'another', 3)))).toBe('forked');
    }
    const fork = await forkHere(world.westDb, CUSTOMER);
    const what = {
      half: 'east',
      isolation: isolated,
      steps: [],
      fork,
      ledger: { servedHere: false, othersThere: [] },
      again: null,
    };
    expect(blockersOf(west, world.customer, what, false).map(({ kind }) => kind)).toEqual(['forked']);
  });

  it('and by two operators, one at each site, one line stands: what the other alone has is salvaged', async () => {
    await give(east, 'al', 'east');
    // One is not enough, wherever he sits.
    await setTimeout(700);
    expect(await forks()).toBe(2);
    await give(west, 'bo', 'east');
    await lookUntil(async () => {
      await leaseOver('tandem.closed', 'confirmed_at');
      const rows = await world.eastDb.query('select from tandem.closed');
      return (await forks()) === 0 && rows.length === 0;
    });
    await lookUntil(
      async () =>
        JSON.stringify(await served()) ===
        JSON.stringify([
          ['e1', 'e2', 'e3'],
          ['w1', 'w2'],
        ]),
    );
    expect(twice.flat()).toEqual([]);
    expect(await readUnsalvaged(world.westDb, CUSTOMER, 'west')).toEqual([{ epoch: 2, halves: ['east'] }]);
    const { settings, vault } = west;
    const { keys, snapshots } = world.customer;
    const { signingKey, publicKeys } = settings;
    const who = { customer: CUSTOMER, site: 'west', keys, signingKey, publicKeys, signal: ending.signal };
    const done = await salvageHalves({
      vault,
      database: world.westDb,
      ...who,
      maxAgeMs: snapshots.budgetMs,
      restored: (half, epoch) => servedFrom(world.westDb, CUSTOMER, half, epoch),
      heartbeat: () => undefined,
    });
    expect(done.map(({ epoch, halves, counts }) => [epoch, halves, counts.users, counts.contacts])).toEqual([
      [2, ['east'], 3, 1],
    ]);
    expect(await readUnsalvaged(world.westDb, CUSTOMER, 'west')).toEqual([]);
    // Its copy is that of whom east serves, from then on.
    await expect
      .poll(() => world.westDb.query("select site from tandem.serving where half = 'east'"))
      .toEqual([{ site: 'east' }]);
  });

  it('and both journals tell of it, whole, and lie in the vaults', async () => {
    for (const site of [east, west]) {
      const move = site === east ? moves.east : moves.west;
      const lines = await site.database(CUSTOMER).connection((client) => readJournal(client, move));
      expect(lines.filter(({ kind }) => kind === 'note').length).toBeGreaterThanOrEqual(2);
      expect(chainFault({ customer: CUSTOMER, move }, lines)).toBeNull();
      const [row] = await site
        .database(CUSTOMER)
        .query<{ mirrored: number }>('select mirrored from tandem.move where move = $1', [move]);
      expect(row?.mirrored).toBe(lines.at(-1)?.seq);
    }
    expect(await kindOf(serveUsers(west, forkStep(west, 'serve-users', moves.west)))).toBe('epoch-superseded');
  });
});
