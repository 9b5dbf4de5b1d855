import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeRelocatePlan } from '../../activities/services/plan-relocate.ts';
import { openSite } from '../../activities/services/site.ts';
import { prepareSite } from '../../ops/prepare.ts';
import { startFailover, startMove, type FailoverHandle } from '../../ops/moves.ts';
import type { MoveInput } from '../../workflows/model/moves.ts';
import type { Site } from '../rig/databases.ts';
import { approve, ask, cover, declaration, reach, servable } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** Users are given another home for good by a move, and are lost and found there as its own. */

let region: Region;
beforeAll(async () => {
  region = await openRegion({ users: 20 });
  await cover(region);
  for (const site of ['east', 'west'] as const) {
    await prepareSite(region.settings[site], region.clients[site], () => undefined);
    await region.work(site);
  }
}, 60_000);
afterAll(() => region.close());

const PILOT = 'west/pilot';
const wanted = (half: string, change: Partial<MoveInput> = {}): MoveInput => ({
  customer: CUSTOMER,
  half,
  from: 'west',
  to: 'east',
  rehome: true,
  reason: 'the hall is given up',
  requestedBy: 'operator-1',
  ...change,
});

async function agreed(handle: FailoverHandle, accepts: string[] = []) {
  const { plan } = await reach(handle, (s) => s.phase === 'approving');
  expect(plan?.blockers).toEqual([]);
  for (const operator of region.operators.slice(0, 2)) await approve(handle, operator, { accepts });
  const { report } = await handle.result();
  return { plan, report };
}
const move = async (input: MoveInput) =>
  agreed(await startMove(region.clients[input.from as Site], input.from, 'relocate', input));

const both = (text: string) =>
  Promise.all((['east', 'west'] as const).map((site) => ask<Record<string, unknown>>(region, site, text)));
const names = async (half: string, many: number): Promise<string[]> =>
  (
    await ask<{ username: string }>(
      region,
      'west',
      `select username from tandem.home where site = '${half}' order by 1 limit ${many}`,
    )
  ).map(({ username }) => username);
const addContact = (at: Site, who: string, jid: string) =>
  ask(
    region,
    at,
    `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
     values ('${who}', '${jid}', '', 'B', 'N', '', 'N', '', 'item')`,
  );
const contactsOf = async (at: Site, who: string): Promise<string[]> =>
  (await ask<{ jid: string }>(region, at, `select jid from rosterusers where username = '${who}'`)).map(
    ({ jid }) => jid,
  );

const alike = <T>(one: T): T[] => [one, one];
/** How many are at home where, by both databases. */
const homes = async () =>
  (await both('select site, count(*)::int as n from tandem.home group by site')).map((rows) =>
    Object.fromEntries(rows.map(({ site, n }) => [String(site), n])),
  );

