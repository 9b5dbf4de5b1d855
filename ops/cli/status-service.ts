import { directoryState, tellState } from '../../activities/directory/answer.ts';
import { within } from '../../activities/probes/peer.ts';
import { openSite } from '../../activities/services/site.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { driftOf, parityOf } from '../filter-loop.ts';
import { siteOf } from './site.ts';

/** A screen waits no longer than this for a site that hangs. */
const LIMIT_MS = 3000;

/** What a site says that somebody has to look at; null where there is nothing. */
export interface ServiceStatus {
  site: string;
  /** An answer of the directory that waits for an operator, or why there is none. */
  directory: string | null;
  /** How the message filter differs from the configuration. */
  filter: string | null;
}

/** Rejects when the site does not answer. */
export async function serviceStatus(
  configuration: Configuration,
  customer: CustomerConfiguration,
  name: string,
): Promise<ServiceStatus> {
  const settings = await siteOf(configuration, name).settings();
  const site = openSite(settings);
  try {
    const { directory, peer } = site.customer(customer.id);
    return await within(LIMIT_MS, `service of ${customer.id} at ${name}`, async (signal) => {
      const [state, parity] = await Promise.all([
        directory ? directoryState(site.database(customer.id), customer.id) : null,
        parityOf(site, customer.id, signal),
      ]);
      const asks = directory !== undefined && (state === null || state.held !== null || state.failed !== null);
      return { site: name, directory: asks ? tellState(state, Date.now()) : null, filter: driftOf(peer, parity) };
    });
  } finally {
    await site.close();
  }
}

export const serviceLines = ({ site, directory, filter }: ServiceStatus): string[] => [
  ...(directory === null ? [] : [`DIRECTORY, seen at ${site}: ${directory}`]),
  ...(filter === null ? [] : [`FILTER, seen at ${site}: ${filter}`]),
];
