import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Client } from 'pg';
import { forgetDifferences } from '../../activities/contacts/reconcile.ts';
import {
  previewReconciliation,
  readReconciled,
  reconcileContacts,
  salvageContacts,
} from '../../activities/services/reconcile.ts';
import { findReconciliation } from '../../activities/services/reconciliation.ts';
import { KEEP_MS } from '../../activities/vault/generation.ts';
import { packKey } from '../../activities/vault/pack-reader.ts';
import { readSalvage, salvagePlace } from '../../activities/vault/open-salvage.ts';
import { takeSnapshot } from '../../activities/vault/snapshot.ts';
import { openSnapshot } from '../../activities/vault/open.ts';
import type { Reconciliation } from '../../workflows/model/planned-move.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { scratchVaults } from '../rig/vaults.ts';
import { copyVault, flipped } from '../vault/damage.ts';
import { contact, denial, DOMAIN, openReturned, work, type Returned } from './returned.ts';
import { CUSTOMER } from './world.ts';

let here: Returned;
const jid = (who: string): string => `${who}@${DOMAIN}`;
const before = [
  contact('e1', jid('w1')),
  contact('e1', jid('e3')),
  contact('e3', jid('e1')),
  contact('e1', 'old@x.example'),
  contact('e1', 'gone@x.example'),
  contact('e2', 'both@x.example', 'B', 'Bo'),
  denial('e2', 'past@x.example', 1),
].join('');
/** e1 gained two, removed one and let go of e3; e2 renamed one and denied another. Neither w2 nor e3 say the same. */
const unsent = [
  contact('e1', 'unsent@x.example'),
  contact('e1', jid('w2')),
  "delete from rosterusers where username = 'e1' and jid = 'gone@x.example';",
  `update rosterusers set subscription = 'N' where username = 'e1' and jid = '${jid('e3')}';`,
  "update rosterusers set nick = 'Bob' where username = 'e2';",
  denial('e2', 'new@x.example', 2),
].join('');

beforeEach(async () => {
  here = await openReturned({ before, current: contact('w1', jid('e1')), unsent });
});
afterEach(() => here.close());

const find = (rule: Reconciliation['rule'] = 'survivor') =>
  findReconciliation(here.west, here.world.customer, ['east'], rule, work.signal);
async function found(rule?: Reconciliation['rule']): Promise<Reconciliation> {
  await here.salvage();
  const { reconcile, why } = await find(rule);
  if (!reconcile) throw new Error(`${why}`);
  return reconcile;
}
const contacts = async (who: string): Promise<string[]> =>
  (
    await here.world.westDb.query('select jid, nick, subscription from rosterusers where username = $1 order by jid', [
      who,
    ])
  ).map((r) => [r['jid'], r['nick'], r['subscription']].join(' '));
const denied = async (who: string): Promise<string[]> =>
  (
    await here.world.westDb.query(
      "select value from privacy_list_data join privacy_list using (id) where username = $1 and action = 'd' order by value",
      [who],
    )
  ).map((r) => String(r['value']));
const everything = () =>
  here.world.westDb.query(
    `select 'r' as t, username, jid as a, nick || subscription || ask as b, ctid::text from rosterusers
      union all select 'l', username, name, id::text, ctid::text from privacy_list
      union all select 'i', id::text, value, action || ord, ctid::text from privacy_list_data order by 1, 2, 3`,
  );

