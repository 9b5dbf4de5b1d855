import type { StepResult } from '../../workflows/model/moves.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { filterParity, ownDrift, requireParity, type FilterParity } from '../filter/parity.ts';
import type { Seen } from './check.ts';
import { doneBefore, noteEffect } from './effects.ts';
import type { PlannedStep } from './planned.ts';
import type { OwnSite } from './site.ts';

/**
 * Looks whether this site filters messages as its configuration says, in its database and in its service: nobody is served
 * past the filter. Otherwise `parity-drift`. That the peer filters differently is an alarm and no failure: users are not kept
 * waiting for what stands at a site that may be lost. So is a service that does not answer: it obeys its database by itself.
 */
export async function checkParity(site: OwnSite, input: PlannedStep, signal: AbortSignal): Promise<StepResult> {
  const { key, plan } = input;
  const customer = site.customer(key.customer);
  const database = site.database(customer.id);
  const done = await doneBefore(database, input);
  if (done) return done;
  // A lost site has nothing to say, and users wait.
  const peerSilent = plan.decisions.isolation.observers.some(
    ({ name, saw }) => name === 'database' && saw === 'unreachable',
  );
  const parity = await look(site, customer.id, signal, peerSilent);
  requireParity(site.settings.site, customer.id, parity);
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, customer.id, key.epoch);
    return noteEffect(client, input, resultOf(customer.peer, parity));
  });
}

/** Whether it holds now. */
export async function parityHolds(site: OwnSite, { key }: PlannedStep, signal: AbortSignal): Promise<Seen> {
  const parity = await look(site, key.customer, signal);
  const drift = ownDrift(parity);
  return { seen: drift === null, summary: drift ?? inForce(parity) };
}

const look = (site: OwnSite, id: string, signal: AbortSignal, peerSilent = false): Promise<FilterParity> =>
  filterParity({
    customer: site.customer(id),
    database: site.database(id),
    loaded: site.loadedFilter,
    signal,
    peerSilent,
  });

const inForce = ({ digest, service }: FilterParity): string =>
  `the message filter is as configured (${digest.slice(0, 12)}), ` +
  (service.state === 'same'
    ? 'and in force'
    : `in the database; not seen in the service: ${service.because.join('; ')}`);

function resultOf(name: string, parity: FilterParity): StepResult {
  const { digest, service, peer } = parity;
  const told = {
    same: `${name} filters alike`,
    differs: `${name} filters otherwise: ${peer.because.join('; ')}`,
    unknown: `what ${name} filters is not known: ${peer.because.join('; ')}`,
  };
  const alarms = [
    ...(peer.state === 'differs' ? [`the message filters of the sites differ: ${told.differs}`] : []),
    ...(service.state === 'unknown' && service.asked ? [inForce(parity)] : []),
  ];
  return {
    summary: `${inForce(parity)}; ${told[peer.state]}`,
    facts: { digest, service: service.state, peer: peer.state, peerDigest: peer.digest },
    ...(alarms.length > 0 && { alarms }),
  };
}
