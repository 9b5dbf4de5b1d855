import { beforeEach, describe, expect, it } from 'vitest';
import { sayAlive } from '../../activities/services/alive.ts';
import {
  closeCutOff,
  closingOf,
  lastOpening,
  lockRights,
  openWhenConfirmed,
} from '../../activities/services/closed.ts';
import { askPeerRights } from '../../activities/services/peer-rights.ts';
import { makePlan } from '../../activities/services/plan.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { Closing } from '../../workflows/model/closing.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { coverSnapshot } from '../failover-acts/shelf.ts';
import { CUSTOMER, input, kindOf, startMove, step } from '../failover-acts/world.ts';
import {
  closedAs,
  closeWest,
  confirm,
  confirmedFor,
  customerOf,
  dark,
  heard,
  serves,
  silent,
  world,
  worldForEach,
} from './closed-ground.ts';

/** When a site closes because it was down, and what opens it. */

worldForEach();
const alive = (site: OwnSite, ranMs: number | null = null): Promise<Closing | null> =>
  sayAlive(site.settings, customerOf(site), world.westDb, { ranMs });
const lastSign = (ago: string): Promise<unknown> =>
  world.westDb.query(`update tandem.alive set at = clock_timestamp() - interval '${ago}'`);
async function signAge(): Promise<number> {
  const sql = 'select extract(epoch from clock_timestamp() - at)::float8 as s from tandem.alive';
  return (await world.westDb.query<{ s: number }>(sql))[0]?.s ?? NaN;
}