describe('a relocate with another home', { timeout: 240_000 }, () => {
  it('is refused for users who go home', async () => {
    const site = openSite(region.settings.east);
    const input = wanted('west', { from: 'east', to: 'west' });
    const declaredAt = new Date().toISOString();
    await expect(makeRelocatePlan(site, { input, declaredAt })).rejects.toThrow(
      /west is the home of these users already/,
    );
    await site.close();
  });

  it('cannot be signed while the other site does not serve its own users, nor where its runbook knows nothing of it', async () => {
    const site = openSite(region.settings.west);
    const told = async (change: Partial<MoveInput>): Promise<string[]> =>
      (
        await makeRelocatePlan(site, { input: wanted('west', change), declaredAt: new Date().toISOString() })
      ).blockers.map(({ text }) => text);
    expect(await told({})).toEqual([]);
    await ask(region, 'east', "update tandem.serving set site = 'west' where half = 'east'");
    expect(await told({})).toContainEqual(expect.stringMatching(/^east does not serve its own users/));
    await ask(
      region,
      'east',
      "update tandem.serving set site = 'east' where half = 'east'; delete from tandem.salvage",
    );
    const own = site.customer(CUSTOMER).runbooks as Map<string, string>;
    const folder = await mkdtemp(join(tmpdir(), 'tandem-runbook-'));
    const shipped = await readFile(new URL('../../runbooks/relocate.yaml', import.meta.url), 'utf8');
    const runbook = join(folder, 'own.yaml');
    own.set('relocate', runbook);
    await writeFile(runbook, shipped.replace(', when: rehoming', ''));
    expect(await told({ rehome: false })).toContainEqual(
      expect.stringMatching(/^step homes .* nobody has asked for it/),
    );
    await writeFile(runbook, shipped.replace(/^.*rehome-users.*$/m, ''));
    expect(await told({})).toContainEqual(expect.stringMatching(/has no step rehome-users$/));
    own.delete('relocate');
    await rm(folder, { recursive: true });
    await site.close();
  });

  it('makes a cohort the other site’s own, at both sites', async () => {
    const [who = ''] = await names('west', 1);
    await both(
      `select tandem.make_cohort('${CUSTOMER}', '${PILOT}', 'west'), tandem.divide('${CUSTOMER}', '${PILOT}', '{${who}}', 'west')`,
    );
    const { plan, report } = await move(wanted(PILOT));
    expect(plan?.decisions.planned?.rehome).toBe(true);
    expect(report).toMatchObject({ kind: 'relocate', outcome: 'closed' });
    expect(report.steps.filter((s) => s.state !== 'done')).toEqual([]);
    expect(report.steps.find(({ id }) => id === 'homes')).toMatchObject({ facts: { users: 1, ended: 1 } });
    expect(await homes()).toEqual(alike({ east: 11, west: 9 }));
    expect(await both('select half, site from tandem.serving order by half')).toEqual(
      alike([
        { half: 'east', site: 'east' },
        { half: 'west', site: 'west' },
      ]),
    );
  });

  it('makes all others its own as well; some of them go back, and are at home where they were', async () => {
    const went = await move(wanted('west'));
    expect(went.report.steps.filter((s) => s.state !== 'done')).toEqual([]);
    expect(await homes()).toEqual(alike({ east: 20 }));
    // Nobody is of that half any more; it is served again at its own site before anybody can be at home there.
    const back = { from: 'east', to: 'west' };
    const { rehome: _notAsked, ...empty } = wanted('west', back);
    expect((await move(empty)).report).toMatchObject({ kind: 'failback', outcome: 'closed' });
    const [who = ''] = await names('east', 1);
    await both(
      `select tandem.make_cohort('${CUSTOMER}', 'east/back', 'east'), tandem.divide('${CUSTOMER}', 'east/back', '{${who}}', 'east')`,
    );
    expect((await move(wanted('east/back', back))).report).toMatchObject({ kind: 'relocate', outcome: 'closed' });
    expect(await homes()).toEqual(alike({ east: 19, west: 1 }));
    expect(await servable(region, 'west', 'west')).toBe(1);
    expect(await servable(region, 'east', 'east')).toBe(19);
  });

  it('whose site is lost right after: they come back with all that they had, as its own users do', async () => {
    const [row] = await ask<{ username: string }>(
      region,
      'west',
      "select username from tandem.rehomed where home = 'east' limit 1",
    );
    const who = row?.username ?? '';
    const before = await contactsOf('east', who);
    expect(before.length).toBeGreaterThan(0);
    await addContact('east', who, 'gone@contoso.example');
    // As if nothing of them had stayed where they left.
    await ask(region, 'west', `delete from rosterusers where username = '${who}'`);
    const lost = declaration({ sourceIsServing: true });
    const { plan, report } = await agreed(await startFailover(region.clients.west, 'west', lost), [
      'source-is-serving',
    ]);
    expect(plan?.loss).toMatchObject({ users: 19, withoutSnapshot: 0 });
    expect(report).toMatchObject({ outcome: 'closed', mismatches: 0, restored: { users: 19 } });
    expect(await servable(region, 'west', 'east')).toBe(19);
    expect(await servable(region, 'west', 'west')).toBe(1);
    expect((await contactsOf('west', who)).toSorted()).toEqual(before.toSorted());
  });
});
