import { setTimeout } from 'node:timers/promises';
import { failure } from '../../workflows/model/failures.ts';
import type { Database } from '../contacts/database.ts';
import { peerQuery, within } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import type { LoadedFilter } from './loaded.ts';
import { defaultFilter, filterDifferences, filterDigest } from './policy.ts';
import { isWhole, readFilter, type StoredFilter } from './stored.ts';

/** A peer is asked for no longer; it may be the lost one. */
const PEER_LIMIT_MS = 4000;
/** The service reads its row every second, and takes up to two for it. */
const SETTLE_MS = 5000;
const LOOK_EVERY_MS = 250;

/** What stands in one place, held against this site's configuration. */
export interface FilterAt {
  state: 'same' | 'differs' | 'unknown';
  digest: string | null;
  /** How it differs, or why it is not known. */
  because: string[];
}

export interface FilterParity {
  /** Of this site's configuration: all else is held against it. */
  digest: string;
  database: FilterAt;
  /** `asked`: false where nothing is configured to be asked. */
  service: FilterAt & { asked: boolean };
  peer: FilterAt;
}

export interface FilterToCompare {
  customer: CustomerSettings;
  /** This site's own. */
  database: Database;
  loaded: LoadedFilter;
  signal: AbortSignal;
  /** The peer was found silent already, and nobody waits for it once more. */
  peerSilent?: boolean;
}

/**
 * Compares a customer's policy in this site's configuration with its database, with its service, which is given a moment to
 * read what was just written, and with the peer's database. A peer that does not answer is an answer; what cannot be read at
 * this site is a failure.
 */
export async function filterParity(given: FilterToCompare): Promise<FilterParity> {
  const { customer, database, loaded, signal, peerSilent = false } = given;
  const digest = filterDigest(customer.filter ?? defaultFilter);
  const asked = peerSilent ? SILENT : atPeer(customer, signal);
  const [own, peer] = await Promise.all([readFilter(database, customer.id), asked]);
  const stored = compare(customer, own);
  return { digest, database: stored, service: await atService(customer.id, digest, stored, { loaded, signal }), peer };
}

const SILENT: FilterAt = {
  state: 'unknown',
  digest: null,
  because: ['its database was silent when the plan was made'],
};

function compare({ filter = defaultFilter }: CustomerSettings, found: StoredFilter | null): FilterAt {
  if (!found) return { state: 'differs', digest: null, because: ['there is none'] };
  const { document, digest } = found;
  if (!isWhole(found)) return { state: 'differs', digest, because: ['its digest is not that of its document'] };
  const because = filterDifferences(filter, document);
  if (digest === filterDigest(filter)) return { state: 'same', digest, because };
  return { state: 'differs', digest, because: because.length > 0 ? because : ['it is written otherwise'] };
}

async function atPeer(customer: CustomerSettings, signal: AbortSignal): Promise<FilterAt> {
  const sql = 'select document, digest from tandem.observe_filter() where customer = $1';
  try {
    const [found] = await within(
      PEER_LIMIT_MS,
      `database of ${customer.peer}`,
      (limit) => peerQuery<StoredFilter>(customer.peerDatabaseUrl, PEER_LIMIT_MS, sql, [customer.id], limit),
      signal,
    );
    return compare(customer, found ?? null);
  } catch (error) {
    signal.throwIfAborted();
    return { state: 'unknown', digest: null, because: [error instanceof Error ? error.message : String(error)] };
  }
}

async function atService(
  customer: string,
  wanted: string,
  stored: FilterAt,
  { loaded, signal }: Pick<FilterToCompare, 'loaded' | 'signal'>,
): Promise<FilterParity['service']> {
  // What it reads is wrong already: nothing is to be waited for.
  const end = performance.now() + (stored.state === 'same' ? SETTLE_MS : 0);
  for (;;) {
    const said = await loaded(customer, signal);
    const { digest } = said;
    if (said.digest === null) return { state: 'unknown', digest, because: [said.because], asked: said.asked };
    if (digest === wanted) return { state: 'same', digest, because: [], asked: true };
    const because = 'because' in said ? [said.because] : ['it has another one in force'];
    if (performance.now() >= end) return { state: 'differs', digest, because, asked: true };
    await setTimeout(LOOK_EVERY_MS, undefined, { signal });
  }
}

/** What is wrong at this site itself, for people; null when nothing is known to be. */
export function ownDrift({ database, service }: FilterParity): string | null {
  const told = [
    ...(database.state === 'differs' ? [`its database: ${database.because.join('; ')}`] : []),
    ...(service.state === 'differs' ? [`its service: ${service.because.join('; ')}`] : []),
  ];
  return told.length > 0 ? told.join('. ') : null;
}

/** A failure `parity-drift` when this site's own service does not filter as its configuration says. */
export function requireParity(site: string, customer: string, parity: FilterParity): void {
  const drift = ownDrift(parity);
  if (drift === null) return;
  const { digest, database, service } = parity;
  throw failure(
    'parity-drift',
    `message filter of ${customer} at ${site}: not as configured (${digest.slice(0, 12)}). In ${drift}`,
    { configured: digest, database: database.digest, service: service.digest },
  );
}
