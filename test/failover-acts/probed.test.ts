import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestsOfLedger, digestUsers } from '../../activities/contacts/digests.ts';
import { probeContacts } from '../../activities/probes/contacts.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { makePlan } from '../../activities/services/plan.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import { restoreContacts } from '../../activities/services/restore.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { Act } from '../../workflows/model/acts.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { contact, coverEast, work } from './covered.ts';
import { CUSTOMER, eastAt, input, makeWorld, startMove, step as stepOf, type World } from './world.ts';

/** West has served the users of east since a moment ago, and looks at what they find. */

let world: World;
let east: S3Vault;
let lost: OwnSite;
let move: string;

beforeEach(async () => {
  world = await makeWorld();
  east = new S3Vault(world.vaults.east);
  const schema = await readFile(new URL('../../ops/embedded/people/ejabberd.sql', import.meta.url), 'utf8');
  for (const db of [world.eastDb, world.westDb]) await db.query(`set local search_path to public; ${schema}`);
  await world.eastDb.query(`${contact('e1', 'a@x')}; ${contact('e1', 'b@x')}; ${contact('e2', 'a@x')}`);
  lost = world.westWith(eastAt(world, '127.0.0.1:1'));
  move = await startMove(world);
});
afterEach(async () => {
  east.close();
  await world.close();
});

const step = (act: Act, plan: Plan, round = 0): PlannedStep => ({
  ...stepOf(act, move, plan.decisions.epoch, undefined, round),
  plan,
});

/** The ledger vouches for the rows as they stand, as after a restore that wrote them so. */
const vouch = (...names: string[]): Promise<void> =>
  world.westDb.transaction(async (client) => {
    const digests = await digestsOfLedger(client, world.customer.keys, ['east']);
    if (!digests) throw new Error('no ledger');
    for (const [name, digest] of await digestUsers(client, digests, names))
      await client.query('update tandem.ledger set digest = $2 where username = $1', [name, digest]);
  });

async function served(): Promise<Plan> {
  await coverEast(world, east);
  const made = await makePlan(lost, { input: input(), declaredAt: new Date().toISOString() });
  await advanceEpoch(lost, step('advance-epoch', made));
  await restoreContacts(lost, step('restore-contacts', made), work);
  await serveUsers(lost, step('serve-users', made));
  return made;
}

describe('probe never passes', () => {
  it('while the restore got a row wrong, left one out, or a user is not served; and names nobody', async () => {
    const made = await served();
    await world.westDb.query("update rosterusers set nick = 'x' where username = 'e1' and jid = 'a@x'");
    await world.westDb.query("delete from rosterusers where username = 'e2'");
    await vouch('e1', 'e2');
    const told = await probeContacts(lost, step('probe', made), work).catch(failureText);
    expect(told).toBe(`${CUSTOMER}: 0 of 3 users of east are not served here, 3 rows differ from the snapshot`);
    await world.westDb.query("update tandem.serving set epoch = 0 where half = 'east'");
    expect(await probeContacts(lost, step('probe', made), work).catch(failureText)).toContain('3 of 3 users');
  });

  it('over rows of users whom no ledger knows', async () => {
    const made = await served();
    await world.westDb.query("delete from rosterusers where username = 'e2'");
    await world.westDb.query("delete from tandem.ledger where username = 'e2'");
    expect(await probeContacts(lost, step('probe', made), work).catch(failureText)).toContain('1 rows differ');
  });

  it('when more users have other rows than can have changed them themselves', async () => {
    for (const db of [world.eastDb, world.westDb])
      await db.query("insert into tandem.home select 'e' || n, 'east' from generate_series(10, 110) n");
    await world.eastDb.query(
      `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
       select 'e' || n, 'a@x', 'nick', 'B', 'N', '', 'N', '', 'item' from generate_series(10, 110) n`,
    );
    const made = await served();
    await world.westDb.query("update rosterusers set nick = 'x' where username like 'e___'");
    expect((await probeContacts(lost, step('probe', made), work)).facts).toMatchObject({ mismatches: 0, changed: 11 });
    await world.westDb.query("delete from rosterusers where username like 'e__' or username like 'e___'");
    expect(await probeContacts(lost, step('probe', made, 1), work).catch(failureText)).toBe(
      `${CUSTOMER}: 101 of 104 users of east have other rows than they were brought, more than the 100 who are taken to have changed them themselves`,
    );
  });
});

describe('users who are served while the probe looks', () => {
  it('change their rows, and are counted', async () => {
    const made = await served();
    await world.westDb.query("update rosterusers set nick = 'x' where username = 'e1' and jid = 'a@x'");
    await world.westDb.query("delete from rosterusers where username = 'e2'");
    const { summary, facts } = await probeContacts(lost, step('probe', made), work);
    expect(facts).toMatchObject({ compared: 3, mismatches: 0, changed: 2 });
    expect(summary).toContain('none differs; 2 have changed theirs since they were brought');
  });

  it('are counted still when a snapshot of this site has them', async () => {
    const made = await served();
    await world.westDb.query("update rosterusers set nick = 'x' where username = 'e1' and jid = 'a@x'");
    await world.westDb.query(
      `update tandem.ledger set served_by = 'west', epoch = ${made.decisions.epoch} where username = 'e1'`,
    );
    await vouch('e1');
    expect((await probeContacts(lost, step('probe', made), work)).facts).toMatchObject({ mismatches: 0, changed: 1 });
  });
});
