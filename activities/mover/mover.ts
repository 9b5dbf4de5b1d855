import { availableParallelism } from 'node:os';
import type { Running } from '../running.ts';
import type { SiteSettings } from '../settings.ts';
import type { SiteActivities } from '../types.ts';
import { KeptMovers } from './kept.ts';
import { jobNames, toPlain, type JobName } from './messages.ts';
import { MoverProcess } from './process.ts';
import { Slots } from './slots.ts';

/**
 * What a move waits for, which is each of its steps, never stands in line behind a snapshot of the schedule, or a check. Nobody waits
 * for archived messages, which may take half an hour: neither a move nor a snapshot stands behind those.
 */
function laneOf(job: JobName, input: unknown): 'urgent' | 'archive' | 'other' {
  if (job === 'reconcile-archive') return 'archive';
  return typeof input === 'object' && input !== null && 'key' in input ? 'urgent' : 'other';
}
/** Of each of these kinds; a process takes up to 256 MiB, and about one processor. */
const AT_ONCE = Math.max(2, availableParallelism());

/** The bulk activities of a site, each run in a process of its own, a few at a time. */
export function createMovedActivities(settings: SiteSettings, running: () => Running): Pick<SiteActivities, JobName> {
  const lanes = { urgent: new Slots(AT_ONCE), archive: new Slots(AT_ONCE), other: new Slots(AT_ONCE) };
  const kept = new KeptMovers();
  const move = async (job: JobName, input: unknown, run: Running): Promise<unknown> => {
    const leave = await lanes[laneOf(job, input)].take(run.signal);
    try {
      return await kept.run({ settings: toPlain(forJob(settings, input)), job, input }, run);
    } finally {
      leave();
    }
  };
  const moved = jobNames.map((job) => [job, (input: unknown) => move(job, input, running())]);
  return Object.fromEntries(moved) as Pick<SiteActivities, JobName>;
}

/** Runs one job in a process that ends with it; its failure is the job's own. */
export async function moveInProcess(
  settings: SiteSettings,
  job: JobName,
  input: unknown,
  run: Running,
  peak: (bytes: number) => void = () => undefined,
): Promise<unknown> {
  run.signal.throwIfAborted();
  const mover = new MoverProcess();
  try {
    return await mover.run({ settings: toPlain(forJob(settings, input)), job, input }, run, peak);
  } finally {
    mover.end();
  }
}

/**
 * A job is told the secrets of its own customer alone, and none of the service's, the zone's or the probes'. Of a customer that is not known it is told
 * what there is, for its error.
 */
function forJob(settings: SiteSettings, input: unknown): SiteSettings {
  const named = input as { customer?: string; snapshot?: { customer: string }; key?: { customer: string } };
  const own = settings.customers.get(named.customer ?? named.snapshot?.customer ?? named.key?.customer ?? '');
  const services = new Map([...settings.services].map(([site, at]) => [site, { ...at, management: null }]));
  if (!own) return { ...settings, services };
  // No job asks the directory, changes the zone or signs in: their secrets stay here.
  const { dns: _, probes: __, directory: ___, ...rest } = own;
  return { ...settings, services, customers: new Map([[own.id, rest]]) };
}
