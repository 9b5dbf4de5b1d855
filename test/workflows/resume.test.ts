import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failoverStatus, resumeFailover, standsBecause, startFailover, type FailoverHandle } from '../../ops/moves.ts';
import { sendVerb, signVerb } from '../../ops/verbs.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import { approve, ask, cover, declaration, declare, reach, servable } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** The run of a failover is gone, terminated by somebody in Temporal UI; its journal is not. */

let region: Region;
beforeEach(async () => {
  region = await openRegion({ users: 10 });
  await cover(region);
  region.lose('east');
  await region.work('west');
});
afterEach(() => region.close());

const resume = (replace = false): Promise<FailoverHandle> =>
  resumeFailover(region.clients.west, 'west', CUSTOMER, { replace });
const broken = (): Promise<unknown> => ask(region, 'west', 'alter table rosterusers rename column nick to nick_');
const mended = (): Promise<unknown> => ask(region, 'west', 'alter table rosterusers rename column nick_ to nick');
const effects = async (): Promise<string[]> => {
  const rows = await ask<{ key: string }>(region, 'west', `select key from tandem.journal where key like 'effect/%'`);
  return rows.map(({ key }) => key.split('/').slice(3).join('/')).toSorted();
};

describe('a move whose run was terminated', () => {
  it('is not begun a second time, and goes on with its signatures and without doing anything twice', async () => {
    await broken();
    const first = await declare(region);
    const { move, plan } = await failoverStatus(first);
    for (const operator of region.operators.slice(0, 2)) await approve(first, operator);
    await reach(first, (s) => s.steps.some((step) => step.state === 'held'));
    expect(await standsBecause(first, await failoverStatus(first))).toBeNull();
    await first.terminate('somebody pressed the button');
    // Its status is still what it was: who looks is told that it goes no further, and how it does.
    const stands = await standsBecause(first, await failoverStatus(first));
    expect(stands?.message).toContain('its run is terminated');
    const second = await startFailover(region.clients.west, 'west', declaration());
    expect(await second.result().then(() => '', failureKind)).toBe('move-running');
    expect(failureKind(await standsBecause(second, await failoverStatus(second)))).toBe('move-running');
    expect(await servable(region, 'west', 'east')).toBe(0);

    await mended();
    const { report } = await (await resume()).result();
    expect(report).toMatchObject({ move, outcome: 'closed', epoch: plan?.decisions.epoch, planDigest: plan?.digest });
    expect(report.approvals.map((a) => a.operator)).toEqual(['operator-1', 'operator-2']);
    expect(await effects()).toEqual(['contacts/0', 'epoch/0', 'fence/0', 'parity/0', 'serve/0', 'verify/0']);
    const third = await resume(); // It has ended: there is nothing to go on with.
    expect(await third.result().then(() => '', failureText)).toMatch(/no move holds its slot at west/);
  });

  it('counts a signature that was given before, and asks for the other', async () => {
    const first = await declare(region);
    const [one, two] = region.operators;
    if (!one || !two) throw new Error('no operators');
    const status = await failoverStatus(first);
    const signed = signVerb(status, { verb: 'approve', operator: one.id, key: one.key });
    await sendVerb(first, signed);
    await first.terminate('somebody pressed the button');
    const handle = await resume();
    const after = await reach(handle, (s) => s.phase === 'approving');
    expect(after).toMatchObject({ move: status.move, plan: { digest: status.plan?.digest } });
    expect(after.approvals.map((a) => a.operator)).toEqual([one.id]);
    await expect(sendVerb(handle, signed)).rejects.toThrow(/was used before/);
    await approve(handle, two);
    expect((await handle.result()).report.outcome).toBe('closed');
  });

  it('is taken over from a run that is there, which changes nothing any more', async () => {
    await broken();
    const first = await declare(region);
    for (const operator of region.operators.slice(0, 2)) await approve(first, operator);
    await reach(first, (s) => s.steps.some((step) => step.state === 'held'));
    const { runId } = await first.describe();
    await expect(resume()).rejects.toThrow(/a run of it is there/);
    const handle = await resume(true);
    await reach(handle, (s) => s.steps.some((step) => step.state === 'held'));
    expect((await region.clients.west.workflow.getHandle(first.workflowId, runId).describe()).status.name).toBe(
      'TERMINATED',
    );
    await mended();
    const status = await failoverStatus(handle);
    const [one] = region.operators;
    if (!one) throw new Error('no operators');
    await sendVerb(handle, signVerb(status, { verb: 'retry', step: 'contacts', operator: one.id, key: one.key }));
    expect((await handle.result()).report.outcome).toBe('closed');
    expect(await effects()).toEqual(['contacts/1', 'epoch/0', 'fence/0', 'parity/0', 'serve/0', 'verify/0']);
  });
});
