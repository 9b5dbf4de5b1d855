import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failoverStatus, resumeFailover, type FailoverHandle } from '../../ops/moves.ts';
import { type VerbRequest } from '../../ops/verbs.ts';
import type { Message } from '../../activities/notify/port.ts';
import { webhookEnd, type WebhookEnd } from '../notify/ends.ts';
import { passTime } from '../rig/clock.ts';
import { approve, ask, cover, declare, reach } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** One commander alone, and those who could stop him. Operator 2 is the commander. */

const MINUTE = 60_000;
const [ONE, TWO] = [0, 1];
let region: Region;
let hook: WebhookEnd;
let handle: FailoverHandle;
let passed = 0;

beforeAll(async () => {
  [region, hook] = await Promise.all([openRegion({ users: 10 }), webhookEnd()]);
  await cover(region);
  region.lose('east');
  const paging = { channels: new Map([['hook', hook.settings]]), paging: ['hook'] };
  region.settings.west = { ...region.settings.west, ...paging };
  await region.work('west');
});
afterAll(async () => {
  await region.close();
  await hook.close();
});

const begin = async (): Promise<void> => {
  passed = 0;
  handle = await declare(region);
};
const pass = async (ms: number): Promise<void> => {
  await passTime(region.clients.west, handle.workflowId, ms);
  passed += ms;
};
const say = (by: number, change: Partial<VerbRequest>): Promise<void> => {
  const operator = region.operators[by];
  if (!operator) throw new Error(`no operator ${by}`);
  return approve(handle, operator, { now: Date.now() + passed, ...change });
};
const alone = (by = TWO): Promise<void> => say(by, { breakGlass: true, because: 'nobody else answers' });
const told = (): string[] =>
  hook.received.map(({ body }) => (JSON.parse(body) as Message).subject).filter((s) => s.includes('BREAK-GLASS'));
const glassLines = (): Promise<{ state: string }[]> =>
  ask(
    region,
    'west',
    `select body::jsonb->>'state' as state from tandem.journal where kind = 'break-glass' order by at`,
  );

describe('a commander who goes on alone', () => {
  beforeAll(begin);

  it('is no commander: refused', async () => {
    await expect(alone(ONE)).rejects.toThrow(/operator-1 may not break the glass: it takes the role commander/);
    await expect(say(TWO, { breakGlass: true })).rejects.toThrow(/has a reason/);
    await expect(say(ONE, { verb: 'veto', because: 'x' })).rejects.toThrow(/nobody has broken the glass/);
    expect((await failoverStatus(handle)).approvals).toEqual([]);
  });

  it('is refused when nobody could be paged; however long he waits, his word is one of two', async () => {
    hook.answer = { status: 410 };
    await expect(alone()).rejects.toThrow(/break-glass refused, nobody could be paged \(hook: .*stands as one of two/);
    await pass(11 * MINUTE);
    const status = await failoverStatus(handle);
    expect(status).toMatchObject({ phase: 'approving', breakGlass: null });
    expect(status.waitsFor).toMatch(/^1 of 2 signatures \(signed: operator-2/);
    hook.answer = { status: 204 };
  });

  it('does nothing when an approver stops him in the ninth minute, and cannot ask again', async () => {
    await alone();
    expect(told()).toEqual(['contoso: BREAK-GLASS: operator-2 alone approves']);
    await expect(alone()).rejects.toThrow(/has broken the glass already/);
    await pass(9 * MINUTE);
    const open = await failoverStatus(handle);
    expect(open.phase).toBe('approving');
    expect(open.waitsFor).toMatch(/UTC, when operator-2 ALONE approves by break-glass/);
    await say(ONE, { verb: 'veto', because: 'the site is there, I see it' });
    await pass(2 * MINUTE);
    const stopped = await failoverStatus(handle);
    expect(stopped).toMatchObject({ phase: 'approving', breakGlass: { stoppedBy: 'operator-1', countsAt: null } });
    expect(stopped.steps.every((s) => s.state === 'waiting')).toBe(true);
    await expect(alone()).rejects.toThrow(/operator-1 has stopped it: two must sign/);
  });

  it('and the one who stopped him may be the second', async () => {
    await say(ONE, {});
    const { report } = await handle.result();
    expect(report.outcome).toBe('closed');
    expect(report.breakGlass).toMatchObject({ operator: 'operator-2', stoppedBy: 'operator-1', counted: false });
    expect((await glassLines()).map((l) => l.state)).toEqual(['refused', 'paged']);
  });
});

describe('his word', () => {
  it('is void when the plan is another one', async () => {
    await begin();
    await alone();
    const { plan } = await failoverStatus(handle);
    await handle.terminate('somebody pressed the button');
    await ask(region, 'west', "insert into tandem.home values ('one-more', 'east')");
    handle = await resumeFailover(region.clients.west, 'west', CUSTOMER);
    const after = await reach(handle, (s) => s.phase === 'approving');
    expect(after.plan?.digest).not.toBe(plan?.digest);
    expect(after).toMatchObject({ approvals: [], breakGlass: null });
    await pass(11 * MINUTE);
    expect((await failoverStatus(handle)).phase).toBe('approving');
  });

  it('is the first of two when another operator signs within the ten minutes', async () => {
    await alone();
    await say(ONE, {});
    const { report } = await handle.result();
    expect(report.outcome).toBe('closed');
    expect(report.approvals.map((a) => a.operator)).toEqual(['operator-2', 'operator-1']);
    expect(report.breakGlass).toMatchObject({ operator: 'operator-2', stoppedBy: null, counted: false });
  });

  it('is enough after ten minutes that nobody used, also for a run that took the move over', async () => {
    await begin();
    await alone();
    await handle.terminate('somebody pressed the button');
    handle = await resumeFailover(region.clients.west, 'west', CUSTOMER);
    const resumed = await reach(handle, (s) => s.phase === 'approving');
    expect(resumed.breakGlass).toMatchObject({ operator: 'operator-2', sent: ['hook'] });
    await pass(9 * MINUTE);
    expect((await failoverStatus(handle)).phase).toBe('approving');
    await pass(MINUTE);
    const { report } = await handle.result();
    expect(report.outcome).toBe('closed');
    expect(report.approvals.map((a) => a.operator)).toEqual(['operator-2']);
    expect(report.breakGlass).toMatchObject({ operator: 'operator-2', counted: true, because: 'nobody else answers' });
  });
});
