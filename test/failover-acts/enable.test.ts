import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Archiving } from '../../activities/services/archiving.ts';
import { checkEffect } from '../../activities/services/check.ts';
import { cannotEnable, enableService } from '../../activities/services/enable.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { Service } from '../../workflows/model/acts.ts';
import type { Step } from '../../workflows/model/plan.ts';
import { kindOf, makeWorld, startMove, step, type World } from './world.ts';

/** Nothing is delivered unarchived: a service that says it does not keep every message lets nobody be served. */

let world: World;
let move: string;
const never = new AbortController().signal;

beforeEach(async () => {
  world = await makeWorld();
  move = await startMove(world);
  await world.westDb.query("update tandem.epoch set number = 2, site = 'west', move = $1", [move]);
});
afterEach(() => world.close());

const enables = (service: Service): Step => ({ id: 'enable-service', act: 'enable-service', service }) as Step;
const planned = (service: Service = 'archiving'): PlannedStep => {
  const base = step('enable-service', move, 2);
  return { ...base, plan: { ...base.plan, decisions: { ...base.plan.decisions, steps: [enables(service)] } } };
};
const enable = (said?: Archiving, input = planned()) =>
  enableService({ ...world.west, ...(said && { archiving: () => Promise.resolve(said) }) }, input, never);

describe('enable-service, for archiving, never goes on', () => {
  it('when the service does not keep every message, nor takes a word for it', async () => {
    const off: Archiving = { on: false, because: 'default of mod_mam is not always' };
    expect(await kindOf(enable(off))).toBe('archiving-off');
    const west = { ...world.west, archiving: () => Promise.resolve(off) };
    expect(await checkEffect(west, planned(), never)).toEqual({
      seen: false,
      summary: 'not every message is archived: default of mod_mam is not always',
    });
  });

  it('under an older epoch, nor for another service', async () => {
    expect(await kindOf(enable({ on: true }, planned('mobile')))).toBe('input-invalid');
    await world.westDb.query('update tandem.epoch set number = 3');
    expect(await kindOf(enable({ on: true }))).toBe('epoch-superseded');
  });
});

describe('enable-service, for archiving', () => {
  it('is done when the service says so, and a repeat answers the same', async () => {
    const first = await enable({ on: true });
    expect(first).toEqual({ summary: 'west: every message is archived', facts: { service: 'archiving', seen: true } });
    expect(await enable({ on: false, because: 'later' })).toEqual(first);
  });

  it('says that it was not seen where nobody can be asked, and raises an alarm where somebody should answer', async () => {
    const silent = await enable({ on: null, asked: true, because: 'no whole answer' });
    expect(silent.alarms).toEqual(['west: whether messages are archived was not seen: no whole answer']);
    await world.westDb.query('delete from tandem.journal');
    const { summary, alarms } = await enable();
    expect([summary, alarms]).toEqual([
      'west: whether messages are archived was not seen: its API is not configured',
      undefined,
    ]);
  });

  it('is the only one that can be planned', () => {
    expect(cannotEnable([enables('archiving')])).toEqual([]);
    expect(cannotEnable([enables('mobile')])).toEqual([
      { kind: 'act-missing', text: 'step enable-service: this version enables archiving, and not mobile' },
    ]);
  });
});
