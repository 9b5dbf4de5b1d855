import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDirectoryActivities } from '../../activities/directory/activities.ts';
import { openSite } from '../../activities/services/site.ts';
import type { SiteSettings } from '../../activities/settings.ts';
import { prepareSite } from '../../ops/prepare.ts';
import { describeSchedule } from '../../ops/schedules.ts';
import { failureKind } from '../../workflows/model/failures.ts';
import { scheduleIds, searchAttributes } from '../../workflows/model/names.ts';
import type { Followed } from '../../activities/types.ts';
import { approve, ask, cover, declare, servable } from '../rig/failovers.ts';
import type { Site } from '../rig/databases.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** The follower as each site runs it, and a move in which it was dark at one of them. */

const STEPS = `kind: failover
name: With a directory
steps:
  - { id: epoch, act: advance-epoch }
  - { id: fence, act: fence-site, needs: [epoch] }
  - { id: contacts, act: restore-contacts, needs: [epoch] }
  - { id: entitled, act: apply-entitlements, needs: [contacts] }
  - { id: serve, act: serve-users, needs: [fence, contacts, entitled] }
  - { id: verify, act: probe, service: contacts, needs: [serve] }
`;
const id = scheduleIds.provisioning(CUSTOMER);

let region: Region;
let folder: string;
let worker: { stop: () => Promise<void> };
beforeAll(async () => {
  [region, folder] = await Promise.all([openRegion(), mkdtemp(join(tmpdir(), 'tandem-provisioning-'))]);
  await writeFile(join(folder, 'ours.yaml'), STEPS);
  for (const site of ['east', 'west'] as const) {
    region.settings[site] = withDirectory(region.settings[site]);
    await everybody(site);
  }
  await prepareSite(region.settings.west, region.clients.west, () => undefined);
  worker = await region.work('west');
});
afterAll(async () => {
  await region.close();
  await rm(folder, { recursive: true });
});

function withDirectory(settings: SiteSettings): SiteSettings {
  const customer = settings.customers.get(CUSTOMER);
  if (!customer) throw new Error('no customer');
  const directory = { source: { kind: 'table' }, everyMs: 24 * 3_600_000, removalsShare: 0.02 } as const;
  const runbooks = new Map([['failover' as const, join(folder, 'ours.yaml')]]);
  return {
    ...settings,
    customers: new Map([[CUSTOMER, { ...customer, directory, runbooks }]]),
    channels: new Map([['desk', { kind: 'outbox', folder: join(folder, 'desk') }]]),
    paging: ['desk'],
  };
}

const everybody = (site: Site): Promise<unknown> =>
  ask(region, site, 'insert into tandem.directory (username) select username from tandem.home on conflict do nothing');
const gone = (site: Site, users: number): Promise<{ username: string }[]> =>
  ask(
    region,
    site,
    `delete from tandem.directory where username in
       (select username from tandem.home where site = 'east' order by 1 limit ${users}) returning username`,
  );
/** What was paged since the last time; whoever is on duty has taken it away. */
const pages = async (): Promise<{ subject: string; text: string }[]> => {
  const desk = join(folder, 'desk', 'new');
  const files = await readdir(desk).catch(() => []);
  const read = await Promise.all(files.map((file) => readFile(join(desk, file), 'utf8')));
  await Promise.all(files.map((file) => rm(join(desk, file))));
  return read.map((text) => JSON.parse(text) as { subject: string; text: string });
};

/** The n-th run that the schedule started, once it has ended. */
async function run(n: number): Promise<{ followed: Followed; held: unknown; runId: string }> {
  const { client, workflowId } = { client: region.clients.west, workflowId: id };
  let runId = '';
  await expect
    .poll(async () => {
      const started = (await describeSchedule(client, id))?.info.recentActions ?? [];
      runId = started[n - 1]?.action.workflow.firstExecutionRunId ?? '';
      return runId;
    })
    .not.toBe('');
  const workflow = (await describeSchedule(client, id))?.info.recentActions[n - 1]?.action.workflow.workflowId;
  const handle = client.workflow.getHandle(workflow ?? workflowId, runId);
  const followed = (await handle.result()) as Followed;
  const { typedSearchAttributes: seen } = await handle.describe();
  return { followed, held: seen.get(searchAttributes.held), runId };
}
const trigger = (): Promise<void> => region.clients.west.schedule.getHandle(id).trigger();

