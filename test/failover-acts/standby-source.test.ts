import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { probeContacts } from '../../activities/probes/contacts.ts';
import { makePlan } from '../../activities/services/plan.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import { restoreContacts } from '../../activities/services/restore.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import type { VaultAccess } from '../../activities/settings.ts';
import { checkKey } from '../../activities/vault/checks.ts';
import { openSnapshot } from '../../activities/vault/open.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal } from '../../activities/vault/signed.ts';
import { takeSnapshot } from '../../activities/vault/snapshot.ts';
import type { Act } from '../../workflows/model/acts.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { FailoverInput } from '../../workflows/model/moves.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { blackHole, type BlackHole } from '../rig/black-holes.ts';
import { coverEast } from './covered.ts';
import { CUSTOMER, eastAt, input, kindOf, makeWorld, startMove, type World } from './world.ts';

/** The survivor's own vault is away, and the lost site with it: the standby copy in its database is what there is. */

const HOUR = 3_600_000;
let world: World;
let east: S3Vault;
let hole: BlackHole;
let move: string;
const work = { heartbeat: () => undefined, signal: new AbortController().signal };
const contact = (who: string, jid: string): string =>
  `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
   values ('${who}', '${jid}', 'nick', 'B', 'N', '', 'N', '', 'item')`;

beforeAll(async () => {
  hole = await blackHole();
});
afterAll(() => hole.close());
beforeEach(async () => {
  world = await makeWorld();
  east = new S3Vault(world.vaults.east);
  const schema = await readFile(new URL('../../ops/embedded/people/ejabberd.sql', import.meta.url), 'utf8');
  // In the schema of the service, not in ours, which is called as the role is.
  for (const db of [world.eastDb, world.westDb]) await db.query(`set local search_path to public; ${schema}`);
  await world.eastDb.query(`${contact('e1', 'a@x')}; ${contact('e1', 'b@x')}; ${contact('e2', 'a@x')}`);
  move = await startMove(world);
});
afterEach(async () => {
  east.close();
  await world.close();
});

/** A snapshot of east, covered by west and, unless told, in its standby copy. */
async function protect(applied = true): Promise<SnapshotSummary> {
  const { publicKeys } = world.settings;
  const { keys } = world.customer;
  const taken = await coverEast(world, east);
  const { vault } = world.west;
  const database = world.westDb;
  const snapshot = await openSnapshot({ vault, keys, publicKeys, id: taken });
  if (applied) await applyStandby({ database, site: 'west', snapshot, keys, ...work });
  return taken;
}

/** West with its own vault away, and everything of east. */
const alone = (vault: Partial<VaultAccess> = { endpoint: 'http://127.0.0.1:1' }): OwnSite => {
  const { customer, site } = eastAt(world, '127.0.0.1:1');
  return world.westWith({
    ...(customer && { customer }),
    site: { ...site, vault: { ...world.settings.vault, ...vault } },
  });
};
const plan = (site: OwnSite, change: Partial<FailoverInput> = {}): Promise<Plan> =>
  makePlan(site, { input: input(change), declaredAt: new Date().toISOString() });
const step = (act: Act, made: Plan, round = 0): PlannedStep => ({
  key: { customer: CUSTOMER, epoch: { number: 2, site: 'west', move }, step: act, round },
  act,
  plan: made,
});
const claim = (): Promise<unknown> =>
  world.westDb.query(
    `update tandem.epoch set number = 2, site = 'west', move = '${move}'; update tandem.serving set epoch = 2 where site = 'west'`,
  );

