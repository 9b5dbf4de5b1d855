import type { Client, ScheduleOptions, ScheduleDescription } from '@temporalio/client';
import type { CustomerSettings } from '../activities/settings.ts';
import type { ContinuityTestInput } from '../workflows/model/continuity.ts';
import { scheduleIds, searchAttributes, taskQueue } from '../workflows/model/names.ts';
import { testDay, type Passed } from '../workflows/model/test-due.ts';
import type { ProvisioningInput } from '../workflows/provisioning.ts';
import type { ReadinessInput } from '../workflows/readiness.ts';
import type { RetentionInput } from '../workflows/retention.ts';
import type { SnapshotInput } from '../workflows/snapshot.ts';
import type { StandbyInput } from '../workflows/standby.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How often the peer's vault is looked at when nobody nudges. */
const STANDBY_EVERY_MS = 5 * MINUTE;

/** Of the day: away from the full reads, which begin with the hour. */
const RETENTION_AT_MS = 3 * HOUR + 30 * MINUTE;

/**
 * A yearly test that could not start, because its site was down, is still worth starting two months later; and so long it may be
 * put off, by a blackout or by moves.
 */
const TEST_CATCH_UP_MS = 60 * DAY;
const TEST_TIMEOUT_MS = TEST_CATCH_UP_MS + 13 * HOUR;

const READINESS_EVERY_MS = 30 * MINUTE;
/** After the full reads have been covered. */
const READINESS_OFFSET_MS = 12 * MINUTE;
const READINESS_TIMEOUT_MS = 10 * MINUTE;

/** Above what the looks of a run take together. */
const PROVISIONING_TIMEOUT_MS = 10 * MINUTE;

type Action = { workflowType: string; args: unknown[] };
export type Desired = ScheduleOptions & { action: Action & { type: 'startWorkflow' } };

/** What a schedule of Tandem's is made of; the rest is the same for all (DESIGN 3). */
interface Plan {
  id: string;
  note: string;
  spec: ScheduleOptions['spec'];
  action: Action;
  catchUpMs: number;
  timeoutMs: number;
  /** It runs as soon as it is there, too. */
  atOnce?: true;
}

/**
 * The schedules of one customer at one of its sites. All times are UTC. `passed`: the newest passed test of either site that
 * counts; the yearly test goes by it.
 */
export function schedulesOf(customer: CustomerSettings, site: string, passed: Passed | null = null): Desired[] {
  const { id, objectives, snapshots, continuityTest, sites } = customer;
  const { everyMs, betweenMs, budgetMs } = snapshots;
  const standbyInput: StandbyInput = { customer: id, budgetMs };
  const retentionInput: RetentionInput = { customer: id, budgetMs };
  const testInput: ContinuityTestInput = { customer: id, kind: 'isolated', startedBy: 'schedule' };
  const snapshotRun = (read: NonNullable<SnapshotInput['read']>): Omit<Plan, 'id' | 'note' | 'spec'> => ({
    catchUpMs: objectives.rpoMs,
    timeoutMs: 2 * budgetMs,
    action: { workflowType: 'snapshot', args: [{ customer: id, budgetMs, read } satisfies SnapshotInput] },
  });
  const { month, day, hour } = testDay(continuityTest, { first: sites[0] === site }, passed, site);
  const plans: Plan[] = [
    {
      ...snapshotRun('all'),
      id: scheduleIds.snapshotEvery(id),
      note: 'the full read that the RPO promises',
      spec: { intervals: [{ every: everyMs }] },
    },
    {
      ...snapshotRun('changes'),
      id: scheduleIds.snapshotBetween(id),
      note: 'between the full reads, so that one failed run does not break the RPO',
      // Half a period off, so that it never starts together with the full read.
      spec: { intervals: [{ every: betweenMs, offset: betweenMs / 2 }] },
    },
    {
      id: scheduleIds.standby(id),
      note: `pulls what the peer of ${site} has protected`,
      spec: { intervals: [{ every: STANDBY_EVERY_MS }] },
      action: { workflowType: 'standby', args: [standbyInput] },
      catchUpMs: objectives.rpoMs,
      timeoutMs: 2 * budgetMs,
    },
    readinessPlan(id, site),
    {
      id: scheduleIds.retention(id),
      note: `opens all that the vault of ${site} holds, and deletes what is past its keeping`,
      spec: { intervals: [{ every: DAY, offset: RETENTION_AT_MS }] },
      action: { workflowType: 'retention', args: [retentionInput] },
      // What lies there is to be opened each day, if late.
      catchUpMs: DAY / 2,
      timeoutMs: 4 * budgetMs,
    },
    {
      id: scheduleIds.continuityTest(id),
      note: `the yearly continuity test of ${site}`,
      spec: {
        calendars: [{ month: monthName(month), dayOfMonth: day, hour, minute: 0 }],
      },
      action: { workflowType: 'continuity-test', args: [testInput] },
      catchUpMs: TEST_CATCH_UP_MS,
      timeoutMs: TEST_TIMEOUT_MS,
    },
  ];
  if (customer.directory) plans.push(provisioningPlan(id, site, customer.directory.everyMs));
  return plans.map((plan) => desired(plan, id, site));
}

