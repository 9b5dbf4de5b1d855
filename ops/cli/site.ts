import { dirname, join } from 'node:path';
import type { Client } from '@temporalio/client';
import type { SiteSettings } from '../../activities/settings.ts';
import type { MoveName, MoveWorkflow } from '../../workflows/model/moves.ts';
import {
  readConfiguration,
  type Configuration,
  type CustomerConfiguration,
  type SiteConfiguration,
} from '../config/configuration.ts';
import { settingsFor } from '../config/settings.ts';
import { Fault } from '../fault.ts';
import { lastBegun, noMove, workflowOf } from '../moves.ts';
import { connectClient } from '../temporal.ts';
import type { Context } from './print.ts';

/** A site as a command works with it: its configuration, and its Temporal service when that is asked for. */
export interface AtSite {
  configuration: Configuration;
  site: SiteConfiguration;
  settings: () => Promise<SiteSettings>;
  client: () => Promise<Client>;
}

export async function openConfiguration({ config }: Context): Promise<Configuration> {
  return readConfiguration(config());
}

/** Reports lie beside the configuration: that is the folder which the site's operators already keep. */
export function reportsFolder(configuration: Configuration): string {
  return join(dirname(configuration.file), 'reports');
}

export function siteOf(configuration: Configuration, name: string): AtSite {
  const site = configuration.sites.get(name);
  if (!site)
    throw new Fault(
      `site ${JSON.stringify(name)}: not in ${configuration.file}`,
      `Known sites: ${[...configuration.sites.keys()].join(', ')}.`,
    );
  return {
    configuration,
    site,
    settings: () => settingsFor(configuration, name, { reportsFolder: reportsFolder(configuration) }),
    client: () => connectClient(site.temporal),
  };
}

/** The customer of a command; when there is only one, it need not be named. */
export function customerOf(configuration: Configuration, name: string | undefined): CustomerConfiguration {
  const known = [...configuration.customers.keys()];
  const id = name ?? (known.length === 1 ? known[0] : undefined);
  const customer = id === undefined ? undefined : configuration.customers.get(id);
  if (customer) return customer;
  const text =
    name === undefined
      ? 'no customer is named, and there is more than one'
      : `customer ${JSON.stringify(name)}: not in ${configuration.file}`;
  throw new Fault(text, `Known customers: ${known.join(', ')}.`);
}

/** Whoever is not one of those would leave a run that has failed. The site looks again: its own file counts. */
export function requireDeclarer({ operators, file }: Configuration, name: string): void {
  const may = operators.filter(({ roles }) => roles.includes('declare')).map(({ id }) => id);
  if (may.includes(name)) return;
  throw new Fault(
    `--requested-by ${JSON.stringify(name)}: is not an operator of ${file} who may declare a move`,
    `Those with the role declare: ${may.join(', ') || 'nobody'}.`,
  );
}

/**
 * The site whose Temporal service runs a customer's move: the one named, else the only one of the pair that answers
 * (a lost site answers nobody), else the only one where such a move runs, else the one where the last of them ran.
 */
export async function answeringSite(
  configuration: Configuration,
  customer: CustomerConfiguration,
  named: string | undefined,
  name: MoveName = 'failover',
): Promise<{ name: string; client: Client }> {
  const workflow = workflowOf(name);
  if (named !== undefined) {
    if (!customer.sites.includes(named))
      throw new Fault(
        `site ${JSON.stringify(named)}: ${customer.id} is at ${customer.sites.join(' and ')}`,
        'Name one of the two.',
      );
    return { name: named, client: await siteOf(configuration, named).client() };
  }
  const answers = await Promise.allSettled(
    customer.sites.map(async (site) => ({ name: site, client: await siteOf(configuration, site).client() })),
  );
  const found = answers.flatMap((a) => (a.status === 'fulfilled' ? [a.value] : []));
  const running = found.length > 1 ? await whereItRuns(found, workflow, customer.id) : found;
  const [first] = running;
  if (first && running.length === 1) {
    await Promise.all(found.filter((f) => f !== first).map(({ client }) => client.connection.close()));
    return first;
  }
  await Promise.all(found.map(({ client }) => client.connection.close()));
  if (found.length > 1 && running.length === 0)
    throw noMove(name, customer.id, `the Temporal service of ${customer.sites.join(' or ')}`);
  const which = found.length === 0 ? 'neither site answers' : `both sites answer, and have a ${workflow} that runs`;
  throw new Fault(
    `Temporal of ${customer.sites.join(' and ')}: ${which}`,
    found.length === 0
      ? '`tandem dev status` shows what runs.'
      : `Name the one that is meant: --site ${customer.sites.join(' or --site ')}.`,
  );
}

async function whereItRuns<T extends { client: Client }>(
  sites: T[],
  workflow: MoveWorkflow,
  customer: string,
): Promise<T[]> {
  const states = await Promise.all(
    sites.map(async (site) => {
      const handle = await lastBegun(site.client, workflow, customer).catch(() => null);
      const run = await handle?.describe().catch(() => null); // None was ever started there.
      return run ? [{ site, runs: run.status.name === 'RUNNING', at: run.startTime.getTime() }] : [];
    }),
  );
  const known = states.flat().toSorted((a, b) => b.at - a.at);
  const running = known.filter(({ runs }) => runs);
  return (running.length > 0 ? running : known.slice(0, 1)).map(({ site }) => site);
}