describe('without any vault a failover never', () => {
  it('plans with a copy that is older than promised without saying so', async () => {
    await protect();
    const disruptedAt = new Date(Date.now() + 30_000).toISOString();
    const fresh = await plan(alone(), { disruptedAt });
    expect(fresh.decisions.acceptedLossMs).toBeNull();
    await world.westDb.query("update tandem.applied set point = point - interval '2 days'");
    const old = await plan(alone(), { disruptedAt });
    expect(old.source.from).toBe('standby-copy');
    expect(old.decisions.acceptedLossMs).toBeGreaterThan(48 * HOUR);
    expect(old.digest).not.toBe(fresh.digest);
  });

  it('takes a copy of after the disruption, of no known time, or of users who were served here since', async () => {
    const { point } = await protect();
    const before = new Date(Date.parse(point) - 1000).toISOString();
    expect(await plan(alone(), { disruptedAt: before }).catch(failureText)).toContain(
      `standby-copy: it holds number 1, of a time after the disruption at ${before}`,
    );
    await world.westDb.query("update tandem.ledger set served_by = 'west' where username like 'e%'");
    expect(await plan(alone()).catch(failureText)).toContain('the ledger has none of these users from east any more');
    await world.westDb.query('update tandem.applied set point = null');
    expect(await plan(alone()).catch(failureText)).toContain('does not tell of which time that is');
  });

  it('waits for a vault that swallows everything', async () => {
    await protect();
    const start = performance.now();
    const { source, notTaken } = await plan(alone({ endpoint: `http://127.0.0.1:${hole.port}` }));
    expect(performance.now() - start).toBeLessThan(14_000);
    expect(source.from).toBe('standby-copy');
    expect(notTaken.map((n) => n.from)).toEqual(['source-vault', 'own-vault']);
    expect(notTaken[1]?.because).toMatch(/no answer within 10 s; the newest that was pulled into it is number 1/);
  });

  it('lets in a copy older than the one that was signed', async () => {
    await protect();
    const made = await plan(alone());
    await claim();
    await world.westDb.query("update tandem.applied set point = point - interval '1 minute'");
    expect(await kindOf(restoreContacts(alone(), step('restore-contacts', made), work))).toBe('no-recovery-point');
  });

  it('passes a probe over rows that are not those that came, nor over those nobody can judge', async () => {
    await protect();
    const site = alone();
    const made = await plan(site);
    await claim();
    await world.westDb.query("update rosterusers set nick = 'x' where username = 'e1'");
    const { facts, summary } = await restoreContacts(site, step('restore-contacts', made), work);
    expect(facts).toMatchObject({ users: 2, changed: 1, withoutRecord: 0, written: 0, vault: 'none' });
    expect(summary).toContain('1 differ from what came');
    await serveUsers(site, step('serve-users', made));
    expect(await probeContacts(site, step('probe', made), work).catch(failureText)).toBe(
      `${CUSTOMER}: 0 of 3 users of east are not served here, the rows of 1 users differ from the ledger`,
    );
    // Another who changes his own has not been told of by the restore: he hides nobody.
    await world.westDb.query(contact('e2', 'own@x'));
    expect(await probeContacts(site, step('probe', made), work).catch(failureText)).toContain('the rows of 1 users');
    await world.westDb.query("update rosterusers set nick = 'nick' where username = 'e1'");
    const other = { current: 'k2', ring: new Map([['k2', Buffer.alloc(32, 7)]]) };
    const keyless = world.westWith({
      customer: { keys: other },
      site: { vault: { ...world.settings.vault, endpoint: 'http://127.0.0.1:1' } },
    });
    expect(await probeContacts(keyless, step('probe', made), work).catch(failureText)).toContain(
      'of 3 nobody can tell',
    );
  });
});

