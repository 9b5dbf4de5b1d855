import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { prepareSite } from '../../ops/prepare.ts';
import { snapshotNow, standbyNow } from '../../ops/snapshots.ts';
import { failoverStatus, startFailover, startMove, type FailoverHandle } from '../../ops/moves.ts';
import { sendVerb, signVerb, type VerbRequest } from '../../ops/verbs.ts';
import type { ClosedMove, MoveInput } from '../../workflows/model/moves.ts';
import { scheduleIds } from '../../workflows/model/names.ts';
import { approve, ask, cover, declaration, reach, servable } from '../rig/failovers.ts';
import type { Site } from '../rig/databases.ts';
import { points } from '../rig/form.ts';
import { abortTest, asks, beginLive, dueDate, looksOn, PILOT } from '../rig/live-tests.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** Users move while both sites are there: to the other one, home again, and not at all. */

const USERS = 20;
let region: Region;
beforeAll(async () => {
  region = await openRegion({ users: USERS });
  await cover(region);
  for (const site of ['east', 'west'] as const) {
    await prepareSite(region.settings[site], region.clients[site], () => undefined);
    await region.work(site);
  }
}, 60_000);
afterAll(() => region.close());

const planned = (half: Site, to: Site, change: Partial<MoveInput> = {}): MoveInput => ({
  customer: CUSTOMER,
  half,
  from: to === 'east' ? 'west' : 'east',
  to,
  reason: 'work on the power of the hall',
  requestedBy: 'operator-1',
  ...change,
});

/** Asked for at the site where they are, and signed by two. */
async function agreed(input: MoveInput): Promise<FailoverHandle> {
  const at = input.from as Site;
  const handle = await startMove(region.clients[at], at, 'relocate', input);
  const { plan } = await reach(handle, (s) => s.phase === 'approving');
  expect(plan?.blockers).toEqual([]);
  for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
  return handle;
}

async function say(handle: FailoverHandle, by: number, verb: Omit<VerbRequest, 'operator' | 'key'>): Promise<unknown> {
  const operator = region.operators[by];
  if (!operator) throw new Error(`no operator ${by}`);
  return sendVerb(
    handle,
    signVerb(await failoverStatus(handle), { operator: operator.id, key: operator.key, ...verb }),
  );
}

const rightsOf = (text: string) =>
  Promise.all((['east', 'west'] as const).map((site) => ask<{ site: string }>(region, site, text)));
const rights = () => rightsOf('select half, site from tandem.serving order by half');

/** Once its users are drained, an operator is waited for. */
const waiting = `
kind: relocate
name: With a look in between
steps:
  - { id: epoch, act: advance-epoch, timeout: 30s }
  - { id: drain, act: drain-sessions, needs: [epoch], timeout: 1m }
  - { id: look, act: wait-for-operator, message: look at it, needs: [drain] }
  - { id: last, act: take-snapshot, needs: [look], timeout: 5m }
  - { id: serve, act: serve-users, needs: [drain, last], timeout: 1m }
`;

/** West's customer has a runbook of its own while a move is planned. */
async function withRunbook<T>(kind: 'relocate', text: string, work: () => Promise<T>): Promise<T> {
  const { runbooks } = region.settings.west.customers.get(CUSTOMER) ?? {};
  const own = runbooks as Map<string, string>;
  const folder = await mkdtemp(join(tmpdir(), 'tandem-runbook-'));
  await writeFile(join(folder, 'own.yaml'), text);
  own.set(kind, join(folder, 'own.yaml'));
  try {
    return await work();
  } finally {
    own.delete(kind);
    await rm(folder, { recursive: true });
  }
}

/** Where each half may be served, by the two databases. */
async function sites(): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const half of ['east', 'west'] as const) {
    const at: string[] = [];
    for (const site of ['east', 'west'] as const) if ((await servable(region, site, half)) > 0) at.push(site);
    found[half] = at.join(' and ');
  }
  return found;
}

const contactsOf = async (at: Site, who: string): Promise<string[]> =>
  (await ask<{ jid: string }>(region, at, `select jid from rosterusers where username = '${who}' order by jid`)).map(
    ({ jid }) => jid,
  );
const addContact = (at: Site, who: string, jid: string) =>
  ask(
    region,
    at,
    `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
     values ('${who}', '${jid}', '', 'B', 'N', '', 'N', '', 'item')`,
  );
const someoneOf = async (half: Site): Promise<string> => {
  const [row] = await ask<{ username: string }>(
    region,
    'west',
    `select username from tandem.home where tandem.home_of(site) = '${half}' order by username limit 1`,
  );
  return row?.username ?? '';
};

