import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { evaluateReadiness, readReadiness } from '../../activities/services/readiness.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { readinessLines, type Readiness } from '../../workflows/model/readiness.ts';
import { coverSnapshot } from './shelf.ts';
import { CUSTOMER, eastAt, makeWorld, type World } from './world.ts';

/** What would stop a failover is known before it is needed; and to look does nothing. */

let world: World;
let east: S3Vault;
beforeEach(async () => {
  world = await makeWorld();
  east = new S3Vault(world.vaults.east);
});
afterEach(async () => {
  east.close();
  await world.close();
});

const evaluate = (site: OwnSite = world.west): Promise<Readiness> =>
  evaluateReadiness(site, CUSTOMER, AbortSignal.timeout(20_000));
const cover = (hoursAgo: number): Promise<void> =>
  coverSnapshot(world, east, { seq: 1, point: new Date(Date.now() - hoursAgo * 3_600_000).toISOString() });
/** All that a move would have changed at the survivor. */
const touched = (): Promise<unknown> =>
  world.westDb.query(
    `select (select jsonb_agg(e) from tandem.epoch e) as epochs, (select jsonb_agg(s) from tandem.serving s) as serving,
            (select count(*) from tandem.move) as moves, (select count(*) from tandem.journal) as lines`,
  );

async function keysOf(): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of world.west.vault.list('')) keys.push(key);
  return keys;
}

describe('readiness', () => {
  it('changes nothing, whether its peer serves or is lost', async () => {
    await cover(1);
    const [before, keys] = [await touched(), await keysOf()];
    await evaluate();
    await evaluate(world.westWith(eastAt(world, '127.0.0.1:9')));
    expect(await touched()).toEqual(before);
    expect(await keysOf()).toEqual(keys);
  });

  it('is given while signatures would do, although the peer serves', async () => {
    await cover(1);
    const found = await evaluate();
    expect(found).toMatchObject({ from: 'east', to: 'west', state: 'ready', stops: [], asks: [] });
    expect(found.forecastMs).toBeGreaterThan(0);
    expect(readinessLines(found)).toEqual(['a failover from east to west would need signatures only']);
  });

  it('is not given while the peer would close itself by another limit than a failover waits for', async () => {
    await cover(1);
    const peerHas = (seconds: number | null, looks: number): Promise<unknown> =>
      world.eastDb.query('update tandem.alive set self_fence_s = $1, saw_at = now(), seen = $2', [seconds, looks]);
    const minute = world.westWith({ customer: { selfFenceMs: 60_000 } });
    const apart = async (site?: OwnSite): Promise<string[]> =>
      (await evaluate(site)).stops.filter((line) => line.startsWith('self-fence'));
    await peerHas(60, 3);
    expect(await apart(minute)).toEqual([]);
    expect(await apart()).toEqual([expect.stringMatching(/^self-fence: west has none and east 1 min 0 s; /)]);
    await peerHas(600, 3);
    expect(await apart(minute)).toEqual([
      expect.stringMatching(/^self-fence: west has 1 min 0 s and east 10 min 0 s; /),
    ]);
    await peerHas(null, 3);
    expect(await apart(minute)).toEqual([expect.stringMatching(/^self-fence: west has 1 min 0 s and east none; /)]);
    // Its worker has begun only now, and says nothing yet.
    await peerHas(null, 0);
    expect(await apart(minute)).toEqual([]);
    expect(await apart(world.westWith(eastAt(world, '127.0.0.1:9')))).toEqual([]);
  });

  it('is not given without a snapshot that counts: it says so, and does not fail', async () => {
    const found = await evaluate();
    expect(found).toMatchObject({ state: 'not-ready', forecastMs: null });
    expect(readinessLines(found)).toEqual([expect.stringMatching(/^a failover from east to west would be stopped: /)]);
  });

  it('tells what would have to be accepted by name', async () => {
    await cover(9);
    const found = await evaluate();
    expect(found).toMatchObject({ state: 'asks', stops: [] });
    expect(found.asks).toEqual([expect.stringMatching(/^data-loss 9h/)]);
  });

  it('is not given while users of the other half have no account here', async () => {
    await cover(1);
    const own = { clients: '127.0.0.1:9', api: null, outsideCheck: null };
    const site = world.westWith({ site: { services: new Map([['west', own]]) } });
    // A site that may not look says nothing of it.
    expect((await evaluate(site)).stops).toEqual([]);
    await world.westDb.query('create table public.users (username text)');
    await world.westDb.query(`insert into public.users values ('e2'), ('w1')`);
    expect((await evaluate(site)).stops).toEqual(['2 of 3 users of east have no account at west']);
    await world.westDb.query(`insert into public.users values ('e1'), ('e3')`);
    expect((await evaluate(site)).stops).toEqual([]);
  });

  it('is no question any longer where the other half is served already', async () => {
    await world.westDb.query("update tandem.serving set site = 'west' where half = 'east'");
    expect(await evaluate()).toMatchObject({ state: 'took-over', stops: [] });
  });

  it('is kept, the newest of what was found', async () => {
    expect(await readReadiness(world.westDb, CUSTOMER)).toBeNull();
    await evaluate();
    await cover(1);
    const found = await evaluate();
    expect(await readReadiness(world.westDb, CUSTOMER)).toEqual(found);
    await world.westDb.query(`update tandem.readiness set at = now() + interval '1 hour'`);
    await cover(9);
    await evaluate();
    expect(await readReadiness(world.westDb, CUSTOMER)).toEqual(found);
  });
});
