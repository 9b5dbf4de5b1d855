import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { claimInStores } from '../../activities/services/claims.ts';
import { makePlan } from '../../activities/services/plan.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import { readReconciled } from '../../activities/services/reconcile.ts';
import { findReconciliation } from '../../activities/services/reconciliation.ts';
import { restoreContacts } from '../../activities/services/restore.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import { appendJournal } from '../../activities/journal/chain.ts';
import { probeContacts } from '../../activities/probes/contacts.ts';
import { pullSnapshots } from '../../activities/vault/pull.ts';
import { takeSnapshot } from '../../activities/vault/snapshot.ts';
import { verifySnapshot } from '../../activities/vault/verify.ts';
import { AGAIN_MS } from '../../workflows/model/again.ts';
import type { FailoverInput } from '../../workflows/model/moves.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { contact, denial, openReturned, work, type Returned } from './returned.ts';
import { CUSTOMER, input } from './world.ts';

let here: Returned;
const before = [
  contact('e1', 'old@x.example'),
  contact('e1', 'gone@x.example'),
  contact('e2', 'both@x.example', 'B', 'Bo'),
  contact('e3', 'quiet@x.example'),
  denial('e2', 'past@x.example', 1),
].join('');
/** What the later snapshot of east has, and the one that was restored has not. */
const later = [
  contact('e1', 'later@x.example'),
  "delete from rosterusers where username = 'e1' and jid = 'gone@x.example';",
  "update rosterusers set nick = 'Bob' where username = 'e2';",
  "delete from privacy_list_data where value = 'past@x.example';",
  denial('e1', 'foe@x.example', 1),
].join('');

beforeEach(async () => {
  here = await openReturned({ before, current: '', unsent: later });
});
afterEach(async () => {
  vi.useRealTimers();
  await here.close();
});

/** East's vault was saved from the ruins: its last snapshot is covered after all. */
async function coverLater(): Promise<string> {
  const { world, east } = here;
  const common = { customer: CUSTOMER, keys: world.customer.keys, publicKeys: world.settings.publicKeys, ...work };
  const both = { ...common, maxAgeMs: 60_000 };
  await world.eastDb.query("update tandem.epoch set number = 1, site = 'east', move = 'founding'");
  await world.eastDb.query("update tandem.serving set site = 'east', epoch = 1 where half = 'east'");
  const at = { ...both, vault: east, database: world.eastDb, site: 'east', signingKey: world.keys.east };
  const taken = await takeSnapshot({ ...at, read: 'all' });
  const mine = { ...both, database: world.westDb, site: 'west' };
  await pullSnapshots({ ...mine, own: world.west.vault, peer: east });
  await verifySnapshot({ ...mine, vault: world.west.vault, id: taken, signingKey: world.keys.west });
  await world.eastDb.query(`update tandem.epoch set number = 2, site = 'west', move = 'lost'`);
  await world.eastDb.query("update tandem.serving set site = 'west', epoch = 2 where half = 'east'");
  return new Date().toISOString();
}

const plan = (change: Partial<FailoverInput> = {}): Promise<Plan> =>
  makePlan(here.west, { input: input(change), declaredAt: new Date().toISOString() });

async function stepOf(act: PlannedStep['act'], of: Plan, round = 0): Promise<PlannedStep> {
  const { move } = here;
  await here.world.westDb.transaction((client) =>
    appendJournal(client, {
      customer: CUSTOMER,
      move,
      key: `planned/${act}/${round}`,
      kind: 'planned',
      at: new Date().toISOString(),
      body: { ...of },
    }),
  );
  return { key: { customer: CUSTOMER, epoch: { number: 3, site: 'west', move }, step: act, round }, act, plan: of };
}

const contacts = async (who: string): Promise<string[]> =>
  (await here.world.westDb.query('select jid, nick from rosterusers where username = $1 order by jid', [who])).map(
    (r) => `${String(r['jid'])} ${String(r['nick'])}`.trim(),
  );
const denied = async (who: string): Promise<string[]> =>
  (
    await here.world.westDb.query(
      "select value from privacy_list_data join privacy_list using (id) where username = $1 and action = 'd' order by value",
      [who],
    )
  ).map((r) => String(r['value']));
const everything = (): Promise<unknown> =>
  here.world.westDb.query(
    `select username, jid as a, nick || subscription || ask as b, ctid::text from rosterusers
      union all select id::text, value, action || ord, ctid::text from privacy_list_data order by 1, 2, 3`,
  );

