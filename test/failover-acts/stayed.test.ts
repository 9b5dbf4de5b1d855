import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { previewReconciliation, reconcileContacts } from '../../activities/services/reconcile.ts';
import { obeyNewerEpoch } from '../../activities/services/obey.ts';
import { findReconciliation } from '../../activities/services/reconciliation.ts';
import { makeRelocatePlan } from '../../activities/services/plan-relocate.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import { findStayed } from '../../activities/services/stayed.ts';
import { claimInStores } from '../../activities/services/claims.ts';
import { appendJournal } from '../../activities/journal/chain.ts';
import { newestSnapshot } from '../../activities/vault/catalog.ts';
import { readSalvage, salvageKey } from '../../activities/vault/open-salvage.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal, sha256 } from '../../activities/vault/signed.ts';
import { broughtTogether } from '../../workflows/model/planned-move.ts';
import { readout } from '../../workflows/model/readout.ts';
import type { JournalEntry } from '../../workflows/model/moves.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { scratchVaults } from '../rig/vaults.ts';
import { copyVault } from '../vault/damage.ts';
import { openGround, work, type Ground, type Walked } from '../week/ground.ts';
import { contact, denial, DOMAIN } from './returned.ts';
import { CUSTOMER } from './world.ts';

/**
 * A fork of epoch 2: both sites have failed each other over and served everybody. East's line was picked, under epoch 3. East's own
 * users are at home, and west has served them too. Each test goes on where the one before has ended.
 */
let ground: Ground;
let home: Walked;
const jid = (who: string): string => `${who}@${DOMAIN}`;
const east = (sql: string) => ground.databases.east.query(sql);
const west = (sql: string) => ground.databases.west.query(sql);
const customer = () => ground.east.customer(CUSTOMER);
const way = { customer: CUSTOMER, half: 'west', from: 'east', to: 'west', reason: 'home', requestedBy: 'di' };
const asked = { half: 'west', halves: ['west'], rule: 'survivor' } as const;
const stayed = (change = {}) => findStayed(ground.east, customer(), { ...asked, ...change }, work.signal);
const planHome = (rule?: 'survivor' | 'home'): Promise<Plan> =>
  makeRelocatePlan(ground.east, {
    input: { ...way, ...(rule && { rule }) },
    declaredAt: new Date().toISOString(),
  });
/** Contacts of a user where he is served. */
async function contacts(who: string): Promise<string[]> {
  const ask = who.startsWith('e') ? east : west;
  const rows = await ask(`select jid || ' ' || nick || ' ' || subscription as told from rosterusers
                           where username = '${who}' order by jid`);
  return rows.map((row) => String(row['told']));
}
async function denied(who: string): Promise<string[]> {
  const rows = await east(
    `select value from privacy_list_data join privacy_list using (id) where username = '${who}' and action = 'd' order by value`,
  );
  return rows.map(({ value }) => String(value));
}

beforeAll(async () => {
  ground = await openGround({ users: 3 });
  await east(
    ['stays@x.example', 'gone@x.example', 'left@x.example'].map((other) => contact('e1', other)).join('') +
      contact('e2', 'both@x.example', 'B', 'Bo') +
      contact('e3', 'still@x.example', 'B', 'Still') +
      contact('e3', jid('w3')),
  );
  await west(contact('w1', 'mine@x.example') + contact('w3', jid('e3')));
  for (const [site, other] of [
    ['east', 'west'],
    ['west', 'east'],
  ] as const) {
    await ground.snapshot(site);
    await ground.standby(other);
  }
  await ground.failover('west');
  await ground.failover('east');
  await east(
    "delete from rosterusers where jid = 'gone@x.example'; update rosterusers set nick = 'at home' where username = 'e2';" +
      `update rosterusers set nick = 'my w3' where username = 'e3' and jid = '${jid('w3')}';` +
      contact('e3', 'new@x.example'),
  );
  await west(
    denial('e1', 'bad@x.example', 1) +
      "delete from rosterusers where jid = 'left@x.example'; update rosterusers set nick = 'there' where username = 'e2';" +
      `delete from rosterusers where username = 'e3' and jid = '${jid('w3')}';` +
      "update rosterusers set subscription = 'N' where username = 'w3';" +
      [contact('e1', jid('w2')), contact('w2', jid('e1')), contact('w1', 'unsent@x.example')].join(''),
  );
  await pick();
}, 120_000);
afterAll(() => ground?.close());

/** What two operators' words come to: a further epoch of east, under which it has all that its own line had. */
async function pick(): Promise<void> {
  const claim = { number: 3, site: 'east', move: `pick-${randomUUID()}`, follows: 2, keeps: [] };
  await claimInStores(ground.east, CUSTOMER, claim, work.signal);
  await east(`update tandem.epoch set number = 3, site = 'east', move = '${claim.move}'`);
  await east("update tandem.serving set epoch = 3 where site = 'east'");
}

