import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { readJournal } from '../../activities/journal/chain.ts';
import { probeContacts } from '../../activities/probes/contacts.ts';
import { makePlan } from '../../activities/services/plan.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import { restoreContacts } from '../../activities/services/restore.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import type { ApplyCounts, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { openSnapshot } from '../../activities/vault/open.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { takeSnapshot } from '../../activities/vault/snapshot.ts';
import type { Act } from '../../workflows/model/acts.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { coverEast } from './covered.ts';
import { CUSTOMER, eastAt, input, makeWorld, startMove, type World } from './world.ts';

/** Contacts of the lost half are as old as the snapshot; those of the survivor's users changed since. */

const DOMAIN = 'contoso.example';
const work = { heartbeat: () => undefined, signal: new AbortController().signal };
let world: World;
let east: S3Vault;
let move: string;

const contact = (who: string, other: string, state: string, nick = ''): string =>
  `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
   values ('${who}', '${other}@${DOMAIN}', '${nick}', '${state}', 'N', '', 'N', '', 'item')`;

beforeEach(async () => {
  world = await makeWorld();
  east = new S3Vault(world.vaults.east);
  const schema = await readFile(new URL('../../ops/embedded/people/ejabberd.sql', import.meta.url), 'utf8');
  for (const db of [world.eastDb, world.westDb]) await db.query(`set local search_path to public; ${schema}`);
  await world.eastDb.query(
    [
      contact('e1', 'w1', 'B', 'Wanda'),
      contact('e1', 'w2', 'B'),
      contact('e2', 'w1', 'B'),
      contact('e3', 'w2', 'N'),
    ].join(';'),
  );
  // Since then w1 took his presence from e1, and was taken hers; w2 removed e1, accepted e2, and was accepted by e3 whom she blocks.
  await world.westDb.query(
    [contact('w1', 'e1', 'N'), contact('w1', 'e2', 'B'), contact('w2', 'e2', 'F'), contact('w2', 'e3', 'T')].join(';'),
  );
  await world.westDb.query(
    `insert into privacy_list (username, name, id) values ('w2', 'Blocked contacts', 7);
     insert into privacy_list_data (id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out)
       values (7, 'j', 'e3@${DOMAIN}', 'd', 0, true, false, false, false, false)`,
  );
  move = await startMove(world);
});
afterEach(async () => {
  east.close();
  await world.close();
});

/** A snapshot of one site at the other, and in the standby copy there when told. */
const protect = (): Promise<SnapshotSummary> => coverEast(world, east);
async function apply(id: SnapshotSummary): Promise<ApplyCounts> {
  const { keys } = world.customer;
  const snapshot = await openSnapshot({ vault: world.west.vault, keys, publicKeys: world.settings.publicKeys, id });
  return applyStandby({ database: world.westDb, site: 'west', snapshot, keys, ...work });
}
/** West without the site that is lost, and without its own vault when told. */
function survivor(vault: boolean): OwnSite {
  const { customer, site } = eastAt(world, '127.0.0.1:1');
  const away = { vault: { ...world.settings.vault, endpoint: 'http://127.0.0.1:1' } };
  return world.westWith({ ...(customer && { customer }), site: { ...site, ...(!vault && away) } });
}
const step = (act: Act, plan: Plan, round = 0): PlannedStep => ({
  key: { customer: CUSTOMER, epoch: { number: 2, site: 'west', move }, step: act, round },
  act,
  plan,
});
async function begin(site: OwnSite): Promise<Plan> {
  const plan = await makePlan(site, { input: input(), declaredAt: new Date().toISOString() });
  await world.westDb.query(`update tandem.epoch set number = 2, site = 'west', move = '${move}'`);
  await world.westDb.query("update tandem.serving set epoch = 2 where site = 'west'");
  return plan;
}
const rowsOf = (half: string, db = world.westDb): Promise<Record<string, unknown>[]> =>
  db.query(
    `select username || ' ' || split_part(jid, '@', 1) as pair, nick, subscription, ask from rosterusers
      where username like '${half}%' order by 1`,
  );
const row = (pair: string, subscription: string, nick = ''): object => ({ pair, nick, subscription, ask: 'N' });
const mended = [row('e1 w1', 'N', 'Wanda'), row('e1 w2', 'N'), row('e2 w1', 'B'), row('e2 w2', 'T'), row('e3 w2', 'N')];

describe('a restore never', () => {
  it('leaves contacts mended that its journal does not tell of, or tells of such that are not', async () => {
    await protect();
    const site = survivor(true);
    const plan = await begin(site);
    await world.westDb.query(
      `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'killed'; end $$;
       create trigger refuse before insert on tandem.journal for each row when (new.kind = 'step') execute function refuse()`,
    );
    await expect(restoreContacts(site, step('restore-contacts', plan), work)).rejects.toThrow('killed');
    expect(await rowsOf('e')).toEqual(await rowsOf('e', world.eastDb));
    await world.westDb.query('drop trigger refuse on tandem.journal');
    const { facts } = await restoreContacts(site, step('restore-contacts', plan), work);
    expect(facts).toMatchObject({ written: 0, pairsMended: 3 });
    expect(await rowsOf('e')).toEqual(mended);
  });
});

describe.each([['a vault', true] as const, ['the standby copy', false] as const])('from %s a restore', (_, vault) => {
  it('mends what is older than its peers, tells so without a name, and is verified as it stands', async () => {
    const taken = await protect();
    if (!vault) await apply(taken);
    const site = survivor(vault);
    const plan = await begin(site);
    expect(plan.source.from).toBe(vault ? 'own-vault' : 'standby-copy');
    const theirs = await world.westDb.query(
      "select r.*, ctid::text from rosterusers r where username like 'w%' order by username, jid",
    );
    const told = await restoreContacts(site, step('restore-contacts', plan), work);
    expect(told.summary).toMatch(
      /; subscriptions: 4 of 5 pairs disagreed, 3 mended from the current side, 1 left because of a block$/,
    );
    expect(told.facts).toMatchObject({
      pairs: 5,
      pairsDisagreed: 4,
      pairsMended: 3,
      pairsBlocked: 1,
      pairsOneSided: 0,
    });
    expect(await rowsOf('e')).toEqual(mended);
    expect(
      await world.westDb.query(
        "select r.*, ctid::text from rosterusers r where username like 'w%' order by username, jid",
      ),
    ).toEqual(theirs);
    await serveUsers(site, step('serve-users', plan));
    const probed = await probeContacts(site, step('probe', plan), work);
    expect(probed.facts).toMatchObject({ users: 3, unserved: 0, mismatches: 0, contacts: 5 });
    const lines = await world.westDb.connection((client) => readJournal(client, move));
    expect(JSON.stringify(lines)).not.toMatch(/\b[ew][123]\b|Wanda/);
    // A row that somebody else changed is none that was mended.
    await world.westDb.query("update rosterusers set subscription = 'B' where username = 'e1' and jid like 'w2@%'");
    expect((await probeContacts(site, step('probe', plan, 1), work)).facts).toMatchObject({
      mismatches: 0,
      changed: 1,
    });
  });

  it('that is repeated brings nobody back, and mends what changed since', async () => {
    const taken = await protect();
    if (!vault) await apply(taken);
    const site = survivor(vault);
    const plan = await begin(site);
    const once = await restoreContacts(site, step('restore-contacts', plan), work);
    expect(await restoreContacts(site, step('restore-contacts', plan), work)).toEqual(once);
    const again = await restoreContacts(site, step('restore-contacts', plan, 1), work);
    expect(again.facts).toMatchObject({ users: 3, written: 0, pairsDisagreed: 1, pairsMended: 0, pairsBlocked: 1 });
    expect(await rowsOf('e')).toEqual(mended);
    await world.westDb.query(`delete from rosterusers where username = 'w2' and jid = 'e2@${DOMAIN}'`);
    expect((await restoreContacts(site, step('restore-contacts', plan, 2), work)).facts).toMatchObject({
      pairsMended: 1,
    });
    await serveUsers(site, step('serve-users', plan));
    expect((await probeContacts(site, step('probe', plan), work)).facts).toMatchObject({ mismatches: 0 });
  });
});

describe('a long wait between the restore and the right to serve', () => {
  const since = (minutes: number): Promise<unknown> =>
    world.westDb.query(`update tandem.journal set at = now() - interval '${minutes} min' where key like 'effect/%'`);
  const removes = (who: string, other: string): Promise<unknown> =>
    world.westDb.query(`delete from rosterusers where username = '${who}' and jid = '${other}@${DOMAIN}'`);

  it('undoes nothing of what a user changed himself once he was served', async () => {
    await protect();
    const site = survivor(true);
    const plan = await begin(site);
    await restoreContacts(site, step('restore-contacts', plan), work);
    await serveUsers(site, step('serve-users', plan));
    await since(10);
    await removes('e2', 'w2');
    await serveUsers(site, step('serve-users', plan));
    expect((await rowsOf('e')).map(({ pair }) => pair)).not.toContain('e2 w2');
  });

  it('keeps nobody from being served, when what changed since cannot be brought over', async () => {
    await protect();
    const site = survivor(true);
    const plan = await begin(site);
    await restoreContacts(site, step('restore-contacts', plan), work);
    await since(10);
    await removes('w2', 'e2');
    await world.westDb.query(
      `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no room'; end $$;
       create trigger refuse before update on rosterusers for each row execute function refuse()`,
    );
    const { summary, alarms } = await serveUsers(site, step('serve-users', plan));
    expect(summary).toMatch(/^west serves the 3 users of east under epoch 2$/);
    expect(alarms).toEqual([expect.stringMatching(/^contacts of east are as they were restored: .*no room/)]);
    expect(await rowsOf('e')).toEqual(mended);
  });

  it('is made up for in the moment in which they are served', async () => {
    await protect();
    const site = survivor(true);
    const plan = await begin(site);
    await restoreContacts(site, step('restore-contacts', plan), work);
    await since(10);
    await removes('w2', 'e2');
    const { summary } = await serveUsers(site, step('serve-users', plan));
    expect(summary).toMatch(
      /; since they were restored, 2 of 3 pairs disagreed, 1 mended from the current side, 1 left because of a block$/,
    );
    expect(await rowsOf('e')).toContainEqual(row('e2 w2', 'N'));
    expect((await probeContacts(site, step('probe', plan), work)).facts).toMatchObject({ mismatches: 0 });
  });
});

describe('what was mended', () => {
  it('is in the next snapshot of the survivor like any other change, and forgotten as a mending', async () => {
    await protect();
    const site = survivor(true);
    const plan = await begin(site);
    await restoreContacts(site, step('restore-contacts', plan), work);
    await serveUsers(site, step('serve-users', plan));
    const { keys } = world.customer;
    const { publicKeys } = world.settings;
    const { vault } = world.west;
    const at = { database: world.westDb, site: 'west', signingKey: world.keys.west };
    const take = (read: 'all' | 'changes'): Promise<SnapshotSummary> =>
      takeSnapshot({ customer: CUSTOMER, keys, publicKeys, ...work, ...at, vault, read, maxAgeMs: 60_000 });
    await take('all');
    expect(await world.westDb.query('select from tandem.mended')).toEqual([]);
    await world.westDb.query("update rosterusers set subscription = 'B' where username = 'w2' and jid like 'e2@%'");
    // As long as this is the survivor's own half nothing is restored again; a snapshot of differences sees only hers.
    const snapshot = await openSnapshot({ vault, keys, publicKeys, id: await take('changes') });
    const found = new Map<string, string[]>();
    for await (const { username, rows } of snapshot.records())
      found.set(
        username,
        rows.contacts.map(([jid, nick, subscription]) => `${jid?.split('@')[0]} ${nick} ${subscription}`),
      );
    expect(Object.fromEntries(found)).toEqual({
      e1: ['w1 Wanda N', 'w2  N'],
      e2: ['w1  B', 'w2  T'],
      e3: ['w2  N'],
      w1: ['e1  N', 'e2  B'],
      w2: ['e2  B', 'e3  T'],
    });
  });

  it('is no conflict of the standby copy when the lost site serves again', async () => {
    await protect();
    const site = survivor(true);
    await restoreContacts(site, step('restore-contacts', await begin(site)), work);
    for (const db of [world.eastDb, world.westDb])
      await db.query(
        "update tandem.epoch set number = 3, site = 'west', move = 'back'; update tandem.serving set epoch = 3",
      );
    await world.eastDb.query("update rosterusers set nick = 'W' where username = 'e1' and jid like 'w1@%'");
    const counts = await apply(await protect());
    expect(counts).toMatchObject({ users: 3, written: 1, conflicts: 0 });
    expect((await rowsOf('e')).filter(({ pair }) => String(pair).startsWith('e1'))).toEqual([
      row('e1 w1', 'B', 'W'),
      row('e1 w2', 'B'),
    ]);
    expect(await world.westDb.query('select username from tandem.mended')).toEqual([{ username: 'e2' }]);
  });
});
