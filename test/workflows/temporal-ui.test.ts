import type { Connection } from '@temporalio/client';
import { randomUUID } from 'node:crypto';
import proto from '@temporalio/proto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SiteActivities } from '../../activities/types.ts';
import { resumeFailover, startFailover, type FailoverHandle } from '../../ops/moves.ts';
import { failureKind } from '../../workflows/model/failures.ts';
import { passTime } from '../rig/clock.ts';
import { approve, ask, cover, declaration, declare, reach, servable } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/**
 * Who may press buttons in Temporal UI, and who restores its database, is no operator of Tandem: what the buttons do to a
 * move, at each of its phases.
 */

let region: Region;
beforeAll(async () => {
  region = await openRegion({ users: 10 });
  await cover(region);
  region.lose('east');
  await region.work('west', gated);
});
afterAll(async () => {
  for (const { open } of late) open();
  await region.close();
});

type Name = keyof SiteActivities;
interface Gate {
  when: (input: unknown) => boolean;
  entered: Promise<void>;
  enter: () => void;
  opened: Promise<void>;
  open: () => void;
  /** When the attempt that was stopped has ended, however it did. */
  ended: Promise<void>;
  end: () => void;
}
const gates = new Map<Name, Gate>();
const late: Gate[] = [];

/** Stops the next attempt of an activity, with such an input, before it does anything, until it is opened; the others pass. */
function shut(name: Name, when: Gate['when'] = () => true): Gate {
  const entered = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const gate = {
    when,
    entered: entered.promise,
    enter: entered.resolve,
    opened: opened.promise,
    open: opened.resolve,
    ended: ended.promise,
    end: ended.resolve,
  };
  gates.set(name, gate);
  late.push(gate);
  return gate;
}

function gated(real: SiteActivities): SiteActivities {
  const entries = Object.entries(real) as [Name, (input: unknown) => Promise<unknown>][];
  const changed = entries.map(([name, act]) => [
    name,
    async (input: unknown): Promise<unknown> => {
      const shutNow = gates.get(name);
      const gate = shutNow?.when(input) === true ? shutNow : null;
      if (gate) gates.delete(name);
      gate?.enter();
      await gate?.opened;
      try {
        return await act(input);
      } finally {
        gate?.end();
      }
    },
  ]);
  return Object.fromEntries(changed) as SiteActivities;
}

const start = (): Promise<FailoverHandle> => startFailover(region.clients.west, 'west', declaration());
const resume = (): Promise<FailoverHandle> => resumeFailover(region.clients.west, 'west', CUSTOMER);
const sign = async (handle: FailoverHandle): Promise<void> => {
  for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
};
const effects = async (move: string): Promise<string[]> => {
  const rows = await ask<{ key: string }>(
    region,
    'west',
    `select key from tandem.journal where move = '${move}' and key like 'effect/%'`,
  );
  return rows.map(({ key }) => key.split('/').slice(3).join('/')).toSorted();
};
const epoch = (): Promise<unknown[]> => ask(region, 'west', 'select number::int, move from tandem.epoch');
const EACH_ONCE = ['contacts/0', 'epoch/0', 'fence/0', 'parity/0', 'serve/0', 'verify/0'];

describe('a cancel before the epoch is claimed', () => {
  const phases: [string, () => Promise<{ handle: FailoverHandle; go: () => void }>][] = [
    [
      'while the slot is being claimed',
      async () => {
        const gate = shut('claim-move');
        const handle = await start();
        await gate.entered;
        return { handle, go: gate.open };
      },
    ],
    [
      'while the plan is being made',
      async () => {
        const gate = shut('make-plan');
        const handle = await start();
        await gate.entered;
        return { handle, go: gate.open };
      },
    ],
    ['while signatures are waited for', async () => ({ handle: await declare(region), go: () => undefined })],
    [
      'when two have agreed, before its first step',
      async () => {
        const handle = await declare(region);
        const gate = shut('write-journal', (input) => JSON.stringify(input).includes('"phase":"moving"'));
        await sign(handle);
        await gate.entered;
        await reach(handle, (s) => s.phase === 'moving');
        return { handle, go: gate.open };
      },
    ],
  ];
  it.each(phases)('%s: aborts, and nothing was changed', async (_, at) => {
    const { handle, go } = await at();
    await handle.cancel();
    go();
    const { report } = await handle.result();
    expect(report).toMatchObject({ outcome: 'aborted', epoch: null });
    expect(await effects(report.move)).toEqual([]);
    expect(await epoch()).toEqual([{ number: 1, move: 'provisioned' }]);
    expect(await servable(region, 'west', 'east')).toBe(0);
    expect(await ask(region, 'west', 'select from tandem.move where ended_at is null')).toEqual([]);
  });
});

