import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkEffect } from '../../activities/services/check.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { fenceSite } from '../../activities/services/fence.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import { withWaits } from '../../activities/services/self-fenced.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import type { CustomerSettings, SiteSettings, VaultAccess } from '../../activities/settings.ts';
import { claimEpoch } from '../../activities/vault/epochs.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { Isolation, Step } from '../../workflows/model/plan.ts';
import { makeForecast } from '../../workflows/model/forecast.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { Line } from '../rig/line.ts';
import { CUSTOMER, isolated, kindOf, makeWorld, startMove, step, type World } from './world.ts';

/** East cannot be closed by machine, and people's word may be wrong: with self-fence it closes itself, and that takes its time. */

const WAITS_MS = 3000;
let world: World;
let move: string;
let line: Line;
beforeEach(async () => {
  world = await makeWorld();
  move = await startMove(world);
  await world.eastDb.query('update tandem.serving set epoch = 0'); // It is not seen to serve.
  const { hostname, port } = new URL(world.customer.peerDatabaseUrl);
  line = await Line.to({ host: hostname, port: Number(port) });
  await line.cut('refused');
});
afterEach(async () => {
  await line.close();
  await world.close();
});

/** West, whose line to the database of east is cut. */
function west(witness: VaultAccess = world.vaults.witness.west): OwnSite {
  const peerDatabaseUrl = Object.assign(new URL(world.customer.peerDatabaseUrl), {
    port: String(line.port),
  }).toString();
  return world.westWith({ customer: { peerDatabaseUrl, selfFenceMs: 60_000 }, site: { witness } });
}
const away = (): VaultAccess => ({ ...world.vaults.witness.west, endpoint: 'http://127.0.0.1:9' });
const advance = (site: OwnSite): Promise<StepResult> => advanceEpoch(site, step('advance-epoch', move, 2));

function fence(isolation: Isolation = isolated, timeoutMs = 20_000): PlannedStep {
  const of = step('fence-site', move, 2, isolation);
  of.plan.decisions.steps.push({ id: of.key.step, act: 'fence-site', waitsMs: WAITS_MS, timeoutMs } as Step);
  return of;
}
const stoodMs = async (): Promise<number> => {
  const sql = `select extract(epoch from clock_timestamp() - at)::float8 * 1000 as ms from tandem.claim where store = 'witness' and claimed`;
  return (await world.westDb.query<{ ms: number }>(sql))[0]?.ms ?? Number.NaN;
};
const claimByEast = (number: number): Promise<unknown> => {
  const vault = new S3Vault(world.vaults.witness.east);
  const settings: SiteSettings = { ...world.settings, site: 'east', signingKey: world.keys.east };
  return claimEpoch(vault, settings, CUSTOMER, { number, site: 'east', move: 'theirs' }).finally(() => vault.close());
};

describe('with self-fence', () => {
  it.each<[string, Isolation]>([
    ['a statement', isolated],
    ['silence', { ...isolated, statement: null, verdict: 'dead' }],
  ])('%s counts for nothing before the claim has stood in the witness for so long', async (_, isolation) => {
    const site = west();
    await advance(site);
    const { seen, summary } = await checkEffect(site, fence(isolation), AbortSignal.timeout(5000));
    expect([seen, summary]).toEqual([false, expect.stringMatching(/has stood in the witness for .*, of 3.0 s$/)]);
    const result = await fenceSite(site, fence(isolation));
    expect(await stoodMs()).toBeGreaterThanOrEqual(WAITS_MS);
    expect(result.summary).toMatch(/were it only cut off, it would have closed itself$/);
    expect((await checkEffect(site, fence(isolation), AbortSignal.timeout(5000))).seen).toBe(true);
  });

  it('a claim that comes into the witness later counts from then', async () => {
    await advance(west(away()));
    expect(await stoodMs()).toBeNaN();
    await setTimeout(WAITS_MS);
    const began = performance.now();
    await fenceSite(west(), fence());
    expect(performance.now() - began).toBeGreaterThanOrEqual(WAITS_MS);
    expect(await stoodMs()).toBeGreaterThanOrEqual(WAITS_MS);
  });

  it('a source that lives, and has claimed a newer epoch meanwhile, keeps its users', async () => {
    const site = west();
    await advance(site);
    const fencing = kindOf(fenceSite(site, fence()));
    await claimByEast(3);
    expect(await fencing).toBe('epoch-superseded');
  });

  it('nobody is served while the claim stands in no witness, or nobody can tell whether it still does', async () => {
    await advance(west(away()));
    expect(await kindOf(fenceSite(west(away()), fence(isolated, 4000)))).toBe('isolation-unknown');
    await world.westDb.query(`update tandem.claim set claimed = true, at = now() - interval '1 hour'`);
    expect(await kindOf(fenceSite(west(away()), fence(isolated, 4000)))).toBe('isolation-unknown');
    // It says that it stands there, and does not.
    expect(await kindOf(fenceSite(west(), fence(isolated, 4000)))).toBe('isolation-unknown');
  });

  it('a source that answers meanwhile is closed by machine, at once', async () => {
    const site = west();
    await advance(site);
    await world.westDb.query(`update tandem.claim set at = now() + interval '1 hour'`);
    const fencing = fenceSite(site, fence());
    await setTimeout(500);
    await line.heal();
    expect((await fencing).facts).toEqual({ confirmedBy: 'database' });
  });

  it('one that answers meanwhile and is not closed is not dead: silence counts no more', async () => {
    const site = west();
    await advance(site);
    await world.westDb.query(`update tandem.claim set at = now() + interval '1 hour'`);
    const fencing = kindOf(fenceSite(site, fence({ ...isolated, statement: null, verdict: 'dead' })));
    await world.eastDb.query(
      'revoke execute on function tandem.fence(text, bigint, text, text) from tandem_peer, public',
    );
    await line.heal();
    expect(await fencing).toBe('isolation-unknown');
  });
});

describe('a plan', () => {
  const steps = [{ id: 'fence', act: 'fence-site', needs: [], timeoutMs: 30_000, attempts: 3 } as unknown as Step];
  const planned = (
    change: Partial<CustomerSettings>,
    isolation: Isolation,
    witness = west().settings.witness,
  ): Step[] => withWaits(steps, isolation, { ...world.settings, witness }, { ...world.customer, ...change });

  it('gives the step that time where words or silence may have to do, and counts it', () => {
    const fenced = { selfFenceMs: 60_000 };
    const [waits] = planned(fenced, isolated);
    expect(waits).toMatchObject({ waitsMs: 100_000, timeoutMs: 130_000 });
    expect(planned(fenced, { ...isolated, statement: null, verdict: 'dead' })).toEqual([waits]);
    const measured = [{ key: 'fence-site', ms: 2000, users: 5 }];
    expect(makeForecast(waits ? [waits] : [], 5, measured).ms).toBeGreaterThan(100_000);
    expect(makeForecast(steps, 5, measured).ms).toBe(2000);
    expect(planned({}, isolated)).toBe(steps);
    expect(planned(fenced, { ...isolated, statement: null, verdict: 'serving' })).toBe(steps);
    expect(planned(fenced, isolated, null)).toBe(steps);
  });
});