describe('a failover of users who are served here', () => {
  it('touches nobody’s contacts when no recovery point is asked for, and never sets back what they changed', async () => {
    await here.world.westDb.query(contact('e1', 'since@x.example'));
    const made = await plan();
    expect(made.blockers).toEqual([]);
    expect(made.decisions).toMatchObject({ again: { base: null }, acceptedLossMs: null });
    expect([made.decisions.acceptances, made.loss]).toEqual([undefined, undefined]);
    expect(made.notes?.join()).toMatch(/west serves the users of east since .* stay as they stand/);
    const stood = await everything();
    const step = await stepOf('restore-contacts', made);
    const first = await restoreContacts(here.west, step, work);
    expect(first.facts).toMatchObject({ users: 3, written: 0 });
    expect(await restoreContacts(here.west, step, work)).toEqual(first);
    await serveUsers(here.west, await stepOf('serve-users', made));
    expect((await probeContacts(here.west, await stepOf('probe', made), work)).facts).toMatchObject({ unserved: 0 });
    expect(await everything()).toEqual(stood);
  });

  it('brings another recovery point, but for what they changed since, and for whom either side denies', async () => {
    await here.world.westDb.query(
      `${contact('e1', 'since@x.example')} update rosterusers set nick = 'Robert' where username = 'e2';`,
    );
    const recoveryPoint = await coverLater();
    const made = await plan({ recoveryPoint });
    expect(made.blockers).toEqual([]);
    expect(made.decisions).toMatchObject({
      acceptances: ['another-recovery-point'],
      again: { base: { snapshot: { seq: 1 }, from: 'own-vault' } },
    });
    expect([made.source.snapshot.seq, made.fallback]).toEqual([2, undefined]);
    const step = await stepOf('restore-contacts', made);
    const first = await restoreContacts(here.west, step, work);
    expect(first.facts).toMatchObject({ users: 2, written: 1, conflicts: 1, denyKept: 1 });
    expect(await contacts('e1')).toEqual(['later@x.example', 'old@x.example', 'since@x.example']);
    expect(await denied('e1')).toEqual(['foe@x.example']);
    expect(await contacts('e2')).toEqual(['both@x.example Robert']);
    expect(await denied('e2')).toEqual(['past@x.example']);
    expect(await contacts('e3')).toEqual(['quiet@x.example']);
    const told = await readReconciled(here.west, CUSTOMER, { move: here.move });
    expect(told.map(({ username, written }) => [username, written])).toEqual([
      ['e1', true],
      ['e2', false],
    ]);
    expect(told[1]?.differences).toContainEqual({
      kind: 'contact',
      key: ['both@x.example'],
      won: 'survivor',
      why: 'conflict',
    });
    // Whoever goes on with it writes nobody twice.
    await here.world.westDb.query("delete from rosterusers where jid = 'later@x.example'");
    const stood = await everything();
    expect(await restoreContacts(here.west, step, work)).toEqual(first);
    const again = await restoreContacts(here.west, await stepOf('restore-contacts', made, 1), work);
    expect(again.facts).toMatchObject({ written: 0, already: 2 });
    expect(await everything()).toEqual(stood);
  });

  it('is what a way home begins with from then on', async () => {
    const made = await plan({ recoveryPoint: await coverLater() });
    await restoreContacts(here.west, await stepOf('restore-contacts', made), work);
    await serveUsers(here.west, await stepOf('serve-users', made));
    const { eastDb, customer } = here.world;
    await eastDb.query(`update tandem.epoch set number = 3, site = 'west', move = '${here.move}'`);
    await eastDb.query("update tandem.serving set site = 'west', epoch = 3");
    await here.salvage();
    const { reconcile, why } = await findReconciliation(here.west, customer, ['east'], 'survivor', work.signal);
    expect([why, reconcile?.base]).toMatchObject([null, { snapshot: { seq: 2 } }]);
  });

  it('cannot be signed for a point that is the same, comes too late, or of whom nothing was restored', async () => {
    const text = async (change: Partial<FailoverInput>): Promise<string[]> =>
      (await plan(change)).blockers.map((b) => b.text);
    const past = new Date().toISOString();
    expect(await text({ recoveryPoint: past })).toEqual([expect.stringMatching(/stand as of snapshot 1.* already/)]);
    const recoveryPoint = await coverLater();
    expect(await text({ recoveryPoint: past })).toEqual([expect.stringMatching(/stand as of snapshot 1.* already/)]);
    expect(await text({ recoveryPoint, half: 'west' })).toEqual(['no failover has restored users of west here']);
    expect(await text({ recoveryPoint })).toEqual([]);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + AGAIN_MS + 60_000 });
    expect(await text({ recoveryPoint })).toEqual([expect.stringMatching(/within 1 h 00 min after that only/)]);
    expect(await text({})).toEqual([]);
  });

  it('are restored as lost ones are, by a word of their own, where this database may be older than what they did elsewhere', async () => {
    const accepts = async (change: Partial<FailoverInput>): Promise<unknown> => {
      const { decisions, acceptances, blockers } = await plan(change);
      return [decisions.again, decisions.acceptances, acceptances?.at(-1)?.because, blockers.map((b) => b.text)];
    };
    const recoveryPoint = await coverLater();
    // The peer has served somebody since: this database may have lost the commit of a hand-over.
    await here.world.westDb.query("update tandem.serving set at = now() - interval '1 day' where half = 'west'");
    expect(await accepts({ half: 'west' })).toEqual([
      undefined,
      ['overwrite-served'],
      expect.stringMatching(/east has a snapshot of .*, and served somebody since users of west came here at/),
      [],
    ]);
    // It was put back to a time before a claim that lies in its own vault.
    const { west } = here;
    const claim = { number: 9, site: 'west', move: 'gone', follows: 3, keeps: [] };
    await claimInStores(west, CUSTOMER, claim);
    for (const change of [{}, { recoveryPoint }])
      expect(await accepts(change)).toEqual([
        undefined,
        ['overwrite-served'],
        expect.stringMatching(/epoch 9 is claimed, which it does not know: it holds 3/),
        [],
      ]);
  });

  it('cannot be brought to another point while an earlier bringing was ended among them', async () => {
    const recoveryPoint = await coverLater();
    const made = await plan({ recoveryPoint });
    await stepOf('restore-contacts', made);
    await here.world.westDb.query(
      `insert into tandem.reconciled (salvage, username, move, document) values ('x', 'e1', '${here.move}', '{"written": true}')`,
    );
    expect((await plan({ recoveryPoint })).blockers.map((b) => b.text)).toEqual([
      expect.stringMatching(/has brought some of them to another point, and not come to its end/),
    ]);
    expect((await plan()).blockers).toEqual([]);
  });
});