function readinessPlan(customer: string, site: string): Plan {
  return {
    id: scheduleIds.readiness(customer),
    note: `evaluates the failover in which ${site} would survive, without effect`,
    spec: { intervals: [{ every: READINESS_EVERY_MS, offset: READINESS_OFFSET_MS }] },
    action: { workflowType: 'readiness', args: [{ customer } satisfies ReadinessInput] },
    catchUpMs: READINESS_EVERY_MS,
    timeoutMs: READINESS_TIMEOUT_MS,
  };
}

/** What an empty site is told first: who may come in. A look that was missed is made up for by the next one. */
function provisioningPlan(customer: string, site: string, everyMs: number): Plan {
  return {
    id: scheduleIds.provisioning(customer),
    note: `follows the directory at ${site}: enables and disables accounts`,
    spec: { intervals: [{ every: everyMs }] },
    action: { workflowType: 'provisioning', args: [{ customer } satisfies ProvisioningInput] },
    catchUpMs: everyMs,
    timeoutMs: PROVISIONING_TIMEOUT_MS,
    atOnce: true,
  };
}

function desired(
  { id, note, spec, action, catchUpMs, timeoutMs, atOnce }: Plan,
  customer: string,
  site: string,
): Desired {
  return {
    scheduleId: id,
    spec: { ...spec, timezone: 'UTC' },
    action: {
      type: 'startWorkflow',
      ...action,
      workflowId: id,
      taskQueue: taskQueue(site),
      // One hung run would stop all later ones in silence.
      workflowExecutionTimeout: timeoutMs,
      typedSearchAttributes: [{ key: searchAttributes.customer, value: customer }],
      staticSummary: note,
    },
    policies: { overlap: 'BUFFER_ONE', catchupWindow: catchUpMs },
    state: { note, ...(atOnce && { triggerImmediately: true }) },
  };
}

const months = [
  'JANUARY',
  'FEBRUARY',
  'MARCH',
  'APRIL',
  'MAY',
  'JUNE',
  'JULY',
  'AUGUST',
  'SEPTEMBER',
  'OCTOBER',
  'NOVEMBER',
  'DECEMBER',
] as const;

function monthName(month: number): (typeof months)[number] {
  return months[month - 1] ?? 'JANUARY';
}

/** What of a schedule decides when and what it starts, in one comparable form. */
function essence(s: { spec: unknown; action: unknown; policies: unknown }): string {
  const spec = s.spec as { intervals?: { every: unknown; offset?: unknown }[]; calendars?: Record<string, unknown>[] };
  const action = s.action as {
    workflowType: string;
    args?: unknown[];
    taskQueue: string;
    workflowExecutionTimeout?: unknown;
  };
  const policies = s.policies as { overlap?: unknown; catchupWindow?: unknown };
  const first = (value: unknown): unknown => (Array.isArray(value) ? (value[0] as { start: unknown }).start : value);
  return JSON.stringify({
    intervals: (spec.intervals ?? []).map((i) => [Number(i.every), Number(i.offset ?? 0)]),
    calendars: (spec.calendars ?? []).map((c) => [c['month'], c['dayOfMonth'], c['hour']].map(first)),
    starts: [action.workflowType, action.args ?? [], action.taskQueue, Number(action.workflowExecutionTimeout)],
    overlap: policies.overlap,
    catchUp: Number(policies.catchupWindow),
  });
}

export type Drift = 'as configured' | 'missing' | 'changed by hand' | 'paused';

/** How a schedule on the server differs from the configuration. */
export function drift(want: Desired, have: ScheduleDescription | null): Drift {
  if (have === null) return 'missing';
  if (essence(want as never) !== essence(have)) return 'changed by hand';
  return have.state.paused ? 'paused' : 'as configured';
}

export async function describeSchedule(client: Client, id: string): Promise<ScheduleDescription | null> {
  try {
    return await client.schedule.getHandle(id).describe();
  } catch (error) {
    if (error instanceof Error && error.name === 'ScheduleNotFoundError') return null;
    throw error;
  }
}

/** Makes a schedule what the configuration says. A pause is an operator's, and stays. */
export async function applySchedule(client: Client, want: Desired): Promise<Drift> {
  const found = drift(want, await describeSchedule(client, want.scheduleId));
  if (found === 'missing') await client.schedule.create(want);
  if (found === 'changed by hand') {
    await client.schedule.getHandle(want.scheduleId).update(({ state }) => ({ ...want, state }));
  }
  return found;
}

/** Takes every schedule of a customer away from a site. Answers what there was. Safe to repeat. */
export async function removeSchedules(client: Client, customer: string): Promise<string[]> {
  const removed: string[] = [];
  for (const id of Object.values(scheduleIds).map((of) => of(customer))) {
    if ((await describeSchedule(client, id)) === null) continue;
    await client.schedule.getHandle(id).delete();
    removed.push(id);
  }
  return removed;
}