describe('what the destination alone has', () => {
  it('blocks the plan until it is salvaged, is found with what both sides began with, and is none once released', async () => {
    expect(await find()).toMatchObject({
      reconcile: null,
      why: expect.stringMatching(/epoch 1.*not salvaged yet/) as string,
    });
    const reconcile = await found('home');
    expect(reconcile).toMatchObject({
      rule: 'home',
      salvage: { epoch: 1 },
      base: { from: 'own-vault', snapshot: { site: 'east', seq: 1 } },
    });
    expect(await find()).toMatchObject({ why: null, notes: [], counts: { users: 3, contacts: 7 } });
    const { facts } = await salvageContacts(here.west, here.step('salvage-contacts', reconcile), work);
    expect(facts).toMatchObject({ users: 3, contacts: 7, suspect: false, baseUsers: 3 });
    await here.world.eastDb.query('update tandem.salvage set released_at = now()');
    expect(await find()).toMatchObject({ reconcile: null, why: null });
  });

  it('began with the same snapshot in a fork, in which it went on under the very number of the failover here', async () => {
    await here.world.eastDb.query('update tandem.salvage set epoch = 2');
    const reconcile = await found();
    expect(reconcile).toMatchObject({ salvage: { epoch: 2 }, base: { from: 'own-vault', snapshot: { seq: 1 } } });
    await reconcileContacts(here.west, here.step('reconcile-contacts', reconcile), work);
    expect(await contacts('e2')).toEqual(['both@x.example Bob B']);
    expect(await contacts('e1')).not.toContain('gone@x.example  B');
  });

  it('is read to its end before anything is written by it: a damaged pack stops the move', async () => {
    const reconcile = await found();
    const { publicKeys } = here.world.settings;
    const signed = await readSalvage({ vault: here.east, customer: CUSTOMER, site: 'east', publicKeys }, 1);
    const [pack] = signed?.salvage.packs ?? [];
    if (!pack) throw new Error('no pack');
    const key = packKey(salvagePlace(CUSTOMER, 'east', 1), pack.sha256);
    const damaged = await scratchVaults({ locks: false });
    const copy = new S3Vault(damaged.east);
    await copyVault(here.east, copy, (of, bytes) => (of === key ? flipped(bytes, 100) : bytes));
    copy.close();
    const west = here.world.westWith({ site: { peerVaults: new Map([['east', damaged.eastReader]]) } });
    const step = here.step('salvage-contacts', reconcile);
    await expect(salvageContacts(west, step, work)).rejects.toMatchObject({ type: 'snapshot-damaged' });
    const other = { ...reconcile, salvage: { ...reconcile.salvage, manifest: 'f'.repeat(64) } };
    await expect(salvageContacts(here.west, here.step('salvage-contacts', other), work)).rejects.toMatchObject({
      type: 'snapshot-damaged',
    });
  });
});