describe('provisioning', () => {
  it('begins as soon as its site is prepared, and tells numbers, never names', async () => {
    const { followed, held, runId } = await run(1);
    expect(followed).toMatchObject({ state: 'applied', counts: { users: 40, enabled: 40, disabled: 0 } });
    expect(held).toBeUndefined();
    const history = JSON.stringify(
      await region.clients.west.workflow
        .getHandle(id, runId)
        .fetchHistory()
        .catch(() => followed),
    );
    const [user] = await ask<{ username: string }>(region, 'west', 'select min(username) as username from tandem.home');
    expect(history).not.toContain(user?.username ?? 'nobody');
  });

  it('holds for an operator, is found by that, pages him once, and goes on when the directory is itself again', async () => {
    await gone('west', 10);
    await trigger();
    const { followed, held } = await run(2);
    expect(followed).toMatchObject({ state: 'held', counts: { users: 40 } });
    expect(held).toBe('directory');
    expect(await pages()).toEqual([
      expect.objectContaining({
        subject: `${CUSTOMER}: an answer of the directory waits for an operator at west`,
        text: expect.stringMatching(
          /it would disable 10 of 40 users, 3 are allowed.*\n.*\nNext: tandem directory show --site west/,
        ) as string,
      }),
    ]);
    await trigger();
    expect((await run(3)).followed.state).toBe('held');
    expect(await pages()).toEqual([]);
    expect(await ask(region, 'west', 'select count(*)::int as n from tandem.entitlement where enabled')).toEqual([
      { n: 40 },
    ]);
    await everybody('west');
    await trigger();
    expect((await run(4)).followed.state).toBe('applied');
  });

  it('pages once when the directory has been silent for an hour, and fails so that its run shows it', async () => {
    const site = openSite(region.settings.west);
    const follow = createDirectoryActivities(site, () => new AbortController().signal)['follow-directory'];
    const failed = async (): Promise<unknown> => follow({ customer: CUSTOMER }).catch(failureKind);
    await ask(region, 'west', 'alter table tandem.directory rename to hidden');
    try {
      expect(await failed()).toBe('directory-unreachable');
      expect(await pages()).toEqual([]);
      await ask(region, 'west', "update tandem.directory_answer set at = at - interval '4 days'");
      expect(await failed()).toBe('directory-unreachable');
      expect((await pages()).map((p) => p.subject)).toEqual([`${CUSTOMER}: the directory gives no answer at west`]);
      expect(await failed()).toBe('directory-unreachable');
      expect(await pages()).toEqual([]);
    } finally {
      await ask(region, 'west', 'alter table tandem.hidden rename to directory');
      await site.close();
    }
  });
});

describe('a failover', () => {
  beforeEach(async () => {
    await cover(region);
  });

  it('never brings a disabled account back: his contacts are restored, and he is not served', async () => {
    const [user] = await ask<{ username: string }>(
      region,
      'east',
      `select min(username) as username from rosterusers join tandem.home using (username) where site = 'east'`,
    );
    // East is dark from here on, and never hears of it.
    await ask(region, 'west', `delete from tandem.directory where username = '${user?.username}'`);
    region.lose('east');
    await worker.stop(); // A worker sees what is lost when it starts.
    await region.work('west');
    const handle = await declare(region);
    for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
    const { report } = await handle.result();
    expect(report).toMatchObject({ outcome: 'closed', mismatches: 0 });
    const facts = (step: string): unknown => report.steps.find((s) => s.id === step)?.facts;
    expect(facts('entitled')).toMatchObject({ directory: true, answered: true, entitled: 19, disabled: 1 });
    expect(facts('verify')).toMatchObject({ users: 20, unserved: 0, disabled: 1 });
    expect(await servable(region, 'west', 'east')).toBe(19);
    expect(
      await ask(
        region,
        'west',
        `select tandem.may_serve('${user?.username}') as served,
        exists (select from rosterusers where username = '${user?.username}') as contacts`,
      ),
    ).toEqual([{ served: false, contacts: true }]);
  });
});
