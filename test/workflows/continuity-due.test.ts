import { sign } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { judgeTest } from '../../activities/journal/judge-test.ts';
import { createJobs } from '../../activities/mover/jobs.ts';
import { placeOf } from '../../activities/vault/retention.ts';
import { seal } from '../../activities/vault/signed.ts';
import { findStrays } from '../../activities/vault/strays.ts';
import { testPrefix, testReceipts, writeTestReceipt } from '../../activities/vault/test-receipts.ts';
import { fingerprint, readTestEvidence } from '../../ops/evidence.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import { describeSchedule } from '../../ops/schedules.ts';
import { watchTests } from '../../ops/test-loop.ts';
import { testReportHtml } from '../../ops/test-report-html.ts';
import { runningTests, signTest, tellTest, type TestHandle } from '../../ops/tests.ts';
import type { ContinuityTestInput, TestReceipt, TestStatus } from '../../workflows/model/continuity.ts';
import { scheduleIds, taskQueue } from '../../workflows/model/names.ts';
import { monthsAfter, newestPassed, type TestStanding } from '../../workflows/model/test-due.ts';
import { testNews } from '../../workflows/model/test-news.ts';
import { passTime } from '../rig/clock.ts';
import { testGround, type TestGround } from '../rig/continuity.ts';
import { ask } from '../rig/failovers.ts';
import { CUSTOMER } from '../rig/region.ts';

/** Which continuity tests count, when the next one is due, and what is kept of them. */

const HOUR = 3_600_000;
let ground: TestGround;
beforeAll(async () => {
  ground = await testGround();
});
afterAll(() => ground.close());

/** Passed thirteen months ago. */
const past = (): TestReceipt => {
  const at = monthsAfter(new Date().toISOString(), -13);
  return {
    format: 1,
    customer: CUSTOMER,
    kind: 'isolated',
    site: 'west',
    run: 'of-last-year',
    outcome: 'passed',
    snapshot: null,
    point: null,
    startedAt: at,
    endedAt: at,
    counts: { users: 1, contacts: 0, groups: 0, lists: 0, aclItems: 0, defaults: 0 },
    mismatches: 0,
    because: '',
    notTested: [],
  };
};