describe('a worker that comes back after six minutes, with rows that say "serve"', () => {
  beforeEach(() => lastSign('6 minutes'));

  it('closes its site before it says that it lives, and never opens before the peer has confirmed', async () => {
    const closing = await alive(dark());
    expect(closing).toMatchObject({ kind: 'was-down', because: expect.stringContaining('is 6 min') as string });
    expect([await serves(), (await signAge()) < 10]).toEqual([0, true]);
    expect(await openWhenConfirmed(world.westDb, CUSTOMER, silent)).toMatchObject({ open: false });
    // A peer that speaks of another customer, or of another epoch, or not at all for its half, confirms nothing.
    await world.eastDb.query(`update tandem.identity set customer = 'fabrikam'`);
    expect(await confirm()).toMatch(/^false: .*names nobody/);
    await world.eastDb.query(`insert into tandem.epoch select 'fabrikam', number, site, move from tandem.epoch`);
    await world.eastDb.query(`update tandem.serving set customer = 'fabrikam'`);
    expect(await confirm()).toMatch(/^false: .*that of another customer/);
    await world.eastDb.query(`update tandem.identity set customer = 'contoso'`);
    await world.eastDb.query(`update tandem.serving set customer = 'contoso'`);
    await world.eastDb.query(`update tandem.serving set epoch = 0 where half = 'west'`);
    expect(await confirm()).toMatch(/^false: .*does not say that west is west's/);
    expect(await closingOf(world.westDb, CUSTOMER)).toMatchObject({
      waitsFor: expect.stringContaining('does not say') as string,
    });
    expect(await serves()).toBe(0);
    await world.eastDb.query(`update tandem.serving set epoch = 1`);
    expect(await confirm()).toMatch(/^true: its peer holds the same epoch 1; the users of west are its to serve/);
    expect([await serves(), await confirm()]).toEqual([2, 'is open']);
    expect(await lastOpening(world.westDb, CUSTOMER)).toMatchObject({ kind: 'was-down', by: [] });
  });

  it('closes it also when the address of its peer leads to its own database', async () => {
    const own = new URL(world.customer.databaseUrl);
    const misled = world.westWith({ customer: { peerDatabaseUrl: own.toString() } });
    expect(await alive(misled)).toMatchObject({ kind: 'was-down' });
    const rights = await askPeerRights(customerOf(misled), world.westDb);
    expect(rights).toMatchObject({ state: 'silent', because: expect.stringContaining("this site's own") as string });
  });

  it('says nothing, and closes nothing, while it cannot do both', async () => {
    await world.westDb.query('alter table tandem.closed rename to hidden');
    expect(await kindOf(alive(dark()))).toBe('database-refused');
    expect(await signAge()).toBeGreaterThan(300);
  });

  it('closes nobody whom the peer leaves to it: the worker alone may have been away', async () => {
    expect([await alive(world.west), await closedAs(), await serves()]).toEqual([null, null, 2]);
    expect(await signAge()).toBeLessThan(10);
  });

  it('closes nothing where nobody would be served', async () => {
    await world.westDb.query(`update tandem.epoch set number = 2, site = 'east', move = 'theirs'`);
    expect([await alive(dark()), await closedAs()]).toEqual([null, null]);
  });
});

describe('a clock that was set', () => {
  it.each([
    ['forwards', '3 hours'],
    ['back', '-3 hours'],
  ])('%s while the worker ran closes nobody; while none ran, it counts as a site that was down', async (_, ago) => {
    await lastSign(ago);
    expect([await alive(dark(), 10_000), await closedAs()]).toEqual([null, null]);
    await lastSign(ago);
    expect(await alive(dark())).toMatchObject({ kind: 'was-down' });
    // Nor does it open a site that is closed.
    await lastSign('0');
    expect([await alive(dark(), 10_000), await closedAs(), await serves()]).toEqual([null, 'was-down', 0]);
  });

  it('is told from a database without any sign of life, which is closed', async () => {
    await world.westDb.query('delete from tandem.alive');
    expect(await alive(dark())).toMatchObject({ because: 'its database holds no sign of life of this site' });
  });
});

describe('a move that holds the epoch', () => {
  it('keeps no site from closing or opening; a newer epoch waits until that is done', async () => {
    await world.westDb.transaction(async (client) => {
      await client.query('select from tandem.epoch for share');
      expect(await alive(dark())).toBeNull();
      expect(await closeCutOff(world.westDb, CUSTOMER, 'a test')).toMatchObject({ kind: 'cut-off' });
      expect(await confirm()).toMatch(/^true: /);
      await lastSign('6 minutes');
      expect(await alive(dark())).toMatchObject({ kind: 'was-down' });
    });
    await world.westDb.transaction(async (client) => {
      await lockRights(client, CUSTOMER);
      const newer = world.westDb.transaction(async (other) => {
        await other.query(`set local lock_timeout = '200ms'`);
        await other.query(`select * from tandem.fence($1, 2, 'east', 'theirs')`, [CUSTOMER]);
      });
      expect(await newer.then(() => 'taken', failureText)).toMatch(/lock timeout/);
    });
  });
});

describe('a closing', () => {
  it.each(['fork', 'operator'] as const)('of kind %s is never opened by what the peer says', async (kind) => {
    await closeWest(kind);
    expect(await confirm()).toMatch(/^false: /);
    expect(await closedAs()).toBe(kind);
  });

  it('does not end before the service of the peer can no longer go by what it read, nor by words that it took back', async () => {
    await closeWest('cut-off');
    const hear = async (): Promise<boolean | undefined> =>
      (await openWhenConfirmed(world.westDb, CUSTOMER, await heard()))?.open;
    expect([await hear(), await hear()]).toEqual([false, false]);
    await confirmedFor(5);
    expect([await hear(), await serves()]).toEqual([false, 0]);
    // A break begins anew.
    expect((await openWhenConfirmed(world.westDb, CUSTOMER, silent))?.open).toBe(false);
    await confirmedFor(7);
    expect(await hear()).toBe(false);
    await confirmedFor(7);
    expect([await hear(), await serves()]).toEqual([true, 2]);
  });

  it('does not end by what the peer said before a newer epoch came', async () => {
    await closeWest('cut-off');
    const said = await heard();
    await world.westDb.query(`update tandem.epoch set number = 2, site = 'east', move = 'theirs'`);
    expect(await openWhenConfirmed(world.westDb, CUSTOMER, said)).toMatchObject({
      open: false,
      because: expect.stringContaining('has not obeyed it yet') as string,
    });
    await world.eastDb.query(`update tandem.epoch set number = 2, site = 'east', move = 'theirs'`);
    await world.eastDb.query(`update tandem.serving set site = 'east', epoch = 2`);
    // What was taken stays taken: it opens, and serves nobody.
    expect(await confirm()).toMatch(/^true: .*serves nobody under it/);
    expect(await serves()).toBe(0);
  });

  it('of a survivor ends once the lost site is back, and has obeyed', async () => {
    await world.westDb.query(`update tandem.epoch set number = 2, site = 'west', move = 'm'`);
    await world.westDb.query(`update tandem.serving set site = 'west', epoch = 2`);
    await closeWest('was-down');
    expect(await confirm()).toMatch(/^false: .*has not obeyed it yet/);
    await world.eastDb.query(`update tandem.epoch set number = 2, site = 'west', move = 'm'`);
    expect([await confirm(), await serves()]).toEqual([expect.stringMatching(/^true: /), 5]);
  });

  it('is told in a plan, must be accepted by name, and is ended by the move that serves here; a fork is not', async () => {
    await closeWest('was-down');
    const site = dark();
    const east = new S3Vault(world.vaults.east);
    const declaredAt = new Date().toISOString();
    await coverSnapshot(world, east, { seq: 1, point: declaredAt });
    east.close();
    const plan = await makePlan(site, { input: input(), declaredAt });
    expect(plan.notes?.join('\n')).toMatch(/west itself is closed since .*: serve-users opens it/);
    expect(plan.survivor?.find(({ name }) => name === 'closed')).toMatchObject({ ok: false });
    expect(plan.decisions.acceptances).toContain('survivor-unproven');
    const move = await startMove(world);
    await world.westDb.query(`update tandem.epoch set number = 2, site = 'west', move = $1`, [move]);
    await world.westDb.query(`update tandem.serving set epoch = 2 where site = 'west'`);
    const serve = step('serve-users', move, 2);
    await world.westDb.query(`update tandem.closed set kind = 'fork'`);
    expect(await kindOf(serveUsers(site, serve))).toBe('site-closed');
    await world.westDb.query(`update tandem.closed set kind = 'was-down'`);
    expect((await serveUsers(site, serve)).summary).toContain('it was closed since');
    expect([await closedAs(), await serves()]).toEqual([null, 5]);
  });
});
