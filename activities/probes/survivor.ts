import type { Closing } from '../../workflows/model/closing.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { OwnSite } from '../services/site.ts';
import type { CustomerSettings } from '../settings.ts';
import { switchesOf } from '../traffic/act.ts';
import { within } from './peer.ts';
import { greetsClients, httpStatus } from './service.ts';

/**
 * What one question may take. All are asked at once, so that a part which hangs costs the plan this much, once. Longer than
 * for a lost site: parts that are merely busy must not look broken, or the same world has two digests.
 */
const PROOF_LIMIT_MS = 6000;

/** One thing that this site was asked about itself, before it offers to take over. */
export interface Proof {
  name: string;
  ok: boolean;
  /** What was seen. */
  told: string;
}

/**
 * The survivor proves itself first (DESIGN 4): its database, vault, witness and client port, seen from here and from
 * outside, and what it leads users by, as far as they are configured. What does not answer in time is no proof.
 */
export async function proveSurvivor(site: OwnSite, customer: CustomerSettings, signal?: AbortSignal): Promise<Proof[]> {
  const service = site.settings.services.get(site.settings.site);
  const { witness } = site;
  const questions: [string, (limit: AbortSignal) => Promise<string>][] = [
    ['database', () => databaseWrites(site, customer)],
    ['vault', (limit) => answersListing(site.vault, customer, limit)],
  ];
  if (witness) questions.push(['witness', (limit) => answersListing(witness, customer, limit)]);
  if (service) {
    const { clients, outsideCheck } = service;
    questions.push([
      'client port',
      (limit) => greetsClients(clients, customer.domain, limit).then(() => `${clients} greets`),
    ]);
    if (outsideCheck !== null)
      questions.push(['client port from outside', (limit) => seenFromOutside(outsideCheck, limit)]);
  }
  const { 'shift-dns': dns, 'shift-proxy': proxy } = switchesOf(site, customer.id);
  if (dns) questions.push(['name server', (limit) => dns.prove(limit)]);
  if (proxy) questions.push(['proxy', (limit) => proxy.prove(limit)]);
  return Promise.all(
    questions.map(async ([name, ask]) => {
      try {
        return { name, ok: true, told: await within(PROOF_LIMIT_MS, `${name} of ${site.settings.site}`, ask, signal) };
      } catch (error) {
        signal?.throwIfAborted();
        return { name, ok: false, told: failureText(error) };
      }
    }),
  );
}

/** A survivor that is closed serves nobody before the move opens it: whoever signs accepts that by name. */
export const closedProof = (closing: Closing | null): Proof[] =>
  closing ? [{ name: 'closed', ok: false, told: `since ${closing.since}: ${closing.kind}, ${closing.because}` }] : [];

async function databaseWrites(site: OwnSite, { id }: CustomerSettings): Promise<string> {
  const [row] = await site
    .database(id)
    .query<{ standby: boolean; reads: string }>(
      "select pg_is_in_recovery() as standby, current_setting('transaction_read_only') as reads",
    );
  if (row?.standby !== false || row.reads !== 'off')
    throw new Error('it can only be read: nobody can be moved into it');
  return 'it can be written';
}

async function answersListing(vault: OwnSite['vault'], { id }: CustomerSettings, signal: AbortSignal): Promise<string> {
  for await (const _ of vault.list(`${id}/epochs/`, { signal })) break;
  return 'it answers';
}

async function seenFromOutside(url: string, signal: AbortSignal): Promise<string> {
  const status = await httpStatus(url, signal);
  if (status !== 200) throw new Error(`the check from outside answers ${status}, 200 is expected`);
  return 'it is reached';
}
