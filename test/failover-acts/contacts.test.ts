import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { chainFault } from '../../activities/journal/chain.ts';
import { closeMove } from '../../activities/journal/close.ts';
import { judgeEvidence, type Evidence, type Verdict } from '../../activities/journal/evidence.ts';
import { fateOf, judgeLedger, type LedgerPart } from '../../activities/journal/recovery.ts';
import { keyOf, recordKeys } from '../../activities/vault/keys.ts';
import { fingerprint } from '../../ops/evidence.ts';
import { keysOf, lockDays } from '../journal/journals.ts';
import { evidenceOf } from '../journal/story.ts';
import type { JournalExport } from '../../activities/journal/objects.ts';
import { probeContacts } from '../../activities/probes/contacts.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { fenceSite } from '../../activities/services/fence.ts';
import { makePlan } from '../../activities/services/plan.ts';
import { restoreContacts } from '../../activities/services/restore.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal, unseal, type Signed } from '../../activities/vault/signed.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { FailoverInput, FailoverReport } from '../../workflows/model/moves.ts';
import type { Act } from '../../workflows/model/acts.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { blackHole, type BlackHole } from '../rig/black-holes.ts';
import { contact, coverEast, work } from './covered.ts';
import { CUSTOMER, eastAt, input, kindOf, makeWorld, startMove, type World } from './world.ts';

let world: World;
let east: S3Vault;
let hole: BlackHole;
let lost: OwnSite;
let move: string;
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
  await world.eastDb.query(
    `${contact('e1', 'a@x')}; ${contact('e1', 'b@x')}; ${contact('e2', 'a@x')}; ${contact('w1', 'old@x')}`,
  );
  await world.westDb.query(contact('w1', 'new@x'));
  lost = world.westWith(eastAt(world, '127.0.0.1:1'));
  move = await startMove(world);
});
afterEach(async () => {
  east.close();
  await world.close();
});

/** A snapshot of east, covered by west: the way it is in quiet times. */
const protect = (covered = true): Promise<SnapshotSummary> => coverEast(world, east, covered);

const plan = (change: Partial<FailoverInput> = {}, site = lost): Promise<Plan> =>
  makePlan(site, { input: input(change), declaredAt: new Date().toISOString() });
const step = (act: Act, made: Plan, round = 0): PlannedStep => ({
  key: { customer: CUSTOMER, epoch: { number: made.decisions.epoch, site: 'west', move }, step: act, round },
  act,
  plan: made,
});
const contacts = async (who: string): Promise<string[]> =>
  (
    await world.westDb.query<{ jid: string }>('select jid from rosterusers where username = $1 order by jid', [who])
  ).map((r) => r.jid);

async function upToServing(site = lost): Promise<Plan> {
  const made = await plan({}, site);
  await advanceEpoch(site, step('advance-epoch', made));
  await fenceSite(site, step('fence-site', made));
  await restoreContacts(site, step('restore-contacts', made), work);
  await serveUsers(site, step('serve-users', made));
  return made;
}

describe('restore-contacts never', () => {
  it('writes a row before its epoch is claimed, or after another move has taken a newer one', async () => {
    await protect();
    const made = await plan();
    expect(await kindOf(restoreContacts(lost, step('restore-contacts', made), work))).toBe('epoch-superseded');
    await world.westDb.query("update tandem.epoch set number = $1, site = 'west', move = 'another'", [
      made.decisions.epoch,
    ]);
    expect(await kindOf(restoreContacts(lost, step('restore-contacts', made), work))).toBe('epoch-superseded');
    expect(await contacts('e1')).toEqual([]);
  });

  it('reads an older snapshot than was signed, or another one', async () => {
    await protect();
    const older = await plan();
    await protect();
    const made = await plan();
    await advanceEpoch(lost, step('advance-epoch', made));
    const swapped = { ...made, source: older.source };
    expect(await kindOf(restoreContacts(lost, step('restore-contacts', swapped), work))).toBe('no-recovery-point');
    const forged = { ...made, source: { ...made.source, manifest: older.source.manifest } };
    expect(await kindOf(restoreContacts(lost, step('restore-contacts', forged), work))).toBe('snapshot-damaged');
    expect(await contacts('e1')).toEqual([]);
  });

  it('touches users of its own half, although the snapshot has them', async () => {
    await world.eastDb.query("update tandem.serving set site = 'east'"); // East has served both halves.
    await protect();
    const made = await upToServing();
    expect(await contacts('w1')).toEqual(['new@x']);
    const again = await restoreContacts(lost, step('restore-contacts', made), work);
    expect(again.facts).toMatchObject({ users: 3, elsewhere: 2, withoutRecord: 0 });
  });
});

