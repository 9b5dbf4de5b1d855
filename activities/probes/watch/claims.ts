import type { Claim, Epoch } from '../../../workflows/model/epoch.ts';
import type { Fork } from '../../../workflows/model/watch-news.ts';
import type { PeerClaim } from '../../services/obey.ts';
import type { SiteSettings, VaultAccess } from '../../settings.ts';
import { claimsInDns } from '../../traffic/dns-epoch.ts';
import { newestClaimBy } from '../../vault/epochs.ts';
import { Blind, OBSERVER_LIMIT_MS } from '../observers.ts';
import { peerQuery, within } from '../peer.ts';
import type { CustomerEyes, Eyes } from './eyes.ts';

/**
 * Who says that a newer epoch was claimed, and what this site does on it. Closing is the safe side, but what raises this
 * site's own epoch cannot be taken back, so that whoever could make it up could close a site for ever.
 *
 * - A claim in the peer's vault or in the witness counts when the peer's key has signed it for that very number. Anybody may
 *   have written the object; nobody else can have signed it.
 * - The row in the peer's own database counts as it stands: it is read over a connection that this site opened, with its own
 *   credentials, to the address in its own configuration. Whoever can write there holds the peer, and what the peer's
 *   processes hold suffices to call `tandem.fence` in this site's database: believing the row gives him nothing new. Numbers beyond any
 *   that was ever claimed are passed over, or one row could keep everybody from claiming the next.
 * - `_epoch` in the zone carries no signature of a site: the answer is proved to be the name server's, and its records may be changed by
 *   all who keep the zone, by hand too. A number there that no store confirms closes nobody; people are told.
 *
 * Claims of this site's own are for the move that made them, wherever they are read.
 */
const MOST = 999_999_999_999;

/** An epoch as a row has it; null for a number that was never claimed. */
export function epochOf(row: { number: string; site: string; move: string } | null | undefined): Epoch | null {
  const number = Number(row?.number ?? NaN);
  return row && Number.isSafeInteger(number) && number <= MOST ? { number, site: row.site, move: row.move } : null;
}

/** The newest claim that the peer has signed in its own vault, from this site's own epoch on. */
export async function claimInVault(
  eyes: Eyes,
  { customer, opened }: CustomerEyes,
  least: number,
  signal: AbortSignal,
): Promise<PeerClaim | null> {
  const access = eyes.settings.peerVaults.get(customer.peer);
  if (!access) throw new Blind('no credentials are configured');
  const found = await claimIn(eyes, access, {
    customer: customer.id,
    by: customer.peer,
    least,
    opened: opened.peerVault,
    signal,
  });
  return found && { ...found, store: 'vault of the peer' };
}

/** The peer's newest claim, as its own database has it; its terms where it is newer than what this site holds. */
export async function claimInDatabase(
  own: CustomerEyes,
  epoch: Epoch,
  least: number,
  signal: AbortSignal,
): Promise<PeerClaim> {
  const terms = epoch.number > least ? await termsInDatabase(own, epoch, signal) : {};
  return { ...epoch, ...terms, store: 'database of the peer' };
}

/**
 * What the peer's claim leaves to this site, by the peer's own database; nothing where that does not tell, as one of an older version
 * does not. Its rows say whose a half is now, and not what this site held before: one that was put back to a backup would take
 * what it was handed over since for what it always served.
 */
async function termsInDatabase(
  { customer: { id, peerDatabaseUrl } }: CustomerEyes,
  { number, move }: Epoch,
  signal: AbortSignal,
): Promise<Pick<Claim, 'follows' | 'keeps'>> {
  const ask = <Row extends Record<string, unknown>>(sql: string, values: unknown[]): Promise<Row[]> =>
    within(
      OBSERVER_LIMIT_MS,
      'claim in the database of the peer',
      (limit) => peerQuery<Row>(peerDatabaseUrl, OBSERVER_LIMIT_MS, sql, values, limit),
      signal,
    );
  try {
    const [peer] = await ask<{ tells: boolean }>(
      `select to_regprocedure('tandem.observe_claim()') is not null as tells`,
      [],
    );
    if (peer?.tells !== true) return {};
    const [row] = await ask<{ follows: string; keeps: string[] }>(
      'select follows::text, keeps from tandem.observe_claim() where customer = $1 and number = $2 and move = $3',
      [id, number, move],
    );
    return row ? { follows: Number(row.follows), keeps: row.keeps } : {};
  } catch {
    signal.throwIfAborted();
    return {};
  }
}

export async function claimInWitness(
  eyes: Eyes,
  { customer, opened }: CustomerEyes,
  access: VaultAccess,
  { least, signal }: { least: number; signal: AbortSignal },
): Promise<PeerClaim | null> {
  const found = await claimIn(eyes, access, {
    customer: customer.id,
    by: customer.peer,
    least,
    opened: opened.witness,
    signal,
  });
  return found && { ...found, store: 'witness' };
}

interface In {
  customer: string;
  by: string;
  least: number;
  opened: Map<number, Claim | null>;
  signal: AbortSignal;
}

function claimIn(eyes: Eyes, access: VaultAccess, { customer, ...rest }: In): Promise<Claim | null> {
  const { publicKeys }: SiteSettings = eyes.settings;
  return eyes.vault(access).use(rest.signal, async (vault) => newestClaimBy(vault, customer, { ...rest, publicKeys }));
}

/** What `_epoch` names; null when it names none, there is no zone, or it gave no answer that its key has signed. */
export async function claimInZone({ customer }: CustomerEyes, signal: AbortSignal): Promise<Epoch | null> {
  const { dns, id } = customer;
  if (!dns) return null;
  try {
    return await within(
      OBSERVER_LIMIT_MS,
      `zone of ${id}`,
      async (limit) => (await claimsInDns(dns, { signal: limit, limitMs: OBSERVER_LIMIT_MS })).newest,
      signal,
    );
  } catch {
    signal.throwIfAborted();
    return null; // What it would say closes nobody; whether it answers is found out by a plan.
  }
}

/** Why the zone is ahead of all that was signed; null while it is not. A number of this site's own is of a move that is under way. */
export function aheadOf(zone: Epoch | null, known: readonly (Epoch | null)[], site: string): string | null {
  const newest = Math.max(0, ...known.map((epoch) => epoch?.number ?? 0));
  if (!zone || zone.site === site || zone.number <= newest) return null;
  return `_epoch names ${zone.number} of ${zone.site}; the newest that a store confirms is ${newest}: nobody is closed by it`;
}

/** Another claim of the very number that this site holds; null when there is none. A number written by hand is that of no move. */
export function forkOf(here: Epoch | null, others: readonly ((Epoch & { store: string }) | null)[]): Fork | null {
  for (const there of others) {
    if (!here || !there || there.number !== here.number || there.move === '?') continue;
    if (there.site === here.site && there.move === here.move) continue;
    const { number, ...held } = here;
    return { number, here: held, there: { site: there.site, move: there.move, store: there.store } };
  }
  return null;
}
