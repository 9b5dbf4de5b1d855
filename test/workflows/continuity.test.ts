import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { scratchPrefix } from '../../activities/contacts/scratch.ts';
import { openSite } from '../../activities/services/site.ts';
import { leavePlace, takePlace, whyYield } from '../../activities/services/test-slot.ts';
import { newestPassed } from '../../workflows/model/test-due.ts';
import { testGround, type TestGround } from '../rig/continuity.ts';
import { ask } from '../rig/failovers.ts';
import { CUSTOMER } from '../rig/region.ts';

/** What a continuity test beside the service must not leave, whatever ends it. */

let ground: TestGround;
beforeAll(async () => {
  ground = await testGround();
});
afterAll(() => ground.close());

describe('a test leaves nothing, and moves no due date,', () => {
  it.each(['begin-test', 'restore-scratch'] as const)('aborted in %s', async (act) => {
    const { begin, start, tell, receipts, leftThere, stopAfter } = ground;
    const before = newestPassed(await receipts());
    const stop = stopAfter(act);
    const { handle } = await begin();
    await expect.poll(stop.reached).toBe(true);
    await expect(start()).rejects.toThrow(/isolated test .* is held here since/);
    await expect(tell(handle, { verb: 'abort' })).rejects.toThrow(/says why/);
    await tell(handle, { verb: 'abort', because: 'the link is needed' });
    if (act === 'begin-test') stop.letGo(); // It has no end before its own.
    const because = expect.stringMatching(/^operator-1 ended it in phase \w+.*: the link is needed$/s) as string;
    expect(await handle.result()).toMatchObject({ receipt: { outcome: 'aborted', because, residue: { left: [] } } });
    expect(await leftThere()).toEqual([]);
    expect(newestPassed(await receipts())).toEqual(before);
  });

  it('superseded by a move that takes the slot; and is refused while one holds it', async () => {
    const { begin, start, leftThere, stopAfter, region } = ground;
    const stop = stopAfter('restore-scratch');
    const { handle } = await begin();
    await expect.poll(stop.reached).toBe(true);
    await ask(
      region,
      'west',
      `insert into tandem.move (move, customer, kind, workflow_id, phase, input, started_at)
       values ('m9', '${CUSTOMER}', 'failover', 'failover/contoso', 'declared', '{}', now())`,
    );
    const because = 'failover m9 holds the slot of contoso, in phase declared';
    expect(await handle.result()).toMatchObject({ receipt: { outcome: 'superseded', because, residue: { left: [] } } });
    expect(await leftThere()).toEqual([]);
    await expect(start()).rejects.toThrow(because);
    await ask(region, 'west', `delete from tandem.move where move = 'm9'`);
  });

  it('superseded by a newer epoch, by a closing, and by a test that finds it dead', async () => {
    const { region } = ground;
    const site = openSite(region.settings.west);
    const [one, other] = ['one', 'other'].map((run) => ({ customer: CUSTOMER, run, kind: 'isolated' as const }));
    if (!one || !other) throw new Error('two tests');
    const why = () => site.database(CUSTOMER).connection((client) => whyYield(client, one));
    await takePlace(site, one);
    expect(await why()).toBeNull();
    await ask(region, 'west', `update tandem.epoch set number = number + 1, site = 'east'`);
    expect(await why()).toMatch(/^east has claimed epoch \d+$/);
    await ask(region, 'west', `update tandem.epoch set number = number - 1, site = 'west'`);
    await ask(
      region,
      'west',
      `insert into tandem.closed (customer, kind, because) values ('${CUSTOMER}', 'fork', 'x')`,
    );
    expect(await why()).toMatch(/^this site is closed since .*: x$/);
    await ask(region, 'west', 'delete from tandem.closed');
    await expect(takePlace(site, other)).rejects.toThrow(/isolated test one is held here since/);
    await ask(region, 'west', `update tandem.continuity_test set seen_at = now() - interval '3 minutes'`);
    await takePlace(site, other);
    expect(await why()).toMatch(/^test other has taken its place/);
    await leavePlace(site, other);
    await site.close();
  });

  it('cancelled in Temporal UI, in compare-scratch', async () => {
    const { begin, leftThere, receipts, stopAfter } = ground;
    const stop = stopAfter('compare-scratch');
    const { handle, run } = await begin();
    await expect.poll(stop.reached).toBe(true);
    await handle.cancel();
    await expect(handle.result()).rejects.toThrow();
    expect((await handle.describe()).status.name).toBe('CANCELLED');
    expect((await receipts()).find((r) => r.run === run)?.outcome).toBe('aborted');
    expect(await leftThere()).toEqual([]);
  });
});

describe('residue', () => {
  it('fails the test that leaves it, with what removes it; the next one removes what is surely a test’s own', async () => {
    const { region, start, leftThere, stopAfter } = ground;
    const database = `${scratchPrefix({ url: region.urls.west })}${'0'.repeat(16)}`;
    stopAfter('compare-scratch', async () => {
      await ask(region, 'west', 'create schema left_behind');
      await ask(region, 'west', `insert into tandem.claim values ('${CUSTOMER}', 99, 'x', 'vault', true)`);
      await ask(region, 'west', `create database ${database}`);
    });
    const told = `database ${database} is left: .*; schema left_behind is left: .*; tandem.claim has .* only a move`;
    await expect(start()).rejects.toThrow(new RegExp(told));
    const removed = [`database ${database}, of a test that died`];
    expect(await start()).toMatchObject({ receipt: { outcome: 'passed', residue: { left: [], removed } } });
    expect(await leftThere()).toEqual([]);
  });
});
