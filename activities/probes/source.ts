import { failureKind } from '../../workflows/model/failures.ts';
import type { Epoch } from '../../workflows/model/epoch.ts';
import type { Isolation } from '../../workflows/model/plan.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import { highestEpoch } from '../vault/epochs.ts';
import { isServersAnswer, peerQuery, peerTemporal, withPeerVault, within } from './peer.ts';

/** What one observer may take. All look at once, so that a site which swallows every packet costs this much, once. */
export const OBSERVER_LIMIT_MS = 2000;

type Observer = Isolation['observers'][number];

export interface Observation {
  verdict: Isolation['verdict'];
  observers: Observer[];
  /** Why each observer that is not sure is not; for people, never part of a decision. */
  because: Record<string, string>;
  /** The newest epoch that the source's database holds; null when it did not say. */
  epoch: Epoch | null;
  /** The highest number that is taken in the source's vault; 0 when it did not say. */
  claimed: number;
}

interface ObservedRow {
  half: string;
  newest: string;
  claimed_by: string;
  move: string;
  open: boolean;
}

/**
 * Looks at a site through its database, vault and Temporal service at once, read-only, within OBSERVER_LIMIT_MS.
 * *serving* when one of them saw it serve users of the customer, whichever half. Never *dead*: that takes a witness.
 */
export async function observeSource(
  settings: SiteSettings,
  customer: CustomerSettings,
  signal?: AbortSignal,
): Promise<Observation> {
  const because: Record<string, string> = {};
  let epoch: Epoch | null = null;
  let claimed = 0;
  const observe = async (name: string, look: (signal: AbortSignal) => Promise<Observer['saw']>): Promise<Observer> => {
    try {
      return { name, saw: await within(OBSERVER_LIMIT_MS, `${name} of ${customer.peer}`, look, signal) };
    } catch (error) {
      because[name] = error instanceof Error ? error.message : String(error);
      // A refusal is an answer: something is there that could be serving.
      const answered = isServersAnswer(error) || failureKind(error) === 'vault-refused';
      return { name, saw: answered ? 'answers' : 'unreachable' };
    }
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
      if (!temporal) throw new Error('no address is configured');
      await peerTemporal(temporal, OBSERVER_LIMIT_MS);
      return 'answers';
    }),
  ]);
  const verdict = observers.some((o) => o.saw === 'serving') ? 'serving' : 'unknown';
  return { verdict, observers, because, epoch, claimed };
}

/** Whether a machine has seen the source closed. */
export function sawClosed(observers: readonly Observer[]): boolean {
  return observers.some((o) => o.saw === 'closed') && !observers.some((o) => o.saw === 'serving');
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
  if (!access) throw new Error('no credentials are configured');
  return withPeerVault(access, (vault) => highestEpoch(vault, customer.id, signal));
}
