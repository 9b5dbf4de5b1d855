import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildOf, buildWorkflows, type WorkflowBuild } from '../../ops/build.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import { failoverStatus, resumeFailover, type FailoverHandle } from '../../ops/moves.ts';
import { watchStranded } from '../../ops/stranded-loop.ts';
import { strandedMoves, type StrandedReason } from '../../ops/stranded.ts';
import { outboxEnd } from '../notify/ends.ts';
import { approve, ask, cover, declare, reach } from '../rig/failovers.ts';
import { sendVerb, signVerb } from '../../ops/verbs.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** A new release never changes a move that runs: it keeps the build it was approved with, and ends as it would have. */

const OLD = 'two operators agreed';
const NEW = 'two operators agreed, says the release';
const LATER = 'two operators agreed, says the one after it';
/** A worker that was stopped polls no more; in production it is gone after 75 s. */
const GONE_MS = 2000;

/** Three builds and their workers, one after the other, on a machine that is busy. */
const LONG = { timeout: 150_000 };

const old = buildWorkflows();
/** The same workflows with other words: another build. */
const saying = async (words: string): Promise<WorkflowBuild> =>
  buildOf((await old).workflowBundle.code.replaceAll(OLD, words));
const release = saying(NEW);
const later = saying(LATER);
let region: Region;
let worker: { stop: () => Promise<void> };
beforeAll(async () => {
  region = await openRegion({ users: 10 });
  await cover(region);
  region.lose('east');
  worker = await region.work('west');
});
afterAll(() => region.close());

const sign = async (handle: FailoverHandle, by: number): Promise<void> => {
  const operator = region.operators[by];
  if (!operator) throw new Error(`no operator ${by}`);
  await approve(handle, operator);
};
/** The words of whoever took the move from approving to moving, as its journal has them. */
const agreedBy = async (move: string): Promise<unknown[]> => {
  const rows = await ask<{ because: string }>(
    region,
    'west',
    `select body::jsonb ->> 'because' as because from tandem.journal
      where move = '${move}' and kind = 'phase' and body::jsonb ->> 'phase' = 'moving' order by seq`,
  );
  return rows.map(({ because }) => because);
};
const effects = async (move: string): Promise<string[]> => {
  const rows = await ask<{ key: string }>(
    region,
    'west',
    `select key from tandem.journal where move = '${move}' and key like 'effect/%'`,
  );
  return rows.map(({ key }) => key.split('/').slice(3).join('/')).toSorted();
};
const ONCE = ['contacts/0', 'epoch/0', 'fence/0', 'parity/0', 'serve/0', 'verify/0'];

describe('a release that comes while a move waits for its approvals', () => {
  it(
    'never takes it over: it goes on with its own build to the same end, and the next one has the new build',
    LONG,
    async () => {
      const handle = await declare(region);
      const newer = await region.work('west', undefined, release);
      for (const i of [0, 1]) await sign(handle, i);
      const { report } = await handle.result();
      expect(report).toMatchObject({ outcome: 'closed', mismatches: 0 });
      expect(await agreedBy(report.move)).toEqual([OLD]);
      expect(await effects(report.move)).toEqual(ONCE);
      const next = await declare(region);
      const { raw } = await next.describe();
      expect(raw.workflowExecutionInfo?.versioningInfo?.deploymentVersion?.buildId).toBe((await release).buildId);
      await next.cancel();
      expect((await next.result()).report.outcome).toBe('aborted');
      await newer.stop();
    },
  );
});

