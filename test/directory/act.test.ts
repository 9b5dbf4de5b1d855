import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { applyEntitlements } from '../../activities/directory/act.ts';
import { followDirectory } from '../../activities/directory/follow.ts';
import { checkEffect } from '../../activities/services/check.ts';
import { makePlan } from '../../activities/services/plan.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import type { DirectorySettings } from '../../activities/settings.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { CUSTOMER, input, kindOf, makeWorld, startMove, step, type World } from '../failover-acts/world.ts';
import { blackHole, type BlackHole } from '../rig/black-holes.ts';

/** The act `apply-entitlements`, and what a plan tells of the directory. */

let world: World;
let move: string;
let hole: BlackHole;
const never = new AbortController().signal;

beforeAll(async () => {
  hole = await blackHole();
});
afterAll(() => hole.close());
beforeEach(async () => {
  world = await makeWorld();
  move = await startMove(world);
  await epochIs(2, move);
  await entitle('e1', 'e2', 'e3', 'w1', 'w2');
});
afterEach(() => world.close());

const table: DirectorySettings = { source: { kind: 'table' }, everyMs: 300_000, removalsShare: 0.02 };
const ldapAt = (port: number): DirectorySettings => ({
  ...table,
  source: {
    kind: 'ldap',
    ldap: {
      url: `ldaps://127.0.0.1:${port}`,
      tls: 'implicit',
      ca: null,
      bind: { dn: 'cn=tandem', password: 'x' },
      base: 'dc=example',
      filter: '(objectClass=person)',
      attributes: { username: 'uid', entitlement: { name: 'x', value: null }, home: null, credentials: null },
    },
  },
});
const westWith = (directory: DirectorySettings): OwnSite => world.westWith({ customer: { directory } });
const entitle = async (...names: string[]): Promise<void> => {
  await world.westDb.query('delete from tandem.directory');
  await world.westDb.query('insert into tandem.directory (username) select unnest($1::text[])', [names]);
};
const epochIs = (number: number, by: string): Promise<unknown> =>
  world.westDb.query("update tandem.epoch set number = $1, site = 'west', move = $2", [number, by]);
const follow = (): Promise<unknown> =>
  followDirectory({ site: 'west', customer: world.customer, settings: table, signal: never });
const entitlements = (epoch = 2, round = 0, timeoutMs = 300_000): PlannedStep => {
  const { plan, ...rest } = step('apply-entitlements', move, epoch, undefined, round);
  const steps = [{ id: rest.key.step, act: rest.act, timeoutMs }];
  return { ...rest, plan: { ...plan, decisions: { ...plan.decisions, steps } } as Plan };
};
const apply = (site: OwnSite, epoch = 2, round = 0): Promise<StepResult> =>
  applyEntitlements(site, entitlements(epoch, round), never);
/** An attempt may take 6 s. */
const applySoon = (site: OwnSite): Promise<StepResult> => applyEntitlements(site, entitlements(2, 0, 6000), never);
const mayServe = async (user: string): Promise<unknown> =>
  (await world.westDb.query<{ yes: boolean }>('select tandem.may_serve($1) as yes', [user]))[0]?.yes;

