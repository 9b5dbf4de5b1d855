import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failoverStatus, resumeFailover, type FailoverHandle } from '../../ops/moves.ts';
import { sendVerb, signVerb, type VerbRequest } from '../../ops/verbs.ts';
import type { VerbAnswer } from '../../workflows/model/moves.ts';
import { approve, ask, cover, declare, reach, servable } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** A failover from a site that turned out to be whole is turned back, as long as nobody of it is served. */

let region: Region;
beforeEach(async () => {
  region = await openRegion({ users: 10 });
  await cover(region);
  await region.work('west');
});
afterEach(() => region.close());

const [ONE, TWO] = [0, 1];
async function say(
  handle: FailoverHandle,
  by: number,
  verb: Omit<VerbRequest, 'operator' | 'key'>,
): Promise<VerbAnswer> {
  const operator = region.operators[by];
  if (!operator) throw new Error(`no operator ${by}`);
  return sendVerb(
    handle,
    signVerb(await failoverStatus(handle), { operator: operator.id, key: operator.key, ...verb }),
  );
}
const turn = (handle: FailoverHandle, by: number): Promise<VerbAnswer> =>
  say(handle, by, { verb: 'turn-back', because: 'the hall has light again' });
/** East is seen to serve, and two accept that. */
async function agree(): Promise<FailoverHandle> {
  const handle = await declare(region, { sourceIsServing: true });
  for (const operator of region.operators.slice(0, 2))
    await approve(handle, operator, { accepts: ['source-is-serving'] });
  return handle;
}
const rename = (from: string, to: string): Promise<unknown> =>
  ask(region, 'west', `alter table rosterusers rename column ${from} to ${to}`);
const held = (handle: FailoverHandle, step: string) =>
  reach(handle, (s) => s.steps.some(({ id, state }) => id === step && state === 'held'));
/** Where each half may be served, by the two databases. */
const sites = async (): Promise<Record<string, string>> => {
  const found: Record<string, string> = {};
  for (const half of ['east', 'west'] as const) {
    const at = [];
    for (const site of ['east', 'west'] as const) if ((await servable(region, site, half)) > 0) at.push(site);
    found[half] = at.join(' and ');
  }
  return found;
};

describe('a failover is not turned back', () => {
  it('while it can be aborted, by one operator, without a reason, or once its users are served', async () => {
    await rename('nick', 'nick_');
    const handle = await declare(region, { sourceIsServing: true });
    await expect(turn(handle, TWO)).rejects.toThrow(/no epoch is claimed yet: abort it/);
    for (const operator of region.operators.slice(0, 2))
      await approve(handle, operator, { accepts: ['source-is-serving'] });
    await held(handle, 'contacts');
    await expect(say(handle, TWO, { verb: 'turn-back' })).rejects.toThrow(/a turn-back has a reason/);
    const { waitsFor } = await turn(handle, TWO);
    expect(waitsFor).toMatch(/operator-2 signed turn-back, another operator must/);
    await expect(turn(handle, TWO)).rejects.toThrow(/has already signed this/);
    expect(await sites()).toEqual({ east: '', west: 'west' });
    await rename('nick_', 'nick');
    await say(handle, ONE, { verb: 'pause', because: 'to look at it' });
    await say(handle, ONE, { verb: 'retry', step: 'contacts' });
    await say(handle, ONE, { verb: 'resume' });
    const end = await handle.result();
    expect(end.report.outcome).toBe('closed');
    expect(await sites()).toEqual({ east: 'west', west: 'west' });
  });
});

describe('a failover that two turn back', () => {
  it('stops what is under way, gives the source its users under a further epoch, and says so', async () => {
    const blocker = new Client({ connectionString: region.urls.west });
    await blocker.connect();
    await blocker.query('begin; lock table rosterusers in access exclusive mode');
    const handle = await agree();
    await reach(handle, (s) => s.steps.some(({ id, state }) => id === 'contacts' && state === 'running'));
    await reach(handle, (s) => s.steps.some(({ id, state }) => id === 'fence' && state === 'done'));
    expect(await sites()).toEqual({ east: '', west: 'west' });
    await turn(handle, ONE);
    await turn(handle, TWO);
    const { report } = await handle.result();
    await blocker.end();
    expect(report).toMatchObject({ outcome: 'turned-back', servedAt: null });
    expect(report.steps.map(({ id, state }) => [id, state])).toEqual([
      ['epoch', 'done'],
      ['fence', 'done'],
      ['contacts', 'failed'],
      ['parity', 'done'],
      ['serve', 'waiting'],
      ['verify', 'waiting'],
      ['turn-back', 'done'],
    ]);
    expect(report.steps.at(-1)?.summary).toMatch(/^east serves users of east again under epoch \d+$/);
    expect(await sites()).toEqual({ east: 'east', west: 'west' });
    // The customer's slot is free, and another failover finds the next epoch.
    expect((await failoverStatus(await declare(region, { sourceIsServing: true }))).plan?.decisions.epoch).toBe(
      (report.epoch ?? 0) + 2,
    );
  });

  it('is held while the source cannot be told, and goes on from the journal when its run is gone', async () => {
    await rename('nick', 'nick_');
    await ask(
      region,
      'east',
      'revoke execute on function tandem.hand_over(text, text, bigint, text, text) from tandem_peer',
    );
    const first = await agree();
    await held(first, 'contacts');
    await turn(first, ONE);
    await turn(first, TWO);
    expect((await held(first, 'turn-back')).phase).toBe('turning-back');
    expect(await sites()).toEqual({ east: '', west: 'west' });
    await first.terminate('somebody pressed the button');
    const second = await resumeFailover(region.clients.west, 'west', CUSTOMER, { replace: false });
    const { phase, next } = await held(second, 'turn-back');
    expect(phase).toBe('turning-back');
    expect(next).toContain('--step turn-back');
    await ask(
      region,
      'east',
      'grant execute on function tandem.hand_over(text, text, bigint, text, text) to tandem_peer',
    );
    await say(second, ONE, { verb: 'retry', step: 'turn-back' });
    expect((await second.result()).report.outcome).toBe('turned-back');
    expect(await sites()).toEqual({ east: 'east', west: 'west' });
  });
});
