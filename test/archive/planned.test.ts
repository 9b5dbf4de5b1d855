import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeRelocatePlan } from '../../activities/services/plan-relocate.ts';
import type { CustomerSettings } from '../../activities/settings.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { CUSTOMER, eastAt, makeWorld, type World } from '../failover-acts/world.ts';
import { ARCHIVE } from './ground.ts';

/** What would hold the step that brings archived messages is said before anybody signs. */

let world: World;
beforeEach(async () => {
  world = await makeWorld();
  await world.westDb.query(ARCHIVE);
});
afterEach(() => world.close());

async function plan(change: Partial<CustomerSettings> = { options: ['content-archiving'] }): Promise<Plan> {
  const site = world.westWith({ customer: change });
  const input = {
    customer: CUSTOMER,
    half: 'west',
    from: 'west',
    to: 'east',
    reason: 'work on the power',
    requestedBy: 'di',
  };
  return makeRelocatePlan(site, { input, declaredAt: new Date().toISOString() });
}
const blockers = async (change?: Partial<CustomerSettings>): Promise<string[]> =>
  (await plan(change)).blockers.map(({ text }) => text).filter((text) => text.includes('archive'));

describe('a planned move of a customer with content archiving', () => {
  it('cannot be signed while the destination’s archive cannot take what is brought', async () => {
    expect(await blockers()).toEqual([
      'step archive: archive of contoso at east: its database has no table archive: ejabberd there keeps none, or elsewhere (ops/ARCHIVING.md)',
    ]);
    await world.eastDb.query(ARCHIVE);
    await world.eastDb.query('revoke insert on public.archive from tandem');
    expect(await blockers()).toMatchObject([
      expect.stringContaining('grant select, insert, delete on archive to tandem'),
    ]);
    await world.eastDb.query('drop function tandem.observe_archive()');
    expect(await blockers()).toMatchObject([expect.stringContaining('bring its worker to this version')]);
  });

  it('has the step outside of what users wait for, and is not stopped by it where all is well or nothing is archived', async () => {
    await world.eastDb.query(ARCHIVE);
    expect(await blockers()).toEqual([]);
    const { decisions } = await plan();
    expect(decisions.steps.find(({ id }) => id === 'archive')).toMatchObject({
      act: 'reconcile-archive',
      needs: ['serve'],
      outsideRto: true,
    });
    expect(decisions.steps.filter(({ needs }) => needs.includes('archive'))).toEqual([]);
    await world.westDb.query('drop table public.archive');
    await world.eastDb.query('drop table public.archive');
    expect(await blockers()).toEqual([]);
  });

  it('says of a destination that is silent that, once', async () => {
    const { customer } = eastAt(world, '127.0.0.1:1') ?? {};
    expect(await blockers({ ...customer, options: ['content-archiving'] })).toEqual([]);
  });
});

it('a customer without content archiving has no such step', async () => {
  const { decisions } = await plan({ options: [] });
  expect(decisions.leftOut).toContainEqual({ id: 'archive', when: 'content-archiving' });
  expect(await blockers({ options: [] })).toEqual([]);
});
