import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import { defaultFilter, filterDigest, type FilterPolicy } from '../../activities/filter/policy.ts';
import type { Loaded } from '../../activities/filter/loaded.ts';
import { writeFilter } from '../../activities/filter/stored.ts';
import { readJournal } from '../../activities/journal/chain.ts';
import { checkEffect } from '../../activities/services/check.ts';
import { checkParity } from '../../activities/services/parity.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { driftOf, parityOf, watchFilter } from '../../ops/filter-loop.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { blackHole, type BlackHole } from '../rig/black-holes.ts';
import type { Isolation } from '../../workflows/model/plan.ts';
import { CUSTOMER, eastAt, isolated, kindOf, makeWorld, startMove, step, type World } from './world.ts';

/** Nobody is served past the filter: its own site must filter as it is configured; what the peer does is told. */

let world: World;
let hole: BlackHole;
let move: string;
const never = new AbortController().signal;
const strict: FilterPolicy = { ...defaultFilter, urls: 'allow-intranet', intranet: ['contoso.example'] };

beforeAll(async () => {
  hole = await blackHole();
});
afterAll(() => hole.close());
beforeEach(async () => {
  world = await makeWorld();
  move = await startMove(world);
  await world.westDb.query("update tandem.epoch set number = 2, site = 'west', move = $1", [move]);
});
afterEach(() => world.close());

const write = (database: Database, policy: FilterPolicy): Promise<boolean> =>
  database.transaction((client) => writeFilter(client, CUSTOMER, policy));
const served = (site: OwnSite, said: Loaded): OwnSite => ({ ...site, loadedFilter: () => Promise.resolve(said) });
/** A peer whose database answered when the plan was made: it is asked. */
const answering: Isolation = { ...isolated, observers: [{ name: 'database', saw: 'closed' }] };
const check = (site: OwnSite = world.west, epoch = 2, isolation: Isolation = answering) =>
  checkParity(site, step('check-parity', move, epoch, isolation), never);

describe('check-parity never goes on', () => {
  it.each([
    ['there is no row', 'delete from tandem.filter_policy', /its database: there is none/],
    [
      'the row was changed by hand',
      "update tandem.filter_policy set digest = 'x'",
      /digest is not that of its document/,
    ],
  ])('when %s', async (_, change, why) => {
    await world.westDb.query(change);
    expect(await kindOf(check())).toBe('parity-drift');
    expect(await check().catch(failureText)).toMatch(why);
    expect(await checkEffect(world.west, step('check-parity', move, 2), never)).toMatchObject({ seen: false });
    expect(await world.westDb.connection((c) => readJournal(c, move))).toEqual([]);
  });

  it('when the configuration says otherwise than the database, and names each field', async () => {
    const site = world.westWith({ customer: { filter: strict } });
    expect(await check(site).catch(failureText)).toMatch(
      /at west: not as configured .*intranet without contoso.example; urls allow-active-links instead of allow-intranet/,
    );
  });

  it('when the service has another policy in force, or none', async () => {
    const start = performance.now();
    const said: Loaded[] = [{ digest: filterDigest(strict) }, { digest: 'none', because: 'it has none' }];
    const kinds = said.map((of) => kindOf(check(served(world.west, of))));
    expect(await Promise.all(kinds)).toEqual(['parity-drift', 'parity-drift']);
    expect(performance.now() - start).toBeGreaterThan(4500); // It may be about to read what was just written.
  });

  it('under an older epoch', async () => {
    await world.westDb.query('update tandem.epoch set number = 3');
    expect(await kindOf(check())).toBe('epoch-superseded');
  });

  it('when its own database does not answer', async () => {
    const site = world.westWith({ customer: { databaseUrl: 'postgres://tandem:x@127.0.0.1:9/contacts' } });
    expect(await kindOf(check(site))).toBe('database-unreachable');
  });
});

describe('check-parity', () => {
  it('goes on when all is alike, and a repeat answers the same', async () => {
    const site = served(world.west, { digest: filterDigest(defaultFilter) });
    const first = await check(site);
    expect(first.facts).toMatchObject({ digest: filterDigest(defaultFilter), service: 'same', peer: 'same' });
    expect(first.summary).toMatch(/and in force; east filters alike$/);
    expect(first.alarms).toBeUndefined();
    await world.westDb.query('delete from tandem.filter_policy');
    expect(await check(site)).toEqual(first);
  });

  it('says that the service was not seen where nobody can ask it, and raises an alarm where it should have answered', async () => {
    const { summary, alarms } = await check();
    expect(summary).toContain('in the database; not seen in the service: its API is not configured');
    expect(alarms).toBeUndefined();
    await world.westDb.query('delete from tandem.journal');
    const silent = await check(served(world.west, { digest: null, asked: true, because: 'no whole answer' }));
    expect(silent.alarms?.join()).toContain('not seen in the service: no whole answer');
  });

  it('goes on when the peer filters otherwise, with an alarm that says how', async () => {
    await write(world.eastDb, strict);
    const { facts, alarms } = await check();
    expect(facts).toMatchObject({ peer: 'differs', peerDigest: filterDigest(strict) });
    expect(alarms?.join()).toMatch(
      /the sites differ: east filters otherwise: intranet with contoso.example; urls allow-intranet/,
    );
  });

  it.each([
    ['is dark', () => '127.0.0.1:9'],
    ['hangs', () => `127.0.0.1:${hole.port}`],
  ])('goes on within seconds when the peer %s, and says so', async (_, host) => {
    const start = performance.now();
    const { facts, summary, alarms } = await check(world.westWith(eastAt(world, host())));
    expect(performance.now() - start).toBeLessThan(6000);
    expect([facts['peer'], alarms]).toEqual(['unknown', undefined]);
    expect(summary).toMatch(/what east filters is not known: /);
  });
});

it('nobody waits for a peer whose database was silent when the plan was made', async () => {
  await write(world.eastDb, strict);
  const { facts, summary, alarms } = await check(world.west, 2, isolated);
  expect([facts['peer'], alarms]).toEqual(['unknown', undefined]);
  expect(summary).toMatch(/its database was silent when the plan was made$/);
});

describe('in quiet times', () => {
  it('a drift is told once and shown, and what is not known is not', async () => {
    const metrics = new SiteMetrics();
    const shown = async (): Promise<Record<string, number>> =>
      Object.fromEntries(
        (await metrics.filterParity.get()).values.map(({ labels, value }) => [String(labels.where), value]),
      );
    const said: string[] = [];
    const stop = new AbortController();
    await write(world.eastDb, strict);
    const watching = watchFilter(world.settings, metrics, stop.signal, (line) => said.push(line));
    await expect.poll(shown).toEqual({ database: 1, peer: 0 });
    stop.abort();
    await watching;
    expect(said).toEqual([expect.stringMatching(/^message filter of contoso: at east: intranet with contoso.example/)]);
    await write(world.eastDb, defaultFilter);
    expect(driftOf('east', await parityOf(world.west, CUSTOMER, never))).toBeNull();
  });

  it('the peer sees the policy here, and can do nothing about it', async () => {
    const peer = new Database('peer', world.customer.peerDatabaseUrl, {
      connections: 1,
      connectMs: 5000,
      statementMs: 5000,
    });
    try {
      expect(await peer.query('select digest from tandem.observe_filter()')).toEqual([
        { digest: filterDigest(defaultFilter) },
      ]);
      for (const text of ['select from tandem.filter_policy', 'delete from tandem.filter_policy'])
        expect(await kindOf(peer.query(text))).toBe('database-refused');
    } finally {
      await peer.close();
    }
  });
});