describe('a move whose build has no worker any more', () => {
  it('never stands still in silence, and ends the same when the next release takes it over', LONG, async () => {
    const { west } = region.clients;
    const gone = await region.work('west', undefined, release);
    const first = await declare(region);
    await sign(first, 0);
    const seen = await failoverStatus(first);
    const { move, plan } = seen;
    expect(await strandedMoves(west)).toEqual([]);
    await Promise.all([gone.stop(), worker.stop()]);
    const [, two] = region.operators;
    if (!two) throw new Error('no second operator');
    const unheard = signVerb(seen, { verb: 'approve', operator: two.id, key: two.key });
    await expect(sendVerb(first, unheard, 1500)).rejects.toThrow('approve: no answer within 1.5 s');
    worker = await region.work('west', undefined, later);

    const told = await alarmed('no-worker');
    const stranded = { customer: CUSTOMER, workflowId: first.workflowId, build: (await release).buildId };
    expect(await strandedMoves(west, { goneMs: GONE_MS })).toMatchObject([stranded]);
    expect(told.said).toEqual([
      `ALARM: ${first.workflowId} waits for build ${stranded.build}, which no worker runs any more: it goes on with nothing and answers nobody; \`tandem failover resume --customer ${CUSTOMER} --site west --take-over\` goes on from its journal`,
    ]);
    expect(told.pages).toHaveLength(1);
    expect(told.pages[0]).toMatch(/tandem failover resume --customer contoso --site west --take-over/);
    expect(told.metrics).toMatch(/^tandem_moves_stranded\{site="west",reason="no-worker"\} 1$/m);

    const handle = await resumeFailover(west, 'west', CUSTOMER, { replace: true });
    const after = await reach(handle, (s) => s.phase === 'approving');
    expect(after).toMatchObject({ move, plan: { digest: plan?.digest }, approvals: [{ operator: 'operator-1' }] });
    await sign(handle, 1);
    const { report } = await handle.result();
    expect(report).toMatchObject({ move, outcome: 'closed', mismatches: 0 });
    expect(await agreedBy(move)).toEqual([LATER]);
    expect(await effects(move)).toEqual(ONCE);
    expect(await strandedMoves(west, { goneMs: GONE_MS })).toEqual([]);
  });
});

describe('a move whose history its worker cannot replay', () => {
  it('never stands still in silence, and ends the same when it is taken over', LONG, async () => {
    const { west } = region.clients;
    const first = await declare(region);
    await sign(first, 0);
    const { move, plan } = await failoverStatus(first);
    await worker.stop();
    const { workflowBundle, buildId } = await later;
    const code = workflowBundle.code.replaceAll('make-plan', 'make-another-plan');
    const broken = await region.work('west', undefined, Promise.resolve({ ...buildOf(code), buildId }));
    await west.workflow.getHandle(first.workflowId).signal('a-word-that-nobody-takes');

    const told = await alarmed('task-fails');
    const stranded = { workflowId: first.workflowId, reason: 'task-fails' };
    expect(await strandedMoves(west)).toMatchObject([stranded]);
    expect(told.said).toEqual([
      expect.stringMatching(
        /^ALARM: .* its workflow task failed \d+ times in a row, with ".*Nondeterminism.*make-another-plan/,
      ),
    ]);
    expect(told.pages).toHaveLength(1);
    expect(told.pages[0]).toMatch(/tandem failover resume --customer contoso --site west --take-over\n?$/);
    expect(told.metrics).toMatch(/^tandem_moves_stranded\{site="west",reason="task-fails"\} 1$/m);

    await broken.stop();
    worker = await region.work('west', undefined, later);
    const handle = await resumeFailover(west, 'west', CUSTOMER, { replace: true });
    const after = await reach(handle, (s) => s.phase === 'approving');
    expect(after).toMatchObject({ move, plan: { digest: plan?.digest }, approvals: [{ operator: 'operator-1' }] });
    await sign(handle, 1);
    expect((await handle.result()).report).toMatchObject({ move, outcome: 'closed', mismatches: 0 });
    expect(await effects(move)).toEqual(ONCE);
    expect(await strandedMoves(west)).toEqual([]);
  });
});

/** What the loop of a worker tells in three looks, with an outbox as its channel. */
async function alarmed(reason: StrandedReason): Promise<{ said: string[]; pages: string[]; metrics: string }> {
  const box = await outboxEnd();
  const ended = new AbortController();
  const metrics = new SiteMetrics();
  const said: string[] = [];
  const settings = { ...region.settings.west, channels: new Map([['box', box.settings]]), paging: ['box'] };
  const looking = watchStranded(region.clients.west, settings, metrics, ended.signal, (line) => said.push(line), {
    everyMs: 300,
    // A worker that has just begun must not be taken for gone.
    ...(reason === 'no-worker' && { goneMs: GONE_MS }),
  });
  await expect.poll(() => said.length, { timeout: 60_000 }).toBeGreaterThan(0);
  await new Promise((resolve) => setTimeout(resolve, 700)); // Two more looks: what was told is not told again.
  ended.abort();
  await looking;
  const pages = (await box.accepted()).map(({ text }) => text);
  await box.close();
  return { said, pages, metrics: await metrics.registry.metrics() };
}