describe('the yearly test', () => {
  const workflowId = scheduleIds.continuityTest(CUSTOMER);

  it('is overdue by last year’s receipt, not by a forged one; is put off by a blackout, held after it, and moves the schedule', async () => {
    const { region, vaults, start, receipts, agree, leftThere } = ground;
    const { settings, clients } = region;
    await writeTestReceipt(vaults.west, settings.west, past());
    await forge();
    const standings = new Map<string, TestStanding>();
    const [metrics, ending, said] = [new SiteMetrics(), new AbortController(), [] as string[]];
    const say = (line: string): void => void said.push(line);
    const looking = { settings: settings.west, client: clients.west, metrics, standings, say };
    const loop = watchTests({ ...looking, signal: ending.signal, everyMs: 100 });
    const standing = () => standings.get(CUSTOMER);
    await expect.poll(() => standing()?.state).toBe('overdue');
    expect(await metrics.registry.metrics()).toContain('tandem_test_overdue{customer="contoso"} 1');
    const overdue = standing();
    expect(overdue && testNews(CUSTOMER, 'west', overdue)).toMatchObject({
      severity: 'warning',
      subject: 'contoso: the yearly continuity test is OVERDUE',
      text: expect.stringContaining('Next: tandem test start --customer contoso --site west') as string,
    });

    const [from = '', to = ''] = [-1, 1].map((h) => new Date(Date.now() + h * HOUR).toISOString());
    agree({ blackouts: [{ from, to, because: 'year end' }] });
    await expect(start()).rejects.toThrow(/isolated test of contoso: blackout until .*: year end/);
    const handle = await bySchedule();
    await expect.poll(async () => (await handle.query<TestStatus>('status')).phase).toBe('put-off');
    expect(await leftThere()).toEqual([]);
    await passTime(clients.west, workflowId, HOUR);
    expect(await handle.result()).toMatchObject({ held: true, receipt: { outcome: 'passed', quarantined: 0 } });
    agree({ blackouts: [] });

    await expect.poll(() => standing()?.state).toBe('in-time');
    const month = new Date(monthsAfter(newestPassed(await receipts())?.endedAt ?? '', 11)).getUTCMonth();
    const next = async () => (await describeSchedule(clients.west, workflowId))?.info.nextActionTimes[0]?.getUTCMonth();
    await expect.poll(next).toBe(month);
    ending.abort();
    await loop;
    expect(said.filter((line) => line.includes('cannot be seen'))).toEqual([]);
  });

  /** Signed by the other site, for a test that would count. */
  async function forge(): Promise<void> {
    const { region, vaults } = ground;
    const now = new Date().toISOString();
    const document = { ...past(), run: 'forged', endedAt: now };
    const key = `${testPrefix(CUSTOMER, 'west')}${now.slice(0, 10)}-forged.json`;
    await vaults.west.put(key, seal('test-receipt', 'west', region.settings.east.signingKey, document));
  }

  async function bySchedule(): Promise<TestHandle> {
    const input: ContinuityTestInput = { customer: CUSTOMER, kind: 'isolated', startedBy: 'schedule' };
    return ground.region.clients.west.workflow.start('continuity-test', {
      workflowId,
      taskQueue: taskQueue('west'),
      args: [input],
    });
  }

  it.each([
    ['no cohort', undefined, /no cohort is named/],
    ['a cohort of this site’s own users', 'west/pilot', /of users whose home is east is expected/],
    ['a cohort that nobody is in', 'east/pilot', /east\/pilot has no users: `tandem cohort set pilot --site east/],
  ])('is no live one with %s', async (_, cohort, why) => {
    await expect(ground.start({ kind: 'live', ...(cohort && { cohort }) })).rejects.toThrow(why);
  });
});

describe('a tabletop', () => {
  it('takes no word that is not signed, and no two approvals of one person; what nobody confirms is listed; it never counts', async () => {
    const { region, begin, receipts, tell } = ground;
    const before = newestPassed(await receipts());
    const { handle, run, status } = await begin({ kind: 'tabletop', confirmWithinMs: HOUR });
    await expect.poll(async () => (await status()).phase).toBe('on-paper');
    const people = (await status()).people.map(({ id }) => id);
    expect(people).toEqual(['declare', 'people', 'isolation', 'findings', 'approval-1', 'approval-2']);
    const foreign = await signTest(
      await status(),
      { verb: 'confirm', step: 'people', operator: 'operator-1' },
      (text) => Promise.resolve(sign(null, Buffer.from(text), region.settings.east.signingKey).toString('hex')),
    );
    await expect(tellTest(handle, foreign)).rejects.toThrow(/signature does not hold/);
    await tell(handle, { verb: 'confirm', step: 'approval-1' });
    await expect(tell(handle, { verb: 'confirm', step: 'approval-2' })).rejects.toThrow(/another operator must/);
    await expect(tell(handle, { verb: 'confirm', step: 'approval-2' }, 2)).rejects.toThrow(/a commander must/);
    for (const step of people.filter((id) => id !== 'approval-1' && id !== 'findings'))
      await tell(handle, { verb: 'confirm', step }, 1);
    const listed = async () => (await runningTests(region.clients.west, CUSTOMER)).map((t) => t.status.run);
    await expect.poll(listed).toEqual([run]);
    await tell(handle, { verb: 'finish' });
    await expect(handle.result()).rejects.toThrow();
    const receipt = (await receipts()).find((r) => r.run === run);
    expect(receipt).toMatchObject({
      kind: 'tabletop',
      outcome: 'failed',
      because: 'nobody confirmed 1 of 6 steps: findings',
      paper: { from: 'east', to: 'west', blockers: [], digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string },
    });
    expect(receipt?.paper?.steps.map(({ act }) => act)).toContain('restore-contacts');
    expect(testReportHtml(receipt ?? past())).toContain('<td>NOT confirmed</td>');
    expect(newestPassed(await receipts())).toEqual(before);
    expect(await ask(region, 'west', 'select from tandem.move')).toEqual([]);
  });
});

describe('the evidence', () => {
  it('lies in both vaults, byte for byte; holds under the site’s key; and does not when a word of it was changed', async () => {
    const { region, vaults } = ground;
    const { east, west } = region.settings;
    const jobs = createJobs(east, () => ({ heartbeat: () => undefined, signal: new AbortController().signal }));
    // What west has not signed is told, and keeps nothing else away.
    await expect(jobs['pull-snapshots']({ customer: CUSTOMER })).rejects.toThrow(/forged.json: the signature of west/);
    const of = (vault: (typeof vaults)['west']) =>
      testReceipts({ vault, customer: CUSTOMER, site: 'west', publicKeys: east.publicKeys });
    const [here, there] = await Promise.all([of(vaults.west), of(vaults.east)]);
    expect(there.map(({ bytes }) => bytes)).toEqual(here.map(({ bytes }) => bytes));
    // A copy is no stray, and retention leaves it where it is.
    const { unknown } = await findStrays(
      vaults.east,
      { customer: CUSTOMER, site: 'west' },
      AbortSignal.timeout(20_000),
    );
    const sites = ['east', 'west'];
    const places = there.map(({ key }) => placeOf(key, { customer: CUSTOMER, site: 'east', sites }).kind);
    expect([unknown, ...new Set(places)]).toEqual([0, 'evidence']);
    const sealed = here.map((r) => r.sealed).find(({ document }) => document.outcome === 'passed' && document.residue);
    if (!sealed) throw new Error('no receipt');
    const { customer, site, run } = sealed.document;
    const about = { customer, site, run, readFrom: '', exportedAt: '', publicKeys: {} };
    const judged = (receipt: typeof sealed): string[] =>
      judgeTest({ format: 1, kind: 'continuity-test', ...about, receipt }, east.publicKeys, fingerprint).map(
        ({ check, ok }) => `${check} ${ok}`,
      );
    expect(judged(sealed)).toEqual(['keys true', 'signature true', 'outcome true']);
    expect(judged({ ...sealed, document: { ...sealed.document, because: 'x' } })).toContain('signature false');
    const lying = seal('test-receipt', site, west.signingKey, { ...sealed.document, mismatches: 1 });
    expect(judged(JSON.parse(String(lying)) as typeof sealed)).toEqual([
      'keys true',
      'signature true',
      'outcome false',
    ]);
    // As it lies in a vault, and as the command line writes it.
    const file = join(west.reportsFolder, 'receipt.json');
    const written = JSON.stringify({ format: 1, kind: 'continuity-test', ...about, receipt: sealed });
    for (const text of [here[0]?.bytes ?? '', written]) {
      await writeFile(file, text);
      const read = await readTestEvidence(file);
      expect(read && judgeTest(read.evidence, east.publicKeys, fingerprint).every(({ ok }) => ok)).toBe(true);
    }
  });
});
