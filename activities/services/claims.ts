import type { PoolClient } from 'pg';
import type { Claim, Epoch } from '../../workflows/model/epoch.ts';
import { failure, failureText } from '../../workflows/model/failures.ts';
import { answerClaim } from '../../workflows/model/rights.ts';
import { within } from '../probes/peer.ts';
import { claimInDns, claimsInDns } from '../traffic/dns-epoch.ts';
import { claimEpoch, readClaims, type Claims } from '../vault/epochs.ts';
import type { Vault } from '../vault/port.ts';
import type { OwnSite } from './site.ts';

/** A store that does not answer costs a move this much, once, and never its course: its claim is written later. */
const CLAIM_LIMIT_MS = 3000;
const AGAIN_LIMIT_MS = 2000;
/** For a plan: a store that is merely busy must not look away, or the same world has two next epochs. */
const READ_LIMIT_MS = 6000;
/** A store that was away is not asked with every line of the journal. */
const AGAIN_AFTER_MS = 30_000;

/** The stores beside its database that a site claims epochs in: `dns` is the customer's zone. */
export type ClaimStore = 'vault' | 'witness' | 'dns';

/** Where a claim stands. `refused` names what stood against it, when it was tried again later. */
export interface StoreClaim {
  store: ClaimStore;
  claimed: boolean;
  because: string | null;
}

interface Store {
  read(signal: AbortSignal): Promise<Claims>;
  /** Null when it has the epoch as this move's, now or before; else the claim that stands against it. */
  claim(claim: Claim, signal: AbortSignal): Promise<Epoch | null>;
}

function storesOf(site: OwnSite, customer: string): [ClaimStore, Store][] {
  const { settings, vault, witness } = site;
  const { publicKeys } = settings;
  const bucket = (of: Vault): Store => ({
    read: (signal) => readClaims(of, customer, { publicKeys, signal }),
    claim: (claim, signal) => claimEpoch(of, settings, customer, claim, signal),
  });
  const stores: [ClaimStore, Store][] = [['vault', bucket(vault)]];
  if (witness) stores.push(['witness', bucket(witness)]);
  const { dns } = site.customer(customer);
  if (dns)
    stores.push([
      'dns',
      {
        read: (signal) => claimsInDns(dns, { signal }),
        claim: (epoch, signal) => claimInDns(dns, epoch, { signal }),
      },
    ]);
  return stores;
}

/** What each store that can be reached says of a customer's epochs; of the others, why they cannot. */
export async function claimsInReach(
  site: OwnSite,
  customer: string,
  signal?: AbortSignal,
): Promise<{ claims: Claims[]; silent: Partial<Record<ClaimStore, string>> }> {
  const silent: Partial<Record<ClaimStore, string>> = {};
  const found = await Promise.all(
    storesOf(site, customer).map(async ([name, store]) => {
      try {
        return [await within(READ_LIMIT_MS, `claims in the ${name}`, (limit) => store.read(limit), signal)];
      } catch (error) {
        signal?.throwIfAborted();
        silent[name] = failureText(error);
        return [];
      }
    }),
  );
  return { claims: found.flat(), silent };
}

/**
 * Claims an epoch in every store that can be reached, at once, and says where it stands. A store that is away stops
 * nothing; one that holds a higher claim is `epoch-superseded`, the same number of another move `epoch-taken`.
 */
export async function claimInStores(
  site: OwnSite,
  customer: string,
  epoch: Claim,
  signal?: AbortSignal,
): Promise<StoreClaim[]> {
  const answers = await Promise.all(
    storesOf(site, customer).map(([name, store]) => claimIn({ name, store, epoch }, CLAIM_LIMIT_MS, signal)),
  );
  for (const { store, against } of answers) {
    if (!against) continue;
    const kind = answerClaim(against, epoch) === 'fork' ? 'epoch-taken' : 'epoch-superseded';
    const text = `${customer}: in the ${store} epoch ${against.number} is claimed by move ${against.move} of ${against.site}`;
    throw failure(kind, `${text}, this move offers ${epoch.number}`);
  }
  return answers.map(({ store, claimed, because }) => ({ store, claimed, because }));
}

