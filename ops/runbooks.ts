import { readFile } from 'node:fs/promises';
import { parseRunbook, shippedRunbooks, whyUnread, type RunbookUse } from '../runbooks/load.ts';
import type { Listed } from '../runbooks/names.ts';
import { faultLine } from '../runbooks/yaml.ts';
import { moveKinds, type MoveKind } from '../workflows/model/acts.ts';
import type { Configuration, CustomerConfiguration, SiteConfiguration } from './config/configuration.ts';
import { outside } from './config/parties.ts';
import { pathOf } from './config/secrets.ts';

/** The runbook of a customer for a kind of move: his own file, else the shipped one. */
export function runbookFile(configuration: Configuration, customer: CustomerConfiguration, kind: MoveKind): string {
  const own = customer.runbooks.get(kind);
  return own ? pathOf(configuration, own.file) : shippedRunbooks[kind];
}

/** What a customer's runbook is checked against. Either site may be the survivor: each lists what a step names. */
export function useBy(configuration: Configuration, { sites, objectives, ...own }: CustomerConfiguration): RunbookUse {
  const places = sites.flatMap((name) => {
    const site = configuration.sites.get(name);
    return site ? [listedAt(site)] : [];
  });
  // A step asks one party, or all of an option.
  const parties = { where: own.id, names: { party: [...own.parties.keys(), ...outside] } };
  return { rtoMs: objectives.rtoMs, places: [...places, parties] };
}

const listedAt = ({ site, requests, commands, channels }: SiteConfiguration): Listed => ({
  where: site,
  names: { request: [...requests.keys()], command: [...commands.keys()], channel: [...channels.keys()] },
});

/** All that is wrong with the runbooks that a configuration's customers have, each line with its place. */
export async function runbookFaults(configuration: Configuration): Promise<string[]> {
  const customers = [...configuration.customers.values()];
  const found = await Promise.all(
    customers.flatMap((customer) => moveKinds.map((kind) => faultsOf(configuration, customer, kind))),
  );
  return found.flat();
}

async function faultsOf(
  configuration: Configuration,
  customer: CustomerConfiguration,
  kind: MoveKind,
): Promise<string[]> {
  const file = runbookFile(configuration, customer, kind);
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => whyUnread(error));
  if (typeof bytes === 'string') {
    const { at, path } = customer.runbooks.get(kind) ?? { at: file, path: 'runbooks' };
    return [`${at}: ${path}: ${file} ${bytes}`];
  }
  const parsed = parseRunbook(file, bytes, { ...useBy(configuration, customer), kind });
  return 'faults' in parsed ? parsed.faults.map((fault) => `${faultLine(fault)} (${kind} of ${customer.id})`) : [];
}
