import type { Client } from '@temporalio/client';
import type { SiteSettings } from '../activities/settings.ts';
import { failureText } from '../workflows/model/failures.ts';
import { searchAttributes, taskQueue, watchId } from '../workflows/model/names.ts';
import type { watch, WatchInput } from '../workflows/watch.ts';
import { pause } from './temporal.ts';
import { isTemporal } from './temporal-errors.ts';

const EVERY_MS = 120_000;

/** Starts the run that tells of a customer's watch, unless it runs. Safe to repeat. */
export async function startWatch(client: Client, site: string, customer: string): Promise<void> {
  const input: WatchInput = { customer, site };
  await client.workflow.start<typeof watch>('watch', {
    workflowId: watchId(customer),
    taskQueue: taskQueue(site),
    args: [input],
    workflowIdConflictPolicy: 'USE_EXISTING',
    typedSearchAttributes: [{ key: searchAttributes.customer, value: customer }],
    staticSummary: `what ${site} sees of its peer, and of itself`,
  });
}

/** Ends the run of a customer that is gone. Answers whether there was one. */
export async function endWatch(client: Client, customer: string): Promise<boolean> {
  try {
    await client.workflow.getHandle(watchId(customer)).terminate(`${customer} is gone`);
    return true;
  } catch (error) {
    if (isTemporal(error, 'WorkflowNotFoundError')) return false;
    throw error;
  }
}

/**
 * Keeps the run of each customer going while the worker lives: one that somebody has ended is started again within two
 * minutes. By the worker and not by a schedule: a schedule would be gone with a Temporal service that comes back empty, and
 * would note each time that a run which never ends is still running; and where no worker is, a run that was started tells nobody anything.
 */
export async function keepWatching(
  client: Client,
  settings: SiteSettings,
  signal: AbortSignal,
  say: (line: string) => void,
  everyMs = EVERY_MS,
): Promise<void> {
  let silent = false;
  while (!signal.aborted) {
    try {
      for (const customer of settings.customers.keys()) await startWatch(client, settings.site, customer);
      if (silent) say('the watch is told of again');
      silent = false;
    } catch (error) {
      if (signal.aborted) return;
      if (!silent) say(`nobody is told of what the watch sees: ${failureText(error)}`);
      silent = true;
    }
    await pause(everyMs, signal);
  }
}