interface Attempt {
  name: ClaimStore;
  store: Store;
  epoch: Claim;
}

async function claimIn(
  { name, store, epoch }: Attempt,
  limitMs: number,
  signal?: AbortSignal,
): Promise<StoreClaim & { against: Epoch | null }> {
  const claim = (limit: AbortSignal): Promise<Epoch | null> => store.claim(epoch, limit);
  try {
    const against = await within(limitMs, `claim in the ${name}`, claim, signal);
    return { store: name, claimed: against === null, because: null, against };
  } catch (error) {
    signal?.throwIfAborted();
    return { store: name, claimed: false, because: failureText(error), against: null };
  }
}

/** Remembers, in the transaction that takes the epoch, where its claim stands and where it is still to be written. */
export async function noteClaims(
  client: PoolClient,
  customer: string,
  { number, move, follows, keeps }: Claim,
  claims: readonly StoreClaim[],
): Promise<void> {
  for (const { store, claimed, because } of claims) {
    await client.query(
      `insert into tandem.claim (customer, number, move, store, claimed, because, follows, keeps)
       values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (customer, number, store) do nothing`,
      [customer, number, move, store, claimed, because, follows ?? null, keeps ?? null],
    );
  }
}

/** The claim of a planned move as this site has made it, whole; null when it made none. */
export async function plannedClaim(
  client: Pick<PoolClient, 'query'>,
  customer: string,
  epoch: Epoch,
): Promise<Claim | null> {
  const { rows } = await client.query<{ follows: string; keeps: string[] }>(
    `select follows::text, keeps from tandem.claim
      where customer = $1 and number = $2 and move = $3 and keeps is not null limit 1`,
    [customer, epoch.number, epoch.move],
  );
  const [row] = rows;
  return row ? { ...epoch, follows: Number(row.follows), keeps: row.keeps } : null;
}

/** Where the claim of a move stands, by this site's own memory; none when it never claimed one. */
export async function claimsOf(client: PoolClient, move: string): Promise<StoreClaim[]> {
  const { rows } = await client.query<StoreClaim>(
    'select store, claimed, because from tandem.claim where move = $1 order by store',
    [move],
  );
  return rows;
}

/**
 * Writes the claims of a move that are still missing, where their store answers by now, and stops nobody: a store that
 * is away is asked again later, and one that holds a newer claim is not asked again.
 */
export async function claimAgain(
  site: OwnSite,
  { customer, move }: { customer: string; move: string },
  { afterMs = AGAIN_AFTER_MS, signal }: { afterMs?: number; signal?: AbortSignal } = {},
): Promise<void> {
  const database = site.database(customer);
  const missing = await database.query<{
    number: string;
    name: ClaimStore;
    follows: string | null;
    keeps: string[] | null;
  }>(
    `select number, store as name, follows::text, keeps from tandem.claim
      where move = $1 and not claimed and not refused and at < now() - make_interval(secs => $2)`,
    [move, afterMs / 1000],
  );
  const stores = new Map(storesOf(site, customer));
  await Promise.all(
    missing.map(async ({ number, name, follows, keeps }) => {
      const store = stores.get(name);
      if (!store) return; // The configuration no longer names it.
      const terms = keeps === null ? {} : { follows: Number(follows), keeps };
      const epoch: Claim = { number: Number(number), site: site.settings.site, move, ...terms };
      const tried = await claimIn({ name, store, epoch }, AGAIN_LIMIT_MS, signal);
      const { claimed, against } = tried;
      const because = against
        ? `epoch ${against.number} of move ${against.move} of ${against.site} stands there`
        : tried.because;
      await database.query(
        'update tandem.claim set claimed = $4, because = $5, refused = $6, at = now() where customer = $1 and number = $2 and store = $3',
        [customer, number, name, claimed, because, against !== null],
      );
    }),
  );
}
