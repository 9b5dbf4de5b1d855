import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import { sendBeat } from '../../activities/probes/beats.ts';
import { observeSource } from '../../activities/probes/source.ts';
import { countUndelivered } from '../../activities/probes/undelivered.ts';
import { beat } from '../../ops/beat-loop.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import { undeliveredLines } from '../../workflows/model/plan-lines.ts';
import type { Plan, Undelivered } from '../../workflows/model/plan.ts';
import { CUSTOMER, eastAt, makeWorld, type World } from './world.ts';

/** What waits at a site for users who were away is gone with it, and people are told how many. */

let world: World;
beforeEach(async () => {
  world = await makeWorld();
});
afterEach(() => world.close());

const keep = (...users: string[]): Promise<void> => keepIn(world.eastDb, users);
const keepIn = async (database: Database, users: string[]): Promise<void> => {
  await database.query('create table if not exists public.spool (username text, xml text, seq bigserial)');
  await database.query('insert into public.spool (username, xml) select unnest($1::text[]), $2', [users, '<message/>']);
};
const signal = (): AbortSignal => AbortSignal.timeout(10_000);
const eastKeys = () => ({ site: 'east', signingKey: world.keys.east, publicKeys: world.settings.publicKeys });
/** As west hears it when nothing else of east can be reached. */
async function heard(): Promise<Undelivered | null> {
  const { customer, site } = eastAt(world, '127.0.0.1:9');
  const { settings } = world.westWith({
    ...(customer && { customer }),
    site: { ...site, witness: world.vaults.witness.west },
  });
  return (await observeSource(settings, settings.customers.get(CUSTOMER) ?? world.customer)).undelivered;
}
const told = (undelivered?: Undelivered | null): string =>
  undeliveredLines({ decisions: { from: 'east' }, ...(undelivered !== undefined && { undelivered }) } as Plan).join(
    '\n',
  );

describe('messages that wait at a site', () => {
  it('are counted for users whom it serves, and for nobody else', async () => {
    await keep('e1', 'e1', 'e2', 'w1', 'nobody');
    expect(await countUndelivered(world.eastDb)).toMatchObject({ messages: 3, users: 2 });
    await world.eastDb.query("update tandem.serving set site = 'west' where half = 'east'");
    expect(await countUndelivered(world.eastDb)).toMatchObject({ messages: 0, users: 0 });
  });

  it('are not known where the service keeps none there, or lets nobody look', async () => {
    expect(await countUndelivered(world.eastDb)).toBeNull();
    await keep('e1');
    const peer = new Database('east', world.customer.peerDatabaseUrl, {
      connections: 1,
      connectMs: 5000,
      statementMs: 5000,
    });
    try {
      expect(await countUndelivered(peer)).toBeNull();
    } finally {
      await peer.close();
    }
  });

  it('are heard of by the other site when theirs is lost; never by a guess', async () => {
    expect(await heard()).toBeNull();
    await sendBeat(world.vaults.witness.east, eastKeys(), signal());
    expect(await heard()).toBeNull();
    const at = '2026-11-20T10:00:00.000Z';
    const counts = new Map([['another', { messages: 9, users: 9, at }]]);
    await sendBeat(world.vaults.witness.east, eastKeys(), signal(), counts);
    expect(await heard()).toBeNull();
    counts.set(CUSTOMER, { messages: 3, users: 2, at });
    await sendBeat(world.vaults.witness.east, eastKeys(), signal(), counts);
    expect(await heard()).toEqual({ messages: 3, users: 2, at });
  });

  it('go with the beats of a worker', async () => {
    await keepIn(world.westDb, ['w1', 'w2']);
    const stop = new AbortController();
    const settings = { ...world.settings, ...eastKeys(), witness: world.vaults.witness.east };
    const going = beat(settings, new SiteMetrics(), stop.signal, () => undefined);
    try {
      await expect.poll(heard, { timeout: 25_000, interval: 1000 }).toMatchObject({ messages: 2, users: 2 });
    } finally {
      stop.abort();
      await going;
    }
  }, 40_000);

  it('are told in whole sentences', () => {
    const at = '2026-11-20T10:00:30.000Z';
    expect(told({ messages: 1312, users: 41, at })).toBe(
      'Messages that wait at east: 1,312 for 41 users who were away, counted at 2026-11-20 10:00 UTC; they come when it is back',
    );
    expect(told({ messages: 0, users: 0, at })).toMatch(/^No message waits at east/);
    expect(told(null)).toContain('not known how many');
    expect(told()).toBe('');
  });
});