/** As long as west's salvage is one of an older version, which does not say with what it began. */
async function withoutRestored<T>(look: () => Promise<T>): Promise<T> {
  const { vault, settings } = ground.west;
  const { publicKeys, signingKey } = settings;
  const signed = await readSalvage({ vault, customer: CUSTOMER, site: 'west', publicKeys }, 2);
  if (!signed) throw new Error('no salvage');
  const { restored, ...old } = signed.salvage;
  expect(Object.keys(restored ?? {})).toEqual(['east']);
  const bytes = seal('salvage', 'west', signingKey, old);
  const scratch = await scratchVaults({ locks: false });
  const copy = new S3Vault(scratch.west);
  await copyVault(vault, copy, (key, whole) => (key === salvageKey(CUSTOMER, 'west', 2) ? bytes : whole));
  copy.close();
  const { peerVaults } = ground.east.settings;
  const before = new Map(peerVaults);
  Object.assign(ground.east.settings, { peerVaults: new Map([['west', scratch.westReader]]) });
  await west(`update tandem.salvage set manifest = '${sha256(bytes)}'`);
  try {
    return await look();
  } finally {
    Object.assign(ground.east.settings, { peerVaults: before });
    await west(`update tandem.salvage set manifest = '${sha256(signed.bytes)}'`);
  }
}

