import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import type { SiteSettings } from '../../activities/settings.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import { scheduleIds, watchId } from '../../workflows/model/names.ts';
import { goneAt } from '../customers/ground.ts';
import { applySchedule, describeSchedule, drift, removeSchedules, schedulesOf, type Desired } from '../schedules.ts';
import { passedHere } from '../test-receipts.ts';
import { endWatch } from '../watch-run.ts';
import { table, type Context } from './print.ts';
import { openConfiguration, siteOf } from './site.ts';

export function register(program: Command, context: Context): void {
  const { out } = context;
  const group = program.command('schedules').description('what runs by itself, at each site');

  const each = async (
    named: string | undefined,
    work: (client: Client, want: Desired, site: string) => Promise<void>,
  ): Promise<void> => {
    const configuration = await openConfiguration(context);
    for (const site of named === undefined ? configuration.sites.keys() : [named]) {
      const at = siteOf(configuration, site);
      const client = await at.client();
      try {
        for (const want of await schedulesAt(await at.settings())) await work(client, want, site);
      } finally {
        await client.connection.close();
      }
    }
  };

  group
    .command('apply')
    .description('make the schedules what the configuration says')
    .option('--site <site>', 'only this site')
    .action(async ({ site }: { site?: string }) => {
      await each(site, async (client, want, at) => {
        const was = await applySchedule(client, want);
        out.answer(
          { site: at, schedule: want.scheduleId, was },
          `${at}  ${want.scheduleId}: was ${was}${was === 'as configured' || was === 'paused' ? ', left as it is' : ', now as configured'}`,
        );
      });
      await sweep(context, site);
    });

  group
    .command('list')
    .description('the schedules, their next runs, and how they differ from the configuration')
    .option('--site <site>', 'only this site')
    .action(async ({ site }: { site?: string }) => {
      const rows: string[][] = [['site', 'schedule', 'state', 'next run (UTC)', 'last run (UTC)']];
      await each(site, async (client, want, at) => {
        const have = await describeSchedule(client, want.scheduleId);
        const state = drift(want, have);
        const next = have?.info.nextActionTimes[0]?.toISOString() ?? null;
        const last = have?.info.recentActions.at(-1)?.takenAt.toISOString() ?? null;
        if (context.json()) out.answer({ site: at, schedule: want.scheduleId, state, next, last }, '');
        // The worker of the site mends this one by itself: it goes by the last test, which may have passed just now.
        const follows = state === 'changed by hand' && want.action.workflowType === 'continuity-test';
        const told = follows ? 'moves within a minute' : state;
        rows.push([at, want.scheduleId, told, next?.slice(0, 16) ?? '-', last?.slice(0, 16) ?? '-']);
      });
      if (!context.json()) out.answer(null, table(rows));
    });
}

/** Takes away what is left of customers that are gone: by a signed record only, never because a file does not name them. */
async function sweep(context: Context, named: string | undefined): Promise<void> {
  const configuration = await openConfiguration(context);
  for (const site of named === undefined ? configuration.sites.keys() : [named]) {
    const gone = await goneAt(configuration, site, context.signal).catch((error: unknown) => {
      if (failureKind(error) !== 'vault-unreachable') throw error;
      context.out.say(`${site}: who is gone is not known, and nothing was swept: ${failureText(error)}`);
      return [];
    });
    if (gone.length === 0) continue;
    const client = await siteOf(configuration, site).client();
    try {
      for (const customer of gone) {
        const removed = await removeSchedules(client, customer);
        const ended = (await endWatch(client, customer)) ? [watchId(customer)] : [];
        for (const what of [...removed, ...ended])
          context.out.answer(
            { site, schedule: what, was: 'of a customer that is gone' },
            `${site}  ${what}: was of ${customer}, which is gone; removed`,
          );
      }
    } finally {
      await client.connection.close();
    }
  }
}

/** The yearly test goes by the last one that has passed: without the vault nobody knows when it is to be. */
async function schedulesAt(settings: SiteSettings): Promise<Desired[]> {
  const all = await Promise.all(
    [...settings.customers.values()].map(async (customer) => {
      const passed = await passedHere(settings, customer);
      const test = scheduleIds.continuityTest(customer.id);
      return schedulesOf(customer, settings.site, passed ?? null).filter(
        ({ scheduleId }) => passed !== undefined || scheduleId !== test,
      );
    }),
  );
  return all.flat();
}
