import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { failoverStatus, type FailoverHandle } from '../../ops/moves.ts';
import { sendVerb, signVerb, type VerbRequest } from '../../ops/verbs.ts';
import type { VerbAnswer } from '../../workflows/model/moves.ts';
import { approve, ask, cover, declare, reach, servable } from '../rig/failovers.ts';
import { openRegion, type Region } from '../rig/region.ts';

/** A step is held because the tables are not what they should be; operators answer. */

let region: Region;
let handle: FailoverHandle;

const open = async (): Promise<void> => {
  region = await openRegion({ users: 10 });
  await cover(region);
  region.lose('east');
  await region.work('west');
  await ask(region, 'west', 'alter table rosterusers rename column nick to nick_');
  handle = await declare(region);
  for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
  await reach(handle, (s) => s.steps.some((step) => step.state === 'held'));
};

const [ONE, TWO] = [0, 1];
/** Of two operators, the second of whom is a commander, and both may operate. */
const say = async (by: number, verb: Omit<VerbRequest, 'operator' | 'key'>): Promise<VerbAnswer> => {
  const operator = region.operators[by];
  if (!operator) throw new Error(`no operator ${by}`);
  const status = await failoverStatus(handle);
  return sendVerb(handle, signVerb(status, { operator: operator.id, key: operator.key, ...verb }));
};
const stateOf = async (id: string): Promise<string | undefined> =>
  (await failoverStatus(handle)).steps.find((s) => s.id === id)?.state;
const lines = (kind: string): Promise<{ body: Record<string, unknown> }[]> =>
  ask(region, 'west', `select body::jsonb as body from tandem.journal where kind = '${kind}' order by seq`);

describe('a held step', () => {
  beforeAll(open);
  afterAll(() => region.close());
  const step = 'contacts';

  it('is passed over by nobody alone, and not by one who signs twice', async () => {
    const { waitsFor } = await say(ONE, { verb: 'skip', step, because: 'the standby copy will do' });
    expect(waitsFor).toMatch(/operator-1 signed skip, another operator must/);
    await expect(say(ONE, { verb: 'skip', step, because: 'again' })).rejects.toThrow(/has already signed this/);
    await expect(say(TWO, { verb: 'skip', step })).rejects.toThrow(/a skip has a reason/);
    expect(await stateOf(step)).toBe('held');
    expect(await servable(region, 'west', 'east')).toBe(0);
  });

  it('is not done by hand because two say so', async () => {
    await say(ONE, { verb: 'done', step, because: 'restored from the dump' });
    expect((await failoverStatus(handle)).motions).toMatchObject([{ answer: 'done', operators: ['operator-1'] }]);
    await say(TWO, { verb: 'done', step, because: 'restored from the dump' });
    const { steps } = await reach(handle, (s) => s.steps.some(({ summary }) => summary.includes('and it is not')));
    expect(steps.find((s) => s.id === step)?.state).toBe('held');
    expect(await servable(region, 'west', 'east')).toBe(0);
  });

  it('no longer lets the move be aborted, nor a cancel end it', async () => {
    await expect(say(TWO, { verb: 'abort' })).rejects.toThrow(/can no longer be aborted/);
    await handle.cancel();
    const { alarms } = await reach(handle, (s) => s.alarms.some(({ text }) => text.includes('cancel')));
    expect(alarms.at(-1)?.text).toMatch(/refused/);
  });

  it('goes through another round, but not while the move is paused', async () => {
    await say(TWO, { verb: 'take' });
    await say(ONE, { verb: 'note', because: 'the column has its name again' });
    await say(ONE, { verb: 'pause', because: 'the shift changes' });
    await expect(say(TWO, { verb: 'pause' })).rejects.toThrow(/paused already, by operator-1/);
    await ask(region, 'west', 'alter table rosterusers rename column nick_ to nick');
    const { waitsFor } = await say(ONE, { verb: 'retry', step });
    expect(waitsFor).toMatch(/^a resume: operator-1 paused it at .*, the shift changes/);
    expect(await stateOf(step)).toBe('waiting');
    expect(await stateOf('serve')).toBe('waiting');
    await say(TWO, { verb: 'resume' });
    const { report } = await handle.result();
    expect(report).toMatchObject({ outcome: 'closed', mismatches: 0 });
    expect(report.steps.find((s) => s.id === step)).toMatchObject({ state: 'done', round: 1 });
    expect(report.notes).toMatchObject([{ by: 'operator-1', text: 'the column has its name again' }]);
    expect((await failoverStatus(handle)).owner).toBe('operator-2');
  });

  it('leaves every word that was signed in the journal', async () => {
    const signed = (await lines('signed')).map(({ body }) => `${String(body['operator'])} ${String(body['verb'])}`);
    expect(signed).toEqual([
      'operator-1 approve',
      'operator-2 approve',
      'operator-1 skip',
      'operator-1 done',
      'operator-2 done',
      'operator-2 take',
      'operator-1 note',
      'operator-1 pause',
      'operator-1 retry',
      'operator-2 resume',
    ]);
  });
});

describe('a move with a step that was skipped', () => {
  beforeEach(open);
  afterAll(() => region.close());

  it('is never reported as complete', async () => {
    await say(ONE, { verb: 'skip', step: 'contacts', because: 'served without the last hours' });
    await say(TWO, { verb: 'skip', step: 'contacts', because: 'served without the last hours' });
    const held = await reach(handle, (s) => s.steps.some((step) => step.id === 'verify' && step.state === 'held'));
    expect(held.phase).toBe('verifying');
    await say(TWO, { verb: 'skip', step: 'verify', because: 'known' });
    const { report } = await handle.result();
    expect(report.outcome).toBe('closed-with-gaps');
    expect(report.steps.map(({ id, state }) => [id, state])).toEqual([
      ['epoch', 'done'],
      ['fence', 'done'],
      ['contacts', 'skipped'],
      ['parity', 'done'],
      ['serve', 'done'],
      ['verify', 'skipped'],
    ]);
    expect(report.steps.find((s) => s.id === 'contacts')?.summary).toBe(
      'skipped by operator-1 and operator-2: served without the last hours',
    );
  });
});
