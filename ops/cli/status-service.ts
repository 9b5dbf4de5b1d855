import { directoryState, isOld, tellState, type DirectoryState } from '../../activities/directory/answer.ts';
import { tellDifference, type InForce } from '../../activities/directory/differ.ts';
import { readUnsalvaged, type Unsalvaged } from '../../activities/contacts/salvaged.ts';
import { within } from '../../activities/probes/peer.ts';
import { readWatched } from '../../activities/probes/watch/stored.ts';
import { readReadiness } from '../../activities/services/readiness.ts';
import { closingOf, lastOpening, type LastOpening } from '../../activities/services/closed.ts';
import { drainedHere, type Drained } from '../../activities/services/drained.ts';
import { forkHere, type StandingFork } from '../../activities/services/fork.ts';
import { openSite } from '../../activities/services/site.ts';
import type { Closing } from '../../workflows/model/closing.ts';
import { readinessLines, type Readiness } from '../../workflows/model/readiness.ts';
import { duration } from '../../workflows/model/rto.ts';
import { ageMs } from '../../workflows/model/snapshots.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { driftOf, parityOf } from '../filter-loop.ts';
import { closedLine, drainedLine, forkLine, openedLine } from './closed-lines.ts';
import { siteOf } from './site.ts';
import { peerLine, peerStatus, type PeerStatus } from './status-peer.ts';

/** A screen waits no longer than this for a site that hangs. */
const LIMIT_MS = 3000;
/** Two evaluations that did not come, and half of one. */
const DAY_MS = 24 * 3_600_000;
const STALE_MS = 75 * 60_000;

/** What a site says that somebody has to look at; null where there is nothing. */
export interface ServiceStatus {
  site: string;
  customer: string;
  /** An answer of the directory that waits for an operator, why there is none, or that there is no later one. */
  directory: string | null;
  /** By which answer of the directory it goes; null where it was never asked. */
  answer: InForce | null;
  /** How the message filter differs from the configuration. */
  filter: string | null;
  /** What users changed at this site alone, as long as no vault has it. */
  unsalvaged: Unsalvaged[];
  /** It serves nobody, whatever its rows say; null while it is open. */
  closed: Closing | null;
  /** Two moves hold the epoch that it holds, and no line is picked yet; null while that is not so. */
  fork: StandingFork | null;
  /** Halves that a planned move is handing over, and that nobody serves meanwhile. */
  drained: Drained[];
  /** How it was opened by operators within a day; null when it was not. */
  opened: LastOpening | null;
  /** What would stop a failover to this site, or would have to be accepted; empty when signatures would do. */
  readiness: string[];
  /** What its watch says of the other site. */
  peer: PeerStatus;
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
      const [closed, fork, drained, opened, state, parity, ready, watched, unsalvaged] = await Promise.all([
        closingOf(site.database(customer.id), customer.id),
        forkHere(site.database(customer.id), customer.id),
        drainedHere(site.database(customer.id), customer.id),
        lastOpening(site.database(customer.id), customer.id),
        directory ? directoryState(site.database(customer.id), customer.id) : null,
        parityOf(site, customer.id, signal),
        readReadiness(site.database(customer.id), customer.id),
        readWatched(site.database(customer.id), customer.id, peer),
        readUnsalvaged(site.database(customer.id), customer.id, name),
      ]);
      const asks = directory !== undefined && asksForSomebody(state, directory.everyMs);
      return {
        site: name,
        customer: customer.id,
        closed,
        fork,
        drained,
        opened: opened && opened.by.length > 0 && Date.now() - opened.openedAt.getTime() < DAY_MS ? opened : null,
        directory: asks ? tellState(state, Date.now()) : null,
        answer: state && { at: state.at, users: state.users, digest: state.digest, digestAt: state.digestAt },
        filter: driftOf(peer, parity),
        unsalvaged,
        readiness: ready === null ? [] : readinessTold(ready),
        peer: peerStatus(peer, watched),
      };
    });
  } finally {
    await site.close();
  }
}

/** It is evaluated every half hour: an old answer says that nobody asks any longer. */
function readinessTold(found: Readiness): string[] {
  const told = ['asks', 'not-ready'].includes(found.state) ? readinessLines(found) : [];
  const oldMs = ageMs(found.at, Date.now());
  const old = oldMs > STALE_MS ? [`the failover to ${found.to} was last evaluated ${duration(oldMs)} ago`] : [];
  return [...old, ...told].map((line) => `${line} (at ${found.at.slice(11, 16)} UTC)`);
}

const asksForSomebody = (state: DirectoryState | null, everyMs: number): boolean =>
  state === null || state.held !== null || state.failed !== null || isOld(state, everyMs, Date.now());

/** How the sites' answers of the directory differ; null while nothing says that they do. */
export const differingAnswers = (
  { directory }: CustomerConfiguration,
  services: readonly ServiceStatus[],
): string | null =>
  directory &&
  tellDifference(
    services.map(({ site, answer }) => [site, answer]),
    directory.everyMs,
    Date.now(),
  );

export const serviceLines = ({
  site,
  customer,
  closed,
  fork,
  drained,
  opened,
  directory,
  filter,
  readiness,
  peer,
  unsalvaged,
}: ServiceStatus): string[] => [
  ...(fork === null ? [] : [forkLine(site, customer, fork)]),
  ...(closed === null ? [] : [closedLine(site, customer, closed)]),
  ...drained.map((one) => drainedLine(site, one)),
  ...(opened === null ? [] : [`OPENED by operators, seen at ${site}: ${openedLine(opened)}`]),
  peerLine(site, peer),
  ...unsalvaged.map(
    ({ halves, epoch }) =>
      `NOT SALVAGED: what users of ${halves.join(' and ')} changed at ${site} under epoch ${epoch}, and had not left it, is on its disk alone; its \`standby\` salvages it`,
  ),
  ...readiness.map((line) => `READINESS, seen at ${site}: ${line}`),
  ...(directory === null ? [] : [`DIRECTORY, seen at ${site}: ${directory}`]),
  ...(filter === null ? [] : [`FILTER, seen at ${site}: ${filter}`]),
];
