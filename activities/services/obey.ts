import { compareEpoch, type Claim, type Epoch } from '../../workflows/model/epoch.ts';
import { failureKind } from '../../workflows/model/failures.ts';
import type { Database } from '../contacts/database.ts';
import { withPeerVault, within } from '../probes/peer.ts';
import type { CustomerSettings, SiteSettings, VaultAccess } from '../settings.ts';
import { readClaims } from '../vault/epochs.ts';
import { askRights } from './obeyed.ts';

/** A site that starts does not wait longer than this for a peer, or a witness, that may be gone. */
const LIMIT_MS = 4000;

/** Where a claim of the peer was read that a site obeys. */
export type ClaimStore = 'database of the peer' | 'vault of the peer' | 'witness';
export type PeerClaim = Claim & { store: ClaimStore };

/** An epoch of the peer under which this site is closed, as its own database has it. Times ISO 8601. */
export type ObeyedEpoch = Epoch & { at: string; serviceClosedAt: string | null };

/** A claim of the peer that this site has taken over, and how many halves it goes on serving under it. */
export interface Obeyed extends Epoch {
  kept: number;
}

export const toldObeyed = ({ site, number, kept }: Obeyed): string =>
  `${site} has claimed epoch ${number}; ${kept > 0 ? 'this site goes on serving what that leaves to it' : 'this site is closed'}`;

/**
 * Takes over the newer epoch that the peer has claimed while this site was away, by the peer's vault or by the witness.
 * Every serving row here is then older, and this site is closed, but for what the claim of a planned move leaves to it: a site
 * that returns never serves beside the one that took its users over. Claims of this site's own are for the move that made them. Answers that epoch, or null when there is none
 * or nobody answers.
 */
export async function obeyNewerEpoch(
  settings: SiteSettings,
  customer: string,
  database: Database,
): Promise<Obeyed | null> {
  const peer = settings.customers.get(customer)?.peer ?? '';
  const found = await Promise.all([
    newestOf(settings.peerVaults.get(peer), 'vault of the peer', settings, customer, peer),
    newestOf(settings.witness, 'witness', settings, customer, peer),
  ]);
  const claim = newestClaim(found);
  return claim && takeOver(database, { customer, site: settings.site }, claim);
}

/** The one with the highest number; null when there is none. */
export const newestClaim = (claims: readonly (PeerClaim | null)[]): PeerClaim | null =>
  claims.reduce<PeerClaim | null>((best, one) => (one && (best?.number ?? 0) < one.number ? one : best), null);

/**
 * Raises this site's own epoch to a claim of its peer, in one transaction, and notes when; what the claim leaves to this site goes
 * along (`keepsUnder`). Null when it is none that is newer, or the database is not that of this customer at this site: nothing is changed then.
 */
export async function takeOver(
  database: Database,
  { customer, site }: { customer: string; site: string },
  { store, follows, keeps, ...claim }: PeerClaim,
): Promise<Obeyed | null> {
  return database.transaction(async (client) => {
    const { rows } = await client.query<{ number: string; site: string; move: string }>(
      `select e.number, e.site, e.move from tandem.epoch e
         join tandem.identity i on i.customer = e.customer and i.site = $2
        where e.customer = $1 for update of e`,
      [customer, site],
    );
    const [row] = rows;
    if (!row || compareEpoch({ number: Number(row.number), site: row.site, move: row.move }, claim) !== 'newer')
      return null;
    const values = [customer, claim.number, claim.site, claim.move];
    await client.query(
      'update tandem.epoch set number = $2, site = $3, move = $4, at = now() where customer = $1',
      values,
    );
    await client.query(
      `insert into tandem.obeyed (customer, number, site, move, store) values ($1, $2, $3, $4, $5)
       on conflict (customer, number) do nothing`,
      [...values, store],
    );
    if (!keeps) return { ...claim, kept: 0 };
    const taken = await client.query<{ kept: number }>('select tandem.take_along($1, $2, $3, $4, $5, $6) as kept', [
      customer,
      row.number,
      claim.number,
      claim.site,
      follows ?? null,
      keeps,
    ]);
    return { ...claim, kept: taken.rows[0]?.kept ?? 0 };
  });
}

/**
 * Has this site's service read what it is to obey, so that sessions end at once, and notes when it was seen to serve no half.
 * It reads that by itself, too; one that does not answer, or is not asked, is noted by nobody. An epoch that the peer itself
 * has raised in this database (`tandem.fence`) is noted as any other.
 */
export async function closeService(
  settings: SiteSettings,
  customer: CustomerSettings,
  database: Database,
  signal?: AbortSignal,
): Promise<void> {
  await database.query(
    `insert into tandem.obeyed (customer, number, site, move, store, at)
     select customer, number, site, move, 'this database', at from tandem.epoch where customer = $1
     on conflict (customer, number) do nothing`,
    [customer.id],
  );
  const { rights } = await askRights(settings, customer, settings.site, signal);
  if (!rights || [...rights.values()].includes(settings.site)) return;
  await database.query(
    `update tandem.obeyed o set service_closed_at = clock_timestamp() from tandem.epoch e
      where o.customer = $1 and e.customer = o.customer and e.number = o.number and o.service_closed_at is null`,
    [customer.id],
  );
}

/** The newest claim of the peer that a store tells; null when it tells none, or not in time. */
async function newestOf(
  access: VaultAccess | null | undefined,
  store: ClaimStore,
  { publicKeys }: SiteSettings,
  customer: string,
  peer: string,
): Promise<PeerClaim | null> {
  const key = publicKeys.get(peer);
  if (!key || !access) return null;
  const reader = { publicKeys: new Map([[peer, key]]) };
  try {
    const { newest } = await within(LIMIT_MS, `claims in vault ${access.site}`, (signal) =>
      withPeerVault(access, (vault) => readClaims(vault, customer, { ...reader, signal })),
    );
    return newest && { ...newest, store };
  } catch (error) {
    if (['vault-unreachable', 'source-unreachable'].includes(failureKind(error) ?? '')) return null;
    throw error;
  }
}
