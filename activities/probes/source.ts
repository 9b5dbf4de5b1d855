import type { Epoch } from '../../workflows/model/epoch.ts';
import type { Isolation, Undelivered } from '../../workflows/model/plan.ts';
import { verdictOf, WITNESS_OBSERVER } from '../../workflows/model/verdict.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import { readClaims } from '../vault/epochs.ts';
import { Blind, look, lookForBeats, OBSERVER_LIMIT_MS, serviceEyes, type Observer } from './observers.ts';
import { peerQuery, withPeerVault } from './peer.ts';
import { peerTemporal } from './peer-temporal.ts';

export interface Observation {
  verdict: Isolation['verdict'];
  observers: Observer[];
  /** Why each observer that is not sure is not; for people, never part of a decision. */
  because: Record<string, string>;
  /** The newest epoch that the source's database holds; null when it did not say. */
  epoch: Epoch | null;
  /** The highest number that is taken in the source's vault; 0 when it did not say. */
  claimed: number;
  /** What waits at the source for users who are away, as its last beat told it; null when none did. */
  undelivered: Undelivered | null;
}

interface ObservedRow {
  half: string;
  newest: string;
  claimed_by: string;
  move: string;
  open: boolean;
}

/**
 * Looks at a site through its database, vault and Temporal service, its client port and API where they are named, and by
 * its beats in the witness, all at once, read-only, within OBSERVER_LIMIT_MS. *serving* when one of them saw it serve users
 * of the customer, whichever half.
 */
export async function observeSource(
  settings: SiteSettings,
  customer: CustomerSettings,
  signal?: AbortSignal,
): Promise<Observation> {
  const because: Record<string, string> = {};
  let epoch: Epoch | null = null;
  let claimed = 0;
  let undelivered: Undelivered | null = null;
  const observe = async (name: string, eye: (limit: AbortSignal) => Promise<Observer['saw']>): Promise<Observer> => {
    const told = await look(name, customer.peer, eye, signal);
    if (told.because !== null) because[name] = told.because;
    return told.observer;
  };
  const hear = async (witness: NonNullable<SiteSettings['witness']>): Promise<Observer> => {
    const heard = await lookForBeats(settings, witness, customer.peer, signal);
    because[WITNESS_OBSERVER] = heard.because;
    undelivered = heard.beat?.undelivered?.[customer.id] ?? null;
    return { name: WITNESS_OBSERVER, saw: heard.saw };
  };
  const observers = await Promise.all([
    observe('database', async (limit) => {
      const rows = await observedRows(customer, limit);
      const [newest] = rows;
      if (newest) epoch = { number: Number(newest.newest), site: newest.claimed_by, move: newest.move };
      return rows.some((r) => r.open) ? 'serving' : 'closed';
    }),
    observe('vault', async (limit) => {
      claimed = await highestClaimed(settings, customer, limit);
      return 'answers';
    }),
    observe('temporal', async () => {
      const temporal = settings.peerTemporals.get(customer.peer);
      if (!temporal) throw new Blind('no address is configured');
      await peerTemporal(temporal, OBSERVER_LIMIT_MS);
      return 'answers';
    }),
    ...serviceEyes(settings, customer, customer.peer).map(({ name, eye }) => observe(name, eye)),
    ...(settings.witness ? [hear(settings.witness)] : []),
  ]);
  return { verdict: verdictOf(observers), observers, because, epoch, claimed, undelivered };
}

async function observedRows(customer: CustomerSettings, signal: AbortSignal): Promise<ObservedRow[]> {
  const sql = 'select customer, half, newest::text, claimed_by, move, open from tandem.observe()';
  const rows = await peerQuery<ObservedRow & { customer: string }>(
    customer.peerDatabaseUrl,
    OBSERVER_LIMIT_MS,
    sql,
    [],
    signal,
  );
  const own = rows.filter((r) => r.customer === customer.id);
  if (rows.length > 0 && own.length === 0) {
    // Nobody is closed because somebody else's database says nothing of him.
    throw Object.assign(new Error('the database is that of another customer'), { code: '42501' });
  }
  return own;
}

async function highestClaimed(
  settings: SiteSettings,
  customer: CustomerSettings,
  signal: AbortSignal,
): Promise<number> {
  const access = settings.peerVaults.get(customer.peer);
  if (!access) throw new Blind('no credentials are configured');
  const { publicKeys } = settings;
  const { newest } = await withPeerVault(access, (vault) => readClaims(vault, customer.id, { publicKeys, signal }));
  return newest?.number ?? 0;
}