describe('a reconciliation', () => {
  it('keeps what a signed-in user does while it writes, and every denial of either side', async () => {
    const reconcile = await found('home');
    await here.world.westDb.query("delete from privacy_list_data where value = 'past@x.example'");
    const user = new Client({ connectionString: here.world.urls.west });
    await user.connect();
    try {
      await user.query('begin');
      await user.query(denial('e2', 'meanwhile@x.example', 9));
      await user.query(contact('e1', 'meanwhile@x.example'));
      const step = here.step('reconcile-contacts', reconcile);
      const running = reconcileContacts(here.west, step, work);
      const waiting = () =>
        here.world.westDb.query("select from pg_locks where not granted and relation = 'rosterusers'::regclass");
      await expect.poll(waiting).not.toHaveLength(0);
      await user.query('commit');
      expect((await running).facts).toMatchObject({ users: 2, written: 2, denyKept: 1, already: 0, pairsMended: 2 });
    } finally {
      await user.end();
    }
    expect(await denied('e2')).toEqual(['meanwhile@x.example', 'new@x.example', 'past@x.example']);
    expect(await contacts('e2')).toEqual(['both@x.example Bob B']);
    // w2, who is served here, knows nothing of e1.
    expect(await contacts('e1')).toEqual(
      [
        'meanwhile@x.example  B',
        'old@x.example  B',
        'unsent@x.example  B',
        `${jid('e3')}  N`,
        `${jid('w1')}  B`,
        `${jid('w2')}  N`,
      ].toSorted(),
    );
  });

  it('changes nothing a second time, also not what a user has changed since, and the next snapshot has it all', async () => {
    const { world, west } = here;
    const { keys } = world.customer;
    const { publicKeys, signingKey } = world.settings;
    const snap = {
      customer: CUSTOMER,
      keys,
      publicKeys,
      vault: west.vault,
      database: world.westDb,
      site: 'west',
      ...work,
    };
    await takeSnapshot({ ...snap, signingKey, read: 'all', maxAgeMs: 60_000 });
    const reconcile = await found();
    const preview: string[] = [];
    const counts = await previewReconciliation(
      west,
      CUSTOMER,
      [{ halves: ['east'], reconcile }],
      (u) => preview.push(u.username),
      work,
    );
    expect([preview.toSorted(), counts.changes, counts.suspect]).toEqual([['e1', 'e2'], 2, null]);
    const first = await reconcileContacts(west, here.step('reconcile-contacts', reconcile), work);
    expect(await reconcileContacts(west, here.step('reconcile-contacts', reconcile), work)).toEqual(first);
    const taken = await takeSnapshot({ ...snap, signingKey, read: 'changes', maxAgeMs: 60_000 });
    const opened = await openSnapshot({ ...snap, id: taken });
    // Nothing else of e3 has changed since the snapshot before.
    const copied = async (who: string) =>
      (await opened.record(who))?.rows.contacts.map(([other, , state]) => `${other} ${state}`);
    expect(await copied('e3')).toEqual([`${jid('e1')} N`]);
    expect(await copied('e1')).toEqual(expect.arrayContaining(['unsent@x.example B', `${jid('w2')} N`]));
    const told = await readReconciled(west, CUSTOMER, { username: 'e1' });
    await world.westDb.query("update tandem.reconciled set at = now() - interval '36 days' where username = 'e1'");
    await forgetDifferences(world.westDb, KEEP_MS);
    await world.westDb.query("delete from rosterusers where jid = 'unsent@x.example'");
    const stands = await everything();
    const again = await reconcileContacts(west, here.step('reconcile-contacts', reconcile, 1), work);
    expect(again.facts).toMatchObject({ users: 2, written: 0, already: 2, pairsMended: 0 });
    expect(await everything()).toEqual(stands);
    expect(told).toMatchObject([{ move: here.move, written: true }]);
    expect((await readReconciled(west, CUSTOMER, { move: here.move })).map((u) => u.differences.length)).toEqual([
      0, 2,
    ]);
    expect(told[0]?.differences).toContainEqual({
      kind: 'contact',
      key: ['unsent@x.example'],
      won: 'salvage',
      why: 'one-sided',
    });
    expect(JSON.stringify(await world.westDb.query('select body from tandem.journal'))).not.toContain('unsent@');
  });

  it('takes nothing away by a suspect salvage, and tells so', async () => {
    await here.world.eastDb.query(
      "update tandem.identity set id = gen_random_uuid(); delete from rosterusers where username = 'e1'",
    );
    const reconcile = await found();
    const stood = await contacts('e1');
    const { facts, alarms } = await reconcileContacts(here.west, here.step('reconcile-contacts', reconcile), work);
    expect(alarms?.join()).toMatch(/suspect.*nothing that is missing there counts as removed/);
    expect(facts).toMatchObject({ written: 1, suspect: true });
    expect(await contacts('e1')).toEqual(stood);
    expect(await denied('e2')).toEqual(['new@x.example', 'past@x.example']);
  });

  it('writes nothing under an epoch that another move has overtaken', async () => {
    const reconcile = await found();
    await here.world.westDb.query("update tandem.epoch set number = 4, site = 'east', move = 'other'");
    const stood = await everything();
    for (const [act, perform] of [
      ['reconcile-contacts', reconcileContacts],
      ['salvage-contacts', salvageContacts],
    ] as const)
      await expect(perform(here.west, here.step(act, reconcile), work)).rejects.toMatchObject({
        type: 'epoch-superseded',
      });
    expect(await everything()).toEqual(stood);
  });
});