describe('apply-entitlements', () => {
  it('never enables or disables anybody for a move that was overtaken, nor in the moment it is', async () => {
    await follow();
    await entitle('e1', 'e2', 'w1', 'w2', 'new');
    await epochIs(3, 'another');
    expect(await kindOf(apply(westWith(table)))).toBe('epoch-superseded');
    expect(await world.westDb.query(`select from tandem.home where username = 'new'`)).toEqual([]);
    expect(await mayServe('e3')).toBe(false); // Nobody serves him, and he is entitled as before:
    expect(await world.westDb.query(`select enabled from tandem.entitlement where username = 'e3'`)).toEqual([
      { enabled: true },
    ]);
  });

  it('takes no answer that came when a newer move had the epoch already', async () => {
    await follow();
    await entitle('e1', 'e2', 'w1', 'w2', 'new');
    let applying: Promise<string> | undefined;
    await world.westDb.transaction(async (client) => {
      await client.query('lock table tandem.directory in access exclusive mode');
      applying = kindOf(apply(westWith(table)));
      await new Promise((resolve) => setTimeout(resolve, 500)); // It has looked at the epoch, and waits for the directory.
      await epochIs(3, 'another');
    });
    expect(await applying).toBe('epoch-superseded');
    expect(await world.westDb.query(`select from tandem.home where username = 'new'`)).toEqual([]);
  });

  it('disables at the survivor whoever was disabled while it was dark, before anybody is served', async () => {
    await follow();
    await entitle('e1', 'e2', 'w1', 'w2');
    const done = await apply(westWith(table));
    expect(done).toMatchObject({ facts: { directory: true, answered: true, entitled: 2, disabled: 1 } });
    expect(done.summary).toMatch(
      /^2 users of east are entitled, 1 are not; the directory's last good answer is 0\.\d s old/,
    );
    const served = await serveUsers(world.west, step('serve-users', move, 2));
    expect(served.summary).toMatch(/serves the 3 users of east under epoch 2; 1 of them are disabled in the directory/);
    expect([await mayServe('e1'), await mayServe('e3')]).toEqual([true, false]);
    await entitle('e1', 'e2', 'e3', 'w1', 'w2');
    expect(await apply(westWith(table))).toEqual(done); // Done is done; a later look is the follower's.
    expect(await apply(westWith(table), 2, 1)).toMatchObject({ facts: { entitled: 3, disabled: 0 } });
  });

  it.each([
    ['refuses', () => 1],
    ['hangs', () => hole.port],
  ])('goes on with the last good answer, and says how old it is, when the directory %s', async (_, port) => {
    await follow();
    await world.westDb.query("update tandem.directory_answer set at = at - interval '2 hours'");
    const begun = performance.now();
    const { summary, facts, alarms } = await applySoon(westWith(ldapAt(port())));
    expect(performance.now() - begun).toBeLessThan(5000);
    expect(facts).toMatchObject({ directory: true, answered: false, entitled: 3, disabled: 0 });
    expect(Number(facts['answerAgeMs'])).toBeGreaterThan(7_190_000);
    expect(summary).toMatch(
      /by the directory's answer of 2 h 00 min ago, because a new one was not taken: (directory ldaps|no whole answer within 3\.0 s)/,
    );
    expect(alarms?.[0]).toMatch(/2 h 00 min/);
  });

  it('obeys the limit of removals: the last good answer stands, and an operator hears of it', async () => {
    await world.westDb.query("insert into tandem.home select 'x' || i, 'east' from generate_series(1, 95) i");
    await entitle(
      ...(await world.westDb.query<{ username: string }>('select username from tandem.home')).map((r) => r.username),
    );
    await follow();
    await entitle('e1', 'w1');
    const { summary, facts, alarms } = await apply(westWith(table));
    expect(facts).toMatchObject({ answered: false, entitled: 98, disabled: 0 });
    expect(summary).toMatch(/it would disable 98 of 100 users, 3 are allowed without an operator/);
    expect(alarms).toHaveLength(1);
    expect(await checkEffect(world.west, step('apply-entitlements', move, 2), never)).toMatchObject({ seen: true });
    expect(await checkEffect(westWith(table), step('apply-entitlements', move, 2), never)).toMatchObject({
      seen: false,
    });
  });

  it('never guesses: a directory that was never believed here stops it', async () => {
    const failed = await apply(westWith(ldapAt(1))).catch((error: unknown) => error);
    expect(await kindOf(Promise.reject(failed))).toBe('directory-unreachable');
    expect(failureText(failed)).toMatch(/nobody knows who is entitled/);
  });

  it('says that there is nothing to ask, where the customer has no directory', async () => {
    expect(await apply(world.west)).toMatchObject({ facts: { directory: false, entitled: 3, disabled: 0 } });
  });
});

describe('a plan', () => {
  const notes = async (site: OwnSite): Promise<string> =>
    (await makePlan(site, { input: input(), declaredAt: new Date().toISOString() })).notes?.join('\n') ?? '';
  beforeEach(async () => {
    // A standby copy to go from: what it holds is of no matter here.
    await world.westDb.query(
      `insert into tandem.applied (customer, site, gen, seq, manifest, point, counts)
       values ($1, 'east', 1, 1, 'm', now() - interval '1 minute', '{"users":0,"contacts":0,"groups":0,"aclItems":0}')`,
      [CUSTOMER],
    );
  });

  it('tells how old the answer is, that one is held, and that none was ever given; nothing without a directory', async () => {
    expect(await notes(world.west)).not.toMatch(/directory/);
    expect(await notes(westWith(ldapAt(1)))).toMatch(/the directory was never believed at this site/);
    await follow();
    await world.westDb.query("update tandem.directory_answer set at = at - interval '3 hours'");
    expect(await notes(westWith(table))).toMatch(
      /the directory's last good answer is 3 h 00 min old: 5 users entitled, 0 disabled/,
    );
    await entitle('e1');
    await follow();
    expect(await notes(westWith(table))).toMatch(/a later one is held: it would disable 4 of 5 users/);
  });
});
