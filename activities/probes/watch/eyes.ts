import type { Client as PostgresClient } from 'pg';
import type { Claim } from '../../../workflows/model/epoch.ts';
import type { CustomerSettings, SiteSettings, VaultAccess } from '../../settings.ts';
import type { Vault } from '../../vault/port.ts';
import { S3Vault } from '../../vault/s3.ts';
import { Blind, look, lookForBeats, OBSERVER_LIMIT_MS, serviceEyes, type Beats, type Told } from '../observers.ts';
import { peerTemporal } from '../peer-temporal.ts';
import { Kept, keptDatabase } from './kept.ts';

const LIMITS = {
  connectMs: OBSERVER_LIMIT_MS,
  requestMs: OBSERVER_LIMIT_MS,
  // The first tells a machine whose clock is off by much how it is to sign; what hangs has no time for a second.
  attempts: 2,
  callMs: OBSERVER_LIMIT_MS,
} as const;

/** Customers look at about the same moment, each once in a round: of what they share one look serves all, and none is used twice by one. */
const SHARED = 0.7;
/** Rounds for which the look at this site's own vault stands: it decides nothing, and a listing costs. */
const VAULT_SHARED = 5.5;

/** What is kept of one customer from look to look. */
export interface CustomerEyes {
  customer: CustomerSettings;
  own: Kept<PostgresClient>;
  /** What lies under each number that somebody has claimed, by store. */
  opened: { peerVault: Map<number, Claim | null>; witness: Map<number, Claim | null> };
}

/**
 * By what a site looks at its peers and at itself. What all its customers share, the vaults, the beats, Temporal services
 * and the services' API, is asked once for all of them, and answers in its own limit whatever else hangs.
 */
export class Eyes {
  readonly settings: SiteSettings;
  /** From one round to the next. */
  private readonly everyMs: number;
  private readonly vaults = new Map<string, Kept<Vault>>();
  private readonly shared = new Map<string, { at: number; told: Promise<unknown> }>();
  private readonly customers = new Map<string, CustomerEyes>();

  constructor(settings: SiteSettings, everyMs: number) {
    this.settings = settings;
    this.everyMs = everyMs;
  }

  of(customer: CustomerSettings): CustomerEyes {
    const known = this.customers.get(customer.id);
    if (known) return known;
    const made = {
      customer,
      own: keptDatabase(customer.databaseUrl, OBSERVER_LIMIT_MS),
      opened: { peerVault: new Map<number, Claim | null>(), witness: new Map<number, Claim | null>() },
    };
    this.customers.set(customer.id, made);
    return made;
  }

  /** A bucket, by the client that is kept for it. */
  vault(access: VaultAccess): Kept<Vault> {
    const known = this.vaults.get(access.site);
    const kept =
      known ??
      new Kept<Vault>(
        () => Promise.resolve(new S3Vault(access, LIMITS)),
        (vault) => vault.close(),
      );
    if (!known) this.vaults.set(access.site, kept);
    return kept;
  }

  temporalOf(peer: string, signal: AbortSignal): Promise<Told> {
    const temporal = this.settings.peerTemporals.get(peer);
    // A kept channel of gRPC waits longer and longer before it tries again, and would not see a peer that is back.
    const eye = async (): Promise<'answers'> => {
      if (!temporal) throw new Blind('no address is configured');
      await peerTemporal(temporal, OBSERVER_LIMIT_MS);
      return 'answers';
    };
    return this.once(`temporal ${peer}`, SHARED, () => look('temporal', peer, eye, signal));
  }

  /** The client port, asked for the customer's own domain; null where none is named. */
  clientsOf(customer: CustomerSettings, site: string, signal: AbortSignal): Promise<Told | null> {
    const found = serviceEyes(this.settings, customer, site).find(({ name }) => name === 'sign-in');
    return found ? look(found.name, site, found.eye, signal) : Promise.resolve(null);
  }

  /** The API, once for all customers; none where it is not named. */
  apiOf(customer: CustomerSettings, site: string, signal: AbortSignal): Promise<Told>[] {
    return serviceEyes(this.settings, customer, site)
      .filter(({ name }) => name === 'api')
      .map(({ name, eye }) => this.once(`api ${site}`, SHARED, () => look(name, site, eye, signal)));
  }

  beatsOf(peer: string, witness: VaultAccess, signal: AbortSignal): Promise<Beats> {
    return this.once(`beats ${peer}`, SHARED, () => lookForBeats(this.settings, witness, peer, signal));
  }

  /** Whether this site's own vault answers, once a minute. */
  ownVault({ id }: CustomerSettings, signal: AbortSignal): Promise<Told> {
    const { site, vault } = this.settings;
    const eye = (limit: AbortSignal): Promise<'answers'> =>
      this.vault(vault).use(limit, async (kept) => {
        for await (const _ of kept.list(`${id}/epochs/`, { signal: limit })) break;
        return 'answers' as const;
      });
    return this.once(`vault ${site}`, VAULT_SHARED, () => look('vault', site, eye, signal));
  }

  close(): void {
    for (const kept of this.vaults.values()) kept.close();
    for (const { own } of this.customers.values()) own.close();
  }

  private once<T>(name: string, rounds: number, ask: () => Promise<T>): Promise<T> {
    const before = this.shared.get(name);
    if (before && performance.now() - before.at < rounds * this.everyMs) return before.told as Promise<T>;
    const told = ask();
    this.shared.set(name, { at: performance.now(), told });
    return told;
  }
}
