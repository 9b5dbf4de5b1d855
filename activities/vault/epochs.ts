import type { KeyObject } from 'node:crypto';
import type { Claim, Epoch } from '../../workflows/model/epoch.ts';
import { failure, failureKind } from '../../workflows/model/failures.ts';
import type { SiteSettings } from '../settings.ts';
import type { Vault } from './port.ts';
import { seal, unseal } from './signed.ts';

/** An epoch is never used again: its claim outlives every keeping (DESIGN 2). */
const CLAIM_LOCK_DAYS = 3650;

const epochPrefix = (customer: string): string => `${customer}/epochs/`;
const epochKey = (customer: string, number: number): string => `${epochPrefix(customer)}${number}.json`;

/** The number that a key claims; null for any other key. */
function parseEpochKey(customer: string, key: string): number | null {
  const prefix = epochPrefix(customer);
  const match = key.startsWith(prefix) ? /^([1-9]\d{0,14})\.json$/.exec(key.slice(prefix.length)) : null;
  return match ? Number(match[1]) : null;
}

/** What a store says of a customer's epochs. */
export interface Claims {
  /** The highest that a site has claimed under its own signature; null when there is none. */
  newest: Claim | null;
  /** Numbers that nobody can claim any more, whoever wrote what lies there. */
  taken: ReadonlySet<number>;
}

interface Reader {
  publicKeys: ReadonlyMap<string, KeyObject>;
  signal?: AbortSignal | undefined;
}

/**
 * Reads the claims of a vault or of the witness. What no site has signed for that very number takes the number, and no
 * more: junk under a great one stops nobody.
 */
export async function readClaims(vault: Vault, customer: string, { publicKeys, signal }: Reader): Promise<Claims> {
  const options = signal ? { signal } : {};
  const taken = new Set<number>();
  for await (const { key } of vault.list(epochPrefix(customer), options)) {
    const number = parseEpochKey(customer, key);
    if (number !== null) taken.add(number);
  }
  for (const number of [...taken].toSorted((a, b) => b - a)) {
    const claim = await claimAt(vault, customer, number, { publicKeys, signal });
    if (claim) return { newest: claim, taken };
  }
  return { newest: null, taken };
}

/**
 * The highest claim from `least` on that `by` has signed; null when there is none. `opened` remembers what lay under each
 * number: nobody can change that, so that a look which finds nothing new costs a listing.
 */
export async function newestClaimBy(
  vault: Vault,
  customer: string,
  { by, least, opened, ...reader }: Reader & { by: string; least: number; opened: Map<number, Claim | null> },
): Promise<Claim | null> {
  const numbers: number[] = [];
  for await (const { key } of vault.list(epochPrefix(customer), reader.signal ? { signal: reader.signal } : {})) {
    const number = parseEpochKey(customer, key);
    if (number !== null && number >= least) numbers.push(number);
  }
  for (const number of numbers.toSorted((a, b) => b - a)) {
    const known = opened.get(number);
    const claim = known === undefined ? await claimAt(vault, customer, number, reader) : known;
    opened.set(number, claim);
    if (claim?.site === by) return claim;
  }
  return null;
}

/** The lowest number that all of these stores leave free, above every claim in them and above `least`. */
export function nextEpoch(stores: readonly Claims[], least: number): number {
  let number = 1 + Math.max(least, ...stores.map(({ newest }) => newest?.number ?? 0));
  while (stores.some(({ taken }) => taken.has(number))) number += 1;
  return number;
}

/** The oldest version under a number that is a claim of it, signed by the very site that claims; null when none is. */
async function claimAt(
  vault: Vault,
  customer: string,
  number: number,
  { publicKeys, signal }: Reader,
): Promise<Claim | null> {
  const key = epochKey(customer, number);
  for (const bytes of await vault.versions(key, signal ? { signal } : {})) {
    try {
      const { document, site } = unseal<Claim & { customer: string }>('epoch', publicKeys, bytes, key);
      if (document.number === number && document.customer === customer && document.site === site)
        return { number, site, move: document.move, ...termsOf(document) };
    } catch (error) {
      if (failureKind(error) !== 'signature-invalid') throw error; // One more version that nobody vouches for.
    }
  }
  return null;
}

/** Of a planned move. What is written otherwise than we write it leaves the peer nothing: it closes. */
function termsOf({ follows, keeps }: Claim): Pick<Claim, 'follows' | 'keeps'> {
  const named = Array.isArray(keeps) && keeps.every((half) => typeof half === 'string');
  return named && Number.isSafeInteger(follows) ? { follows: Number(follows), keeps } : {};
}

/**
 * Claims an epoch in a vault or in the witness, for ever. Null when the store has taken it as this move's, now or before;
 * else the claim that stands against it: of the same number, or of a higher one.
 *
 * S3 has no "only if nothing higher is there", so what is there is read before the claim is put and after it. Of two moves
 * that claim different numbers at once, the one with the lower number finds the higher one in its second reading, or has
 * stood first. What is left is a higher claim that comes after the second reading: it is the newer epoch, and wins as it
 * would have a day later, because every effect asks the row of its own database, which `advance-epoch` holds locked
 * while it claims: two moves of one site never claim at once. A put whose answer never came may land late, under a number
 * that is no longer the highest: nobody has counted it, and readers take the highest.
 */
export async function claimEpoch(
  vault: Vault,
  settings: Pick<SiteSettings, 'site' | 'signingKey' | 'publicKeys'>,
  customer: string,
  claim: Claim,
  signal?: AbortSignal,
): Promise<Epoch | null> {
  const reader = { publicKeys: settings.publicKeys, signal };
  const { number, site, move } = claim;
  const newest = async (): Promise<Epoch | null> => (await readClaims(vault, customer, reader)).newest;
  const before = await newest();
  if (before && before.number > number) return before;
  const body = seal('epoch', settings.site, settings.signingKey, {
    customer,
    number,
    site,
    move,
    ...termsOf(claim),
  });
  const lockUntil = new Date(Date.now() + CLAIM_LOCK_DAYS * 24 * 3_600_000);
  const put = await vault.put(epochKey(customer, number), body, { lockUntil, ...(signal && { signal }) });
  if (put === 'taken') {
    const held = (await claimAt(vault, customer, number, reader)) ?? { number, site: '?', move: '?' };
    if (held.site !== site || held.move !== move) return held;
  }
  const after = await newest();
  if (after && after.number > number) return after;
  // Nobody obeys what nobody can read.
  if (after?.number !== number)
    throw failure('vault-unsafe', `vault ${vault.site}: the claim of epoch ${number} was taken, and is not there`);
  return null;
}