// On a busy machine a move takes a while, and five follow one another.
describe('a planned move', { timeout: 240_000 }, () => {
  it('takes users to the other site with their last change, closes nobody else, and leaves nothing to be salvaged', async () => {
    const who = await someoneOf('west');
    const handle = await startMove(region.clients.west, 'west', 'relocate', planned('west', 'east'));
    await reach(handle, (s) => s.phase === 'approving');
    const stays = "select site, at from tandem.serving where half = 'east'";
    const before = await rightsOf(stays);
    await addContact('west', who, 'late@contoso.example'); // After the plan, before the draining.
    for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
    const { report } = await handle.result();
    expect(report.steps.filter((s) => s.state !== 'done')).toEqual([]);
    expect(report).toMatchObject({ kind: 'relocate', outcome: 'closed', from: 'west', to: 'east' });
    expect(report.unreachableMs).toBeGreaterThan(0);
    expect(await sites()).toEqual({ east: 'east', west: 'east' });
    expect(await contactsOf('east', who)).toContain('late@contoso.example');
    expect(await ask(region, 'west', 'select from tandem.salvage')).toEqual([]);
    // Who stays where he is has been served there all along: copies of him count as they did.
    expect(await rightsOf(stays)).toEqual(before);
  });

  it('brings them home again with what they changed there, those of a cohort as well', async () => {
    const who = await someoneOf('west');
    await addContact('east', who, 'later@contoso.example');
    for (const site of ['west', 'east'] as const)
      await ask(
        region,
        site,
        `select tandem.make_cohort('${CUSTOMER}', 'west/pilot', 'east'), tandem.divide('${CUSTOMER}', 'west/pilot', '{${who}}', 'east')`,
      );
    const { report } = await (await agreed(planned('west', 'west'))).result();
    expect(report).toMatchObject({ kind: 'failback', outcome: 'closed' });
    expect(report.steps.find(({ id }) => id === 'serve')?.summary).toMatch(/users of west\/pilot and west under epoch/);
    expect(await sites()).toEqual({ east: 'east', west: 'west' });
    // Of whom it has handed over a copy has come back by now: its next snapshot does not build upon the one that had them.
    const east = region.settings.east.customers.get(CUSTOMER);
    if (!east) throw new Error('no customer');
    await standbyNow(region.clients.east, 'east', east);
    const next = await snapshotNow(region.clients.east, 'east', east);
    const west = region.settings.west.customers.get(CUSTOMER);
    if (!west) throw new Error('no customer');
    await standbyNow(region.clients.west, 'west', west);
    const [held] = await ask<{ seq: number }>(
      region,
      'west',
      "select seq::int from tandem.applied where site = 'east'",
    );
    expect(held?.seq).toBeGreaterThanOrEqual(next.seq);
    expect(await contactsOf('west', who)).toEqual(
      expect.arrayContaining(['late@contoso.example', 'later@contoso.example']),
    );
  });

  const passed = { outcome: 'passed', live: { cohort: PILOT, users: 1, unserved: 0 } };
  it.each(points([['to its end', passed]], [['and is aborted in its middle', { outcome: 'aborted' }]]))(
    'of a cohort stands in a live test, which goes %s: everybody is home then',
    async (_, receipt) => {
      const before = await rights();
      const test = await beginLive(region);
      const there = await agreed(planned('west', 'east', { half: PILOT, from: 'west', to: 'east' }));
      expect((await there.result()).report.outcome).toBe('closed');
      await asks(test, /^tandem failback start --customer contoso --half west\/pilot --to west --reason /);
      expect(await sites()).toEqual({ east: 'east', west: 'east and west' });
      if (receipt.outcome === 'aborted') await abortTest(region, test);
      expect((await (await agreed(planned(PILOT, 'west'))).result()).report).toMatchObject({ kind: 'failback' });
      expect(await test.result()).toMatchObject({ held: true, receipt: { ...receipt, residue: { left: [] } } });
      expect(await rights()).toEqual(before);
    },
  );

  it('of a cohort is ended by what the test names when that is aborted before anybody was moved; the due date stays', async () => {
    const [before, due] = [await rights(), await dueDate(region)];
    const there = { half: PILOT, from: 'west', to: 'east' };
    const aborted = {
      held: true,
      receipt: { outcome: 'aborted', residue: { left: [] }, live: { went: null, back: null } },
    };
    const site = '--customer contoso --site west';

    const first = await beginLive(region);
    await abortTest(region, first);
    const end = await first.result();
    expect(end).toMatchObject(aborted);
    expect(end.held && end.receipt.because).toMatch(
      /^operator-1 ended it in phase going \(users of west\/pilot are at west, and nobody has asked for their move to east yet\): the probes/,
    );

    const second = await beginLive(region);
    const asked = await startMove(region.clients.west, 'west', 'relocate', planned('west', 'east', there));
    await reach(asked, (s) => s.phase === 'approving');
    await asks(second, `tandem relocate watch ${site}`);
    await abortTest(region, second);
    await asks(second, `tandem relocate abort ${site} --operator ID --key FILE --because TEXT`);
    await looksOn(second);
    await say(asked, 0, { verb: 'abort', because: 'the test was aborted' });
    expect(await second.result()).toMatchObject(aborted);
    expect((await asked.result()).report.outcome).toBe('aborted');

    const third = await beginLive(region);
    const held = await withRunbook('relocate', waiting, () => agreed(planned('west', 'east', there)));
    await reach(held, (s) => s.steps.some(({ id, state }) => id === 'look' && state === 'held'));
    await abortTest(region, third);
    await asks(third, `tandem relocate turn-back ${site} --operator ID --key FILE --because TEXT`);
    for (const by of [0, 1]) await say(held, by, { verb: 'turn-back', because: 'the test was aborted' });
    expect(await third.result()).toMatchObject(aborted);
    expect((await held.result()).report.outcome).toBe('turned-back');

    expect(await rights()).toEqual(before);
    expect(await dueDate(region)).toBe(due);
  });

  it('is turned back by two while nobody was handed over, and its site serves them again', async () => {
    const handle = await withRunbook('relocate', waiting, () => agreed(planned('west', 'east')));
    await reach(handle, (s) => s.steps.some(({ id, state }) => id === 'look' && state === 'held'));
    expect(await sites()).toEqual({ east: 'east', west: '' });
    await expect(say(handle, 0, { verb: 'abort' })).rejects.toThrow(/it can no longer be aborted/);
    for (const by of [0, 1]) await say(handle, by, { verb: 'turn-back', because: 'the work is put off' });
    const { report } = await handle.result();
    expect(report).toMatchObject({ kind: 'relocate', outcome: 'turned-back', servedAt: null, unreachableMs: null });
    expect(await sites()).toEqual({ east: 'east', west: 'west' });
  });

  it('is aborted at once while its copy is waited for', async () => {
    await ask(region, 'east', 'alter table tandem.ledger rename to ledger_');
    try {
      const handle = await agreed(planned('west', 'east'));
      await reach(handle, (s) => s.steps.some(({ id, state }) => id === 'copy' && state === 'running'));
      await say(handle, 0, { verb: 'abort', because: 'it takes too long' });
      const { report } = await handle.result();
      expect(report).toMatchObject({ outcome: 'aborted', epoch: null });
      expect(report.steps.find(({ id }) => id === 'copy')).toMatchObject({
        state: 'failed',
        summary: 'stopped: the move was aborted',
      });
    } finally {
      await ask(region, 'east', 'alter table tandem.ledger_ rename to ledger');
    }
  });

  it('gives its slot to a failover, and ends superseded', async () => {
    const handle = await startMove(region.clients.west, 'west', 'relocate', planned('west', 'east'));
    await reach(handle, (s) => s.phase === 'approving');
    const failover = await startFailover(region.clients.west, 'west', declaration({ sourceIsServing: true }));
    const { report } = (await handle.result()) satisfies ClosedMove;
    expect(report).toMatchObject({ kind: 'relocate', outcome: 'superseded', servedAt: null });
    await reach(failover, (s) => s.phase === 'approving');
    await say(failover, 0, { verb: 'abort', because: 'it was a test' });
    expect((await failover.result()).report.outcome).toBe('aborted');
  });

  it('goes to a site that is lost before it took a snapshot: what was handed over is what comes back', async () => {
    // The nudge reaches nobody there.
    await region.clients.east.schedule.getHandle(scheduleIds.snapshotEvery(CUSTOMER)).delete();
    const who = await someoneOf('west');
    await addContact('west', who, 'last@contoso.example');
    const { report } = await (await agreed(planned('west', 'east'))).result();
    const last = report.steps.find(({ id }) => id === 'last');
    await addContact('east', who, 'gone@contoso.example');
    const found: unknown[] = [];
    for (const half of ['west', 'east'] as const) {
      const input = declaration({ half, sourceIsServing: half === 'west' });
      const handle = await startFailover(region.clients.west, 'west', input);
      const { plan } = await reach(handle, (s) => s.phase === 'approving');
      const accepts = plan?.decisions.acceptances ?? [];
      found.push({ accepts, from: plan?.source.from, ...plan?.source.snapshot });
      for (const operator of region.operators.slice(0, 2)) await approve(handle, operator, { accepts });
      expect((await handle.result()).report.outcome).toBe('closed');
    }
    const handedOver = { from: 'own-vault', site: 'west', seq: last?.facts['seq'] };
    expect(found[0]).toMatchObject({ ...handedOver, accepts: ['source-is-serving'] });
    expect(await sites()).toEqual({ east: 'west', west: 'west' });
    expect(await contactsOf('west', who)).toContain('last@contoso.example');
    expect(await contactsOf('west', who)).not.toContain('gone@contoso.example');
  });
});