describe('a terminate', () => {
  it('at every phase: never frees the slot, and the move goes on from its journal to the same end; what wakes up late changes nothing', async () => {
    const planning = shut('make-plan');
    let handle = await start();
    await planning.entered;
    await handle.terminate('while the plan was made');
    expect(await (await start()).result().then(() => '', failureKind)).toBe('move-running');
    handle = await resume();
    await reach(handle, (s) => s.phase === 'approving');
    await handle.terminate('while it waited for signatures');
    handle = await resume();
    const { move, plan } = await reach(handle, (s) => s.phase === 'approving');
    const acts: Name[][] = [
      ['advance-epoch'],
      ['fence-site', 'restore-contacts'],
      ['serve-users'],
      ['probe'],
      ['close-move'],
    ];
    let shutNow = acts[0]?.map((name) => shut(name)) ?? [];
    await sign(handle);
    for (const [i, names] of acts.entries()) {
      await Promise.all(shutNow.map(({ entered }) => entered));
      await handle.terminate(`while ${names.join(' and ')} ran`);
      shutNow = acts[i + 1]?.map((name) => shut(name)) ?? [];
      handle = await resume();
    }
    const { report } = await handle.result();
    for (const { open } of late) open();
    await Promise.all(late.map(({ ended }) => ended));
    expect(report).toMatchObject({ move, outcome: 'closed', mismatches: 0, planDigest: plan?.digest, epoch: 2 });
    expect(report.approvals.map((a) => a.operator)).toEqual(['operator-1', 'operator-2']);
    expect(await effects(move)).toEqual(EACH_ONCE);
    expect(await epoch()).toEqual([{ number: 2, move }]);
  });
});

describe('a cancel after the epoch is claimed', () => {
  it.each<[string, Name]>([
    ['while it is being claimed', 'advance-epoch'],
    ['while users are served already', 'probe'],
  ])('%s: is refused and shown, and the move ends as if nobody had asked', async (_, act) => {
    const gate = shut(act);
    const handle = await declare(region);
    await sign(handle);
    await gate.entered;
    await handle.cancel();
    await reach(handle, (s) => s.alarms.some(({ text }) => /a cancel was asked .* refused/.test(text)));
    gate.open();
    const { report } = await handle.result();
    expect(report).toMatchObject({ outcome: 'closed', mismatches: 0 });
    expect(report.alarms.filter(({ text }) => text.includes('refused'))).toHaveLength(1);
    expect(await effects(report.move)).toEqual(EACH_ONCE);
  });
});

/** The run as a backup of Temporal's database has it that was taken while it waited for its first signature. */
async function restoreBackup(handle: FailoverHandle): Promise<FailoverHandle> {
  const { west } = region.clients;
  const { events } = await handle.fetchHistory();
  const type = proto.temporal.api.enums.v1.EventType;
  const signed = events?.findIndex((e) => e.eventType === type.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED) ?? -1;
  const before = events?.slice(0, signed).findLast((e) => e.eventType === type.EVENT_TYPE_WORKFLOW_TASK_COMPLETED);
  const { workflowId } = handle;
  const { runId } = await handle.describe();
  const { RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL: SIGNAL, RESET_REAPPLY_EXCLUDE_TYPE_UPDATE: UPDATE } =
    proto.temporal.api.enums.v1.ResetReapplyExcludeType;
  await (west.connection as Connection).workflowService.resetWorkflowExecution({
    namespace: west.options.namespace,
    workflowExecution: { workflowId, runId },
    workflowTaskFinishEventId: before?.eventId ?? null,
    reason: 'yesterday’s backup',
    requestId: randomUUID(),
    resetReapplyExcludeTypes: [SIGNAL, UPDATE],
  });
  return west.workflow.getHandle(workflowId);
}

describe('Temporal restored from a backup', () => {
  it('never does a step again: who signs once more is told what had been done, and the rest is done once', async () => {
    await ask(region, 'west', 'alter table rosterusers rename column nick to nick_');
    const first = await declare(region);
    await sign(first);
    await reach(first, (s) => s.steps.some((step) => step.state === 'held'));
    await ask(region, 'west', 'alter table rosterusers rename column nick_ to nick');
    const handle = await restoreBackup(first);
    const { move, approvals } = await reach(handle, (s) => s.phase === 'approving');
    expect(approvals).toEqual([]);
    await sign(handle);
    const { report } = await handle.result();
    expect(report).toMatchObject({ move, outcome: 'closed', mismatches: 0 });
    expect(await effects(move)).toEqual(EACH_ONCE);
  });

  it('does nothing for a move that has ended since: who signs is told how it ended, and the run ends by it', async () => {
    const first = await declare(region);
    await sign(first);
    const { report } = await first.result();
    const before = await ask(region, 'west', 'select * from tandem.journal order by move, seq');
    const handle = await restoreBackup(first);
    await reach(handle, (s) => s.phase === 'approving');
    const [one] = region.operators;
    if (!one) throw new Error('no operator');
    await expect(approve(handle, one)).rejects.toThrow(/journal of move .*: closed at .* comes too late/);
    expect(await handle.result().then(() => '', failureKind)).toBe('move-ended');
    expect(await ask(region, 'west', 'select * from tandem.journal order by move, seq')).toEqual(before);
    expect(await epoch()).toEqual([{ number: report.epoch, move: report.move }]);
  });

  it('ends a run of such a move also when nobody signs, as soon as its clock has something to say', async () => {
    const first = await declare(region);
    await sign(first);
    await first.result();
    const handle = await restoreBackup(first);
    await reach(handle, (s) => s.phase === 'approving');
    await passTime(region.clients.west, handle.workflowId, 24 * 3_600_000).catch(() => undefined); // It ends meanwhile.
    expect(await handle.result().then(() => '', failureKind)).toBe('move-ended');
  });
});