describe('the acts of a failover', () => {
  it('restore, serve and prove the lost half while every call to the lost site hangs', async () => {
    await protect();
    const hanging = world.westWith(eastAt(world, `127.0.0.1:${hole.port}`));
    const made = await upToServing(hanging);
    expect(await contacts('e1')).toEqual(['a@x', 'b@x']);
    const limited = world.westWith({
      ...eastAt(world, `127.0.0.1:${hole.port}`),
      customer: { limits: { contacts: 1 } },
    });
    const probed = await probeContacts(limited, step('probe', made), work);
    expect(probed.facts).toEqual({
      users: 3,
      unserved: 0,
      quarantined: 0,
      compared: 3,
      contacts: 3,
      aclItems: 0,
      mismatches: 0,
      overLimit: 1,
    });
    const report = { customer: CUSTOMER, move, outcome: 'closed', endedAt: new Date().toISOString() } as FailoverReport;
    const { vaultKey } = await closeMove(hanging, report);
    const [bytes] = await world.west.vault.versions(vaultKey.replace('report.json', 'journal.json'));
    const journal = unseal<JournalExport>(
      'journal',
      world.settings.publicKeys,
      bytes ?? Buffer.alloc(0),
      'journal',
    ).document;
    expect(chainFault({ customer: CUSTOMER, move }, journal.lines)).toBeNull();
    expect(journal.lines.map((l) => l.key.split('/')[3] ?? l.key)).toEqual([
      'advance-epoch',
      'fence-site',
      'restore-contacts',
      'serve-users',
      'probe',
      'close',
    ]);
    expect(JSON.stringify(journal)).not.toMatch(/"e[123]"|[ab]@x/);
  });

  it('answer the same when they are repeated, each with one line', async () => {
    await protect();
    const made = await plan();
    const once = await advanceEpoch(lost, step('advance-epoch', made));
    const restored = await restoreContacts(lost, step('restore-contacts', made), work);
    expect(await restoreContacts(lost, step('restore-contacts', made), work)).toEqual(restored);
    expect(await advanceEpoch(lost, step('advance-epoch', made))).toEqual(once);
    expect(await world.westDb.query('select from tandem.journal')).toHaveLength(2);
  });

  it('take the data from the vault of the lost site when that has something newer', async () => {
    await protect();
    await world.eastDb.query(contact('e3', 'late@x'));
    await protect(false);
    await world.eastDb.query('update tandem.serving set epoch = 0');
    const made = await plan({}, world.west);
    expect(made.source.from).toBe('source-vault');
    await advanceEpoch(world.west, step('advance-epoch', made));
    await restoreContacts(world.west, step('restore-contacts', made), work);
    expect(await contacts('e3')).toEqual(['late@x']);
  });
});

describe('the recovery ledger', () => {
  const closing = (): FailoverReport =>
    ({ format: 1, customer: CUSTOMER, move, outcome: 'closed', endedAt: new Date().toISOString() }) as FailoverReport;
  const tellingOf = (evidence: Evidence, check = 'ledger'): Verdict | undefined =>
    judgeEvidence(evidence, world.settings.publicKeys, fingerprint).find((v) => v.check === check);
  const userKey = (who: string): Buffer => recordKeys(keyOf(world.customer.keys, 'k1', 'a test')).userKey(who);

  it('tells of each user of the lost half what he got, in the vault and never by name, also when that was away', async () => {
    await protect();
    await world.westDb.query("insert into tandem.home values ('e4', 'east'), ('e5', 'east')");
    await world.westDb.query(contact('e5', 'here@x'));
    const away = world.westWith({ site: { vault: { ...world.vaults.west, endpoint: 'http://127.0.0.1:1' } } });
    const made = await plan();
    await advanceEpoch(lost, step('advance-epoch', made));
    const { facts } = await restoreContacts(lost, step('restore-contacts', made), work);
    expect((await closeMove(away, closing())).notSealed).toBeDefined();
    const objects = (): Promise<string[]> => keysOf(world.west.vault, `${CUSTOMER}/west/journal/${move}/`);
    expect(await objects()).toEqual([]);
    await closeMove(world.west, closing());
    expect(await objects()).toEqual([
      'journal.json',
      `ledger/${String(facts['ledger'])}/0000000001.json`,
      'lines/0000000001.json',
      'report.json',
    ]);
    const evidence = await evidenceOf(world, move);
    expect(JSON.stringify(evidence)).not.toMatch(/\be[1-5]\b|@x/);
    expect(tellingOf(evidence)).toMatchObject({ ok: true, seen: expect.stringContaining('5 users of east') as string });
    const { head, entries } = judgeLedger(String(facts['ledger']), evidence.ledger?.map((p) => p.document) ?? []);
    expect(head).toMatchObject({ source: 'own-vault', point: made.source.point, snapshot: { seq: 1 } });
    const told = ['e1', 'e2', 'e3', 'e4', 'e5', 'w1'].map((who) => fateOf(entries, userKey(who)));
    expect(told).toEqual(['as-of', 'as-of', 'as-of', 'no-snapshot', 'held', null]);
    expect(await lockDays(world, `${CUSTOMER}/west/journal/${move}/ledger/`)).toEqual([expect.closeTo(400, 0)]);
  });

  it('that was changed, or is missing, is refused by the evidence', async () => {
    await protect();
    await upToServing();
    await closeMove(world.west, closing());
    const evidence = await evidenceOf(world, move);
    const change = (edit: (parts: Signed<LedgerPart>[]) => void): Evidence => {
      const copy = structuredClone(evidence);
      edit(copy.ledger ?? []);
      return copy;
    };
    expect(tellingOf(change((parts) => void parts.pop()))?.ok).toBe(false);
    const edited = change((parts) => {
      for (const p of parts) p.document.entries = p.document.entries.replace(/^..../, 'AAAA');
    });
    expect([tellingOf(edited)?.ok, tellingOf(edited, 'signatures')?.ok]).toEqual([false, false]);
    // By somebody who has the site's own key.
    const [whole] = evidence.ledger ?? [];
    const forged = seal('ledger', 'west', world.keys.west, { ...whole?.document, entries: '', users: 0 });
    const resealed: Evidence = { ...evidence, ledger: [JSON.parse(forged.toString()) as Signed<LedgerPart>] };
    expect([tellingOf(resealed)?.ok, tellingOf(resealed, 'signatures')?.ok]).toEqual([false, true]);
  });

  it('that a vault no longer holds is brought again before the move counts as sealed', async () => {
    await protect();
    await upToServing();
    await world.westDb.query('update tandem.recovery set mirrored = true'); // Into a vault that is gone.
    expect((await closeMove(world.west, closing())).notSealed).toBeUndefined();
    expect(tellingOf(await evidenceOf(world, move))?.ok).toBe(true);
  });
});