describe('without any vault a failover', () => {
  it('plans the same as with it but for what cannot be proven, restores from the copy and proves it by the ledger', async () => {
    const taken = await protect();
    await world.westDb.query("insert into tandem.home values ('e4', 'east'), ('e5', 'east')");
    await world.westDb.query(contact('e5', 'stray@x'));
    const disruptedAt = new Date().toISOString();
    const whole = world.westWith(eastAt(world, '127.0.0.1:1'));
    const made = await plan(alone(), { disruptedAt });
    const withVault = await plan(whole, { disruptedAt });
    expect(withVault.source.from).toBe('own-vault');
    expect(made.source).toMatchObject({ from: 'standby-copy', applied: true, point: taken.point });
    // All that people decide is the same, and that the survivor cannot prove its vault is for them to accept.
    expect(made.decisions).toEqual({ ...withVault.decisions, acceptances: ['survivor-unproven'] });
    const site = alone();
    await claim();
    const restored = await restoreContacts(site, step('restore-contacts', made), work);
    expect(restored.facts).toMatchObject({
      users: 3,
      written: 0,
      contacts: 3,
      held: 1,
      withoutRecord: 1,
      from: 'standby-copy',
    });
    expect(restored.summary).toContain('no vault was read');
    await serveUsers(site, step('serve-users', made));
    const probed = await probeContacts(site, step('probe', made), work);
    expect(probed.summary).toContain('3 were compared by the ledger of the standby copy, no vault was read');
    expect(probed.facts).toMatchObject({ mismatches: 0, compared: 3, vault: 'none' });
    await world.westDb.query("delete from rosterusers where username = 'e1'"); // His own doing: he is served.
    const { facts, summary } = await probeContacts(site, step('probe', made, 1), work);
    expect(facts).toMatchObject({ mismatches: 0, compared: 3, changed: 1 });
    expect(summary).toContain('1 have changed theirs since they were brought');
  });

  it('plans so when its vault refuses everything', async () => {
    await protect();
    expect((await plan(alone({ secretAccessKey: 'wrong' }))).source.from).toBe('standby-copy');
  });

  it('takes the copy also when the vault answers, and holds only something older', async () => {
    await protect();
    const second = await protect();
    const { vault } = world.west;
    const now = new Date().toISOString();
    const damaged = [{ object: 'pack' as const, key: 'k', gen: second.gen, seqs: [second.seq], because: 'a bit' }];
    const strays = { versions: 0, markers: 0, unknown: 0, keys: [] };
    const check = {
      format: 1 as const,
      customer: CUSTOMER,
      site: 'west',
      of: 'east',
      startedAt: now,
      endedAt: now,
      snapshots: 2,
      counted: 2,
      packs: 1,
      bytes: 1,
      damaged,
      repaired: [],
      strays,
    };
    await vault.put(checkKey(check), seal('check', 'west', world.keys.west, check));
    const made = await plan(world.westWith(eastAt(world, '127.0.0.1:1')));
    expect(made.source).toMatchObject({ from: 'standby-copy', snapshot: { seq: second.seq } });
    expect(made.notTaken.at(-1)?.because).toBe('its number 1 is older than the standby copy');
  });
});

describe('a lost vault that fails while it is read', () => {
  it('is replaced by this site’s own, which is as new as was signed', async () => {
    const first = await protect();
    await world.eastDb.query(contact('e3', 'late@x'));
    await takeSnapshot({
      customer: CUSTOMER,
      keys: world.customer.keys,
      publicKeys: world.settings.publicKeys,
      vault: east,
      database: world.eastDb,
      site: 'east',
      signingKey: world.keys.east,
      read: 'all',
      maxAgeMs: 60_000,
      ...work,
    });
    await world.eastDb.query('update tandem.serving set epoch = 0');
    const made = await plan(world.west);
    expect(made).toMatchObject({ source: { from: 'source-vault' }, fallback: { from: 'own-vault' } });
    expect(made.decisions.recoveryPoint).toBe(first.point);
    await claim();
    const dead = world.westWith(eastAt(world, '127.0.0.1:1'));
    const { facts, summary } = await restoreContacts(dead, step('restore-contacts', made), work);
    expect(facts).toMatchObject({ from: 'own-vault', users: 3 });
    expect(summary).toContain('not from source-vault');
    await serveUsers(dead, step('serve-users', made));
    expect((await probeContacts(dead, step('probe', made), work)).facts).toMatchObject({ mismatches: 0, compared: 3 });
  });
});

describe('its own vault that fails while it is read', () => {
  it('is replaced by the standby copy, when that holds the same snapshot', async () => {
    await protect();
    await world.eastDb.query('update tandem.serving set epoch = 0');
    const made = await plan(world.west);
    expect(made).toMatchObject({ source: { from: 'own-vault' }, fallback: { from: 'standby-copy' } });
    expect(made.fallback?.snapshot).toEqual(made.source.snapshot);
    await claim();
    const { facts, summary } = await restoreContacts(alone(), step('restore-contacts', made), work);
    expect(facts).toMatchObject({ from: 'standby-copy', users: 3 });
    expect(summary).toContain('not from own-vault');
    await serveUsers(alone(), step('serve-users', made));
    const probed = await probeContacts(alone(), step('probe', made), work);
    expect(probed.facts).toMatchObject({ mismatches: 0, compared: 3 });
  });

  it('has no second source when the copy does not hold that one yet', async () => {
    await protect();
    await protect(false);
    await world.eastDb.query('update tandem.serving set epoch = 0');
    const newer = await plan(world.west);
    expect([newer.source.snapshot.seq, newer.fallback]).toEqual([2, undefined]);
  });
});