describe('what the other site has of users who are at home already', () => {
  it('stops the way home of its own users until it is salvaged, and says what to do', async () => {
    await obeyNewerEpoch(ground.west.settings, CUSTOMER, ground.databases.west);
    const { whys } = await stayed();
    expect(whys).toEqual([expect.stringMatching(/west served east under epoch 2.*`tandem site salvage --site west/)]);
    const plan = await planHome('survivor');
    expect(plan.blockers.map(({ text }) => text)).toEqual(expect.arrayContaining(whys));
    await ground.comeBack('west');
  });

  it('is named in the plan, with how many they are, and needs a rule', async () => {
    await ground.standby('west');
    const plan = await planHome();
    const { stayed: found, reconcile } = plan.decisions.planned ?? {};
    expect(found).toMatchObject([
      {
        halves: ['east'],
        reconcile: { rule: 'survivor', salvage: { epoch: 2 }, base: { snapshot: { site: 'east' } } },
      },
    ]);
    expect(found?.[0]?.reconcile.salvage).toEqual(reconcile?.salvage);
    const texts = plan.blockers.map(({ text }) => text);
    expect(texts.filter((text) => text.includes('--rule'))).toEqual([expect.stringContaining('west and east')]);
    const heard: string[] = [];
    const hear = ({ username }: { username: string }) => heard.push(username);
    const counts = await previewReconciliation(ground.east, CUSTOMER, broughtTogether(plan.decisions), hear, work);
    expect([heard.toSorted(), counts.changes]).toEqual([['e1', 'e2', 'e3', 'w1', 'w2', 'w3'], 4]);
    const told = readout(await planHome('home')).join('\n');
    expect(told).toContain('3 users of east stay, and were served at west as well, under epoch 2');
    expect(told).toContain('Users of east stay at east: what was changed for them at west, under epoch 2, is brought');
    // Their home is where they are.
    expect(told).toContain('where both changed the same, what was changed at east stands; who is blocked');
  });

  it('is no matter of a cohort’s move, which says so', async () => {
    const found = await stayed({ half: 'west/pilot', halves: ['west/pilot'] });
    expect(found).toMatchObject({
      stayed: [],
      whys: [],
      notes: [expect.stringContaining('not by the move of a cohort')],
    });
  });

  it('holds nobody up for ever when it can never be read: it stays there, and who signs is told', async () => {
    await west("update tandem.salvage set manifest = 'another' where half = 'east'");
    const { stayed: found, whys, notes } = await stayed();
    expect([found, whys]).toEqual([[], []]);
    expect(notes).toEqual([expect.stringMatching(/of east under epoch 2 is NOT brought together/)]);
    await west("update tandem.salvage set manifest = (select manifest from tandem.salvage where half = 'west')");
  });

  it('has a base for a move of theirs as well; one salvaged by an older version has none', async () => {
    const found = await findReconciliation(ground.east, customer(), ['east'], 'home', work.signal);
    expect(found).toMatchObject({
      why: null,
      notes: [],
      reconcile: { rule: 'survivor', base: { snapshot: { site: 'east', seq: 1 } } },
    });
    const { reconcile } = await withoutRestored(() => findReconciliation(ground.east, customer(), ['east'], 'home'));
    expect(reconcile).toMatchObject({ salvage: { epoch: 2 }, base: null });
  });
});

describe('the way home of the others', () => {
  beforeAll(async () => {
    home = await ground.failback({ half: 'west', from: 'east', rule: 'survivor' });
  }, 120_000);

  it('brings a block and a contact into the lists of those who stayed, and brings nothing back that they removed', async () => {
    expect(await denied('e1')).toEqual(['bad@x.example']);
    expect(await contacts('e1')).toEqual(['stays@x.example  B', `${jid('w2')}  B`]);
    expect(await contacts('w2')).toEqual([`${jid('e1')}  B`]);
    expect(await contacts('w1')).toEqual(['mine@x.example  B', 'unsent@x.example  B']);
    expect(await contacts('e2')).toEqual(['both@x.example at home B']);
    expect(await contacts('e3')).toEqual(['new@x.example  B', 'still@x.example Still B', `${jid('w3')} my w3 N`]);
    // Each was served by both sites: neither says alone what stands between them.
    expect(await contacts('w3')).toEqual([`${jid('e3')}  N`]);
  });

  it('counts them, and releases what was salvaged of both halves', async () => {
    const { facts = {}, summary } = home.results.get('contacts') ?? {};
    expect(facts).toMatchObject({ users: 6, stay: 3, written: 4, conflicts: 2, pairsMended: 1 });
    expect(summary).toContain('3 of them stay here, and were served by both sites');
    expect(home.results.get('salvage')?.facts).toMatchObject({ users: 6, suspect: false });
    expect(home.results.get('serve')?.alarms).toBeUndefined();
    expect(await west('select half from tandem.salvage where released_at is null')).toEqual([]);
  });

  it('is the only one that does: afterwards there is nothing to bring together, and what they change stands', async () => {
    expect(await stayed()).toEqual({ stayed: [], whys: [], notes: [] });
    const before = await east("select body from tandem.journal where kind = 'planned' order by at desc limit 1");
    const plan = JSON.parse(String(before[0]?.['body'])) as Plan;
    await east("delete from privacy_list_data where value = 'bad@x.example'");
    const { move } = home;
    await east("update tandem.move set ended_at = null, phase = 'moving' where move = '" + move + "'");
    const key = { customer: CUSTOMER, epoch: { number: 4, site: 'east', move }, step: 'contacts', round: 1 };
    const step: PlannedStep = { key, act: 'reconcile-contacts', plan };
    const { facts } = await reconcileContacts(ground.east, step, work);
    expect(facts).toMatchObject({ already: 6, written: 0 });
    expect(await denied('e1')).toEqual([]);
  });
});

describe('a snapshot that the other site took under a newer epoch', () => {
  it('is not what that salvage began with, whichever failover has restored it since', async () => {
    await west('update tandem.salvage set released_at = null');
    await ground.snapshot('west');
    const shelf = {
      vault: ground.west.vault,
      customer: CUSTOMER,
      site: 'west',
      publicKeys: ground.west.settings.publicKeys,
    };
    const last = await newestSnapshot({ ...shelf, signal: work.signal });
    if (!last) throw new Error('no snapshot');
    expect(last.manifest.epoch).toBe(4);
    await tookOver(last.summary);
    const { reconcile, why } = await findReconciliation(ground.east, customer(), ['east'], 'survivor', work.signal);
    expect([why, reconcile?.base]).toMatchObject([null, { snapshot: { site: 'east', seq: 1 } }]);
  });
});

/** As if east had taken its users back from a lost west since, under epoch 9. */
async function tookOver({ customer: of, site, gen, seq, manifest, point }: SnapshotSummary): Promise<void> {
  const source = { snapshot: { customer: of, site, gen, seq }, manifest, point, from: 'own-vault' };
  await east("update tandem.move set phase = 'closed', ended_at = now() where ended_at is null");
  await east("insert into tandem.move values ('nine', 'contoso', 'failover', 'w', 'moving', '{}', now())");
  const line = { customer: CUSTOMER, move: 'nine', at: new Date().toISOString() };
  const acted = (act: string, facts: Record<string, string>): JournalEntry => {
    const body = { act, step: act, round: 0, epoch: { number: 9 }, result: { summary: act, facts } };
    return { ...line, key: `effect/${CUSTOMER}/9/${act}/0`, kind: 'step', body };
  };
  await ground.databases.east.transaction(async (client) => {
    await appendJournal(client, { ...line, key: 'planned/1', kind: 'planned', body: { decisions: {}, source } });
    await appendJournal(client, acted('restore-contacts', { from: 'own-vault' }));
    await appendJournal(client, acted('serve-users', { half: 'east' }));
  });
  await east("update tandem.move set phase = 'closed', ended_at = now() where move = 'nine'");
}
