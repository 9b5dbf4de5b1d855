import { afterEach, beforeEach, expect, it } from 'vitest';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { checkEffect } from '../../activities/services/check.ts';
import { copyAhead, howFar } from '../../activities/services/copy-ahead.ts';
import { destinationAsItIs, unready } from '../../activities/services/destination.ts';
import { drainSessions } from '../../activities/services/drain.ts';
import { handOver } from '../../activities/services/hand-over.ts';
import { heldAtPeer } from '../../activities/services/peer-functions.ts';
import { openSnapshot } from '../../activities/vault/open.ts';
import { pullSnapshots } from '../../activities/vault/pull.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { takeSnapshot } from '../../activities/vault/snapshot.ts';
import { verifySnapshot } from '../../activities/vault/verify.ts';
import { contact, openReturned, work, type Returned } from './returned.ts';
import { CUSTOMER } from './world.ts';

/** West copies what has changed there to east, from where its users came. */

let here: Returned;
let west: S3Vault;
beforeEach(async () => {
  here = await openReturned({ before: contact('e1', 'old@x.example'), current: '', unsent: '' });
  west = new S3Vault(here.world.vaults.westReader);
  await here.salvage();
});
afterEach(async () => {
  west.close();
  await here.close();
});

/** What the destination does when it is told, up to there. */
async function follow(end: 'pull' | 'verify' | 'suspect' | 'apply'): Promise<void> {
  const { world, east } = here;
  const { keys } = world.customer;
  const { publicKeys } = world.settings;
  const common = { customer: CUSTOMER, database: world.eastDb, site: 'east', keys, publicKeys, ...work };
  const { unverified, unapplied } = await pullSnapshots({ ...common, own: east, peer: west });
  if (end === 'pull') return;
  const judge = (): Promise<string | null> => Promise.resolve(end === 'suspect' ? 'half of it is gone' : null);
  const at = { ...common, vault: east, signingKey: world.keys.east };
  if (unverified) await verifySnapshot({ ...at, id: unverified, judge });
  const id = unverified ?? unapplied;
  if (end === 'apply' && id) await applyStandby({ ...common, snapshot: await openSnapshot({ ...at, id }) });
}
const told = async (end: Parameters<typeof follow>[0]) => {
  await follow(end);
  return { nudged: true, because: '' };
};

it('waits until the destination has applied what stood here when it began, and takes one snapshot for one step', async () => {
  // It holds an older one already.
  await copyAhead(here.west, here.step('take-snapshot', null, 1), work, () => told('apply'));
  await here.world.westDb.query(contact('e1', 'new@x.example'));
  const asked = Promise.withResolvers<null>();
  let ended = false;
  const running = copyAhead(here.west, here.step('take-snapshot', null), work, () => {
    asked.resolve(null);
    return Promise.resolve({ nudged: true, because: '' });
  }).finally(() => (ended = true));
  await asked.promise;
  await follow('verify');
  expect(ended).toBe(false);
  await follow('apply');
  const { facts } = await running;
  expect(facts).toMatchObject({ seq: 2, users: 5 });
  expect(await here.world.eastDb.query("select from rosterusers where jid = 'new@x.example'")).toHaveLength(1);
  const step = here.step('take-snapshot', null);
  expect((await copyAhead(here.west, step, work, () => told('apply'))).facts).toEqual(facts);
  expect(await checkEffect(here.west, step, work.signal)).toMatchObject({ seen: false });
});

it('tells how far the destination has come when it does not follow in time', async () => {
  const { world, west: site } = here;
  const step = here.step('take-snapshot', null);
  step.plan.decisions.steps = [{ id: 'take-snapshot', timeoutMs: 1 }] as typeof step.plan.decisions.steps;
  await expect(copyAhead(site, step, work, () => told('pull'))).rejects.toMatchObject({ type: 'destination-behind' });
  const far = async (end: Parameters<typeof follow>[0]): Promise<string> => {
    const { keys } = world.customer;
    const { publicKeys, signingKey } = world.settings;
    const at = { vault: site.vault, database: world.westDb, site: 'west', customer: CUSTOMER, keys, publicKeys };
    const taken = await takeSnapshot({ ...at, signingKey, read: 'all', maxAgeMs: 60_000, ...work });
    const before = (await howFar(site, world.customer, taken, work.signal)).stage;
    await follow(end);
    return `${before} ${(await howFar(site, world.customer, taken, work.signal)).stage}`;
  };
  expect([await far('pull'), await far('suspect'), await far('verify')]).toEqual([
    'pull verify',
    'pull suspect',
    'pull apply',
  ]);
});

it('does not wait for a copy that is suspect there: nobody but a person helps it on', async () => {
  const step = here.step('take-snapshot', null);
  step.plan.decisions.steps = [{ id: 'take-snapshot', timeoutMs: 600_000 }] as typeof step.plan.decisions.steps;
  const copied = copyAhead(here.west, step, work, () => told('suspect'));
  await expect(copied).rejects.toThrow(/it is suspect there: half of it is gone; `tandem snapshot accept`/);
});

it('is not there, nor handed over by, while the destination has left users of the half out of it', async () => {
  const { westDb, eastDb } = here.world;
  // She is at home in west's directory only; of w1 rows stand at east that no snapshot brought.
  await westDb.query("insert into tandem.home values ('e4', 'east')");
  await westDb.query(contact('e4', 'friend@x.example'));
  await eastDb.query(contact('w1', 'nobody-brought@x.example'));
  await westDb.query(contact('w1', 'friend@x.example'));
  const copy = (round: number) =>
    copyAhead(here.west, here.step('take-snapshot', null, round), work, () => told('apply'));
  await expect(copy(0)).rejects.toThrow(/its copy lacks 1 users of east/);
  const held = (half: string) => heldAtPeer(here.world.customer, 'west', [half]);
  expect([await held('east'), await held('west')]).toEqual([1, 2]);
  const there = await destinationAsItIs(here.west, here.world.customer, ['east']);
  if ('silent' in there) throw new Error(there.silent);
  const plan = { halves: ['east'], epoch: 3, rpoMs: 3_600_000, own: 'west' };
  expect(unready('east', plan, there)).toContainEqual(expect.stringContaining('lacks 1 users'));

  const quiet = here.world.westWith({ site: { peerTemporals: new Map() } });
  await drainSessions(quiet, here.step('drain-sessions', null));
  await expect(copy(1)).rejects.toThrow(/lacks 1 users/);
  const serve = () => handOver(quiet, here.step('serve-users', null));
  await expect(serve()).rejects.toThrow(/lacks 1 users/);
  await eastDb.query("insert into tandem.home values ('e4', 'east')");
  await copy(2);
  expect([await held('east'), await held('west')]).toEqual([0, 1]);
  expect((await serve()).facts).toMatchObject({ half: 'east', users: 4 });
  expect(await eastDb.query("select from rosterusers where username = 'e4'")).toHaveLength(1);
});

it('takes nothing for a move that another has overtaken', async () => {
  await here.world.westDb.query("update tandem.epoch set number = 4, site = 'east', move = 'other'");
  const late = copyAhead(here.west, here.step('take-snapshot', null), work, () => told('apply'));
  await expect(late).rejects.toMatchObject({ type: 'epoch-superseded' });
  expect(await here.world.westDb.query('select from tandem.taken')).toEqual([]);
});
