import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import type { SiteActivities } from '../../activities/types.ts';
import { prepareSite } from '../../ops/prepare.ts';
import { failoverStatus, resumeFailover } from '../../ops/moves.ts';
import { prepareNamespace } from '../../ops/temporal.ts';
import { startTest } from '../../ops/tests.ts';
import { scheduleIds } from '../../workflows/model/names.ts';
import { approve, ask, cover, declare, reach, servable } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/**
 * What has made failovers of others fail, as things that must not happen here. Most are proven where the part stands that
 * prevents them: the list says where, and is red when such a test has gone. The rest are below.
 */
const proven: Record<string, [file: string, test: string][]> = {
  'a two-day-old snapshot used without saying so': [
    ['failover-acts/standby-source.test.ts', 'plans with a copy that is older than promised without saying so'],
    ['failover-acts/plan.test.ts', 'names the loss beyond the RPO, and only that'],
    ['journal/approvals.test.ts', 'with an approval that does not accept what its plan asks'],
  ],
  'a site taken for dead although two observers disagree': [
    ['unit/verdict.test.ts', 'while any part of it answers: observers that disagree'],
    ['failover-acts/plan.test.ts', 'while the source says that it serves'],
    ['failover-acts/witness.test.ts', 'with a fresh beat, although nothing of it can be reached'],
  ],
  'a second run started beside a live one': [
    ['workflows/approvals.test.ts', 'by a second run, under the same id or another'],
    ['failover-acts/journal.test.ts', 'goes to exactly one of ten that come at once'],
  ],
  'a dead leader’s lock that blocks recovery': [
    ['workflows/resume.test.ts', 'is not begun a second time, and goes on with its signatures'],
    ['workflows/temporal-ui.test.ts', 'at every phase: never frees the slot, and the move goes on'],
    ['failover-acts/acts.test.ts', 'waits for an epoch that is being advanced, and is then refused'],
  ],
  'a move reported complete with steps skipped': [
    ['workflows/verbs.test.ts', 'is never reported as complete'],
    ['journal/reports.test.ts', 'never says that nothing was brought back when users are served and a check failed'],
  ],
  'an approval that outlives the world it was given for': [
    ['failover-acts/acts.test.ts', 'goes on when the source serves, although the plan says otherwise'],
    ['failover-acts/acts.test.ts', 'goes on when only a machine vouched for the isolation'],
    ['workflows/rto.test.ts', 'because the first has lapsed'],
    ['journal/approvals.test.ts', 'after another plan had been made: what was signed is void'],
    ['workflows/break-glass.test.ts', 'is void when the plan is another one'],
  ],
};

describe('proven elsewhere', () => {
  it.each(Object.entries(proven))('%s', async (_, tests) => {
    for (const [file, name] of tests) {
      const text = await readFile(fileURLToPath(new URL(`../${file}`, import.meta.url)), 'utf8');
      expect(text, `${file} has no test of this name`).toContain(name);
    }
  });
});

let region: Region;
beforeAll(async () => {
  region = await openRegion({ users: 10 });
  await cover(region);
  region.lose('east');
});
afterAll(() => region.close());

describe('a small repair that blocks a real failover', () => {
  it('is none: neither a test, a snapshot nor the standby copy that hangs keeps it from serving', async () => {
    const { west } = region.clients;
    const begun = new Set<string>();
    const hung = Promise.withResolvers<never>();
    hung.promise.catch(() => undefined);
    // Each of them takes its turn and never comes to its end.
    const small = ['take-snapshot', 'pull-snapshots', 'plan-test'] as const;
    const hanging = (real: SiteActivities): SiteActivities => ({
      ...real,
      ...(Object.fromEntries(small.map((name) => [name, () => (begun.add(name), hung.promise)])) as unknown as Pick<
        SiteActivities,
        (typeof small)[number]
      >),
    });
    await prepareSite(region.settings.west, west, () => undefined);
    const worker = await region.work('west', hanging);
    await west.schedule.getHandle(scheduleIds.snapshotEvery(CUSTOMER)).trigger();
    await west.schedule.getHandle(scheduleIds.standby(CUSTOMER)).trigger();
    const test = startTest(west, 'west', CUSTOMER).catch(() => undefined);
    await expect.poll(() => [...begun].toSorted()).toEqual([...small].toSorted());
    const handle = await declare(region);
    for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
    const { report } = await handle.result();
    expect(report).toMatchObject({ outcome: 'closed', mismatches: 0 });
    expect(await servable(region, 'west', 'east')).toBe(5);
    hung.reject(new Error('the test is over'));
    for await (const { workflowId } of west.workflow.list({ query: "ExecutionStatus = 'Running'" }))
      await west.workflow.getHandle(workflowId).terminate('the test is over');
    await test;
    await worker.stop();
  });
});

describe('a small repair whose process stands still in a transaction', () => {
  it('loses its locks after half a minute: the server itself ends it', async () => {
    const [customer] = region.settings.west.customers.values();
    const database = new Database('of west', customer?.databaseUrl ?? '', {
      connections: 1,
      connectMs: 5000,
      statementMs: 5000,
    });
    expect(await database.query('show idle_in_transaction_session_timeout')).toEqual([
      { idle_in_transaction_session_timeout: '30s' },
    ]);
    await database.close();
  });
});

describe('a rebuilt controller that does not know what was intended', () => {
  it('is none: an empty Temporal service goes on from the journal, with its signatures, and does nothing twice', async () => {
    await ask(region, 'west', 'alter table rosterusers rename column nick to nick_');
    const before = await region.work('west');
    const first = await declare(region);
    for (const operator of region.operators.slice(0, 2)) await approve(first, operator);
    await reach(first, (s) => s.steps.some((step) => step.state === 'held'));
    const { move, plan } = await failoverStatus(first);
    await before.stop();

    region.emptyTemporal('west');
    const { west } = region.clients;
    await prepareNamespace(west, west.options.namespace);
    await prepareSite(region.settings.west, west, () => undefined);
    await region.work('west');
    await ask(region, 'west', 'alter table rosterusers rename column nick_ to nick');
    const handle = await resumeFailover(west, 'west', CUSTOMER);
    const { report } = await handle.result();
    expect(report).toMatchObject({ move, outcome: 'closed', mismatches: 0, planDigest: plan?.digest });
    expect(report.approvals.map((a) => a.operator)).toEqual(['operator-1', 'operator-2']);
    const rows = await ask<{ key: string }>(
      region,
      'west',
      `select key from tandem.journal where move = '${move}' and key like 'effect/%'`,
    );
    expect(rows.map(({ key }) => key.split('/').slice(3).join('/')).toSorted()).toEqual([
      'contacts/0',
      'epoch/0',
      'fence/0',
      'parity/0',
      'serve/0',
      'verify/0',
    ]);
  });
});
