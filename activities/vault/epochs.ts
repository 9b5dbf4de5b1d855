import type { Epoch } from '../../workflows/model/epoch.ts';
import type { SiteSettings } from '../settings.ts';
import type { Vault } from './port.ts';
import { oldestValid, seal } from './signed.ts';

/** An epoch is never used again: its claim outlives every keeping (DESIGN 2). */
const CLAIM_LOCK_DAYS = 3650;

const epochPrefix = (customer: string): string => `${customer}/epochs/`;
const epochKey = (customer: string, number: number): string => `${epochPrefix(customer)}${number}.json`;

/** The number that a key claims; null for any other key. A claim counts by its key, whoever signed what lies there. */
function parseEpochKey(customer: string, key: string): number | null {
  const prefix = epochPrefix(customer);
  const match = key.startsWith(prefix) ? /^([1-9]\d{0,14})\.json$/.exec(key.slice(prefix.length)) : null;
  return match ? Number(match[1]) : null;
}

/** The highest number claimed in a vault; 0 when there is none. */
export async function highestEpoch(vault: Vault, customer: string, signal?: AbortSignal): Promise<number> {
  let highest = 0;
  for await (const { key } of vault.list(epochPrefix(customer), signal ? { signal } : {})) {
    highest = Math.max(highest, parseEpochKey(customer, key) ?? 0);
  }
  return highest;
}

/** Claims an epoch in this site's own vault, for ever. Null when it is this move's, now or before; else who has it. */
export async function claimEpoch(
  vault: Vault,
  settings: SiteSettings,
  customer: string,
  epoch: Epoch,
  signal?: AbortSignal,
): Promise<Epoch | null> {
  const options = signal ? { signal } : {};
  const { number, site, move } = epoch;
  const key = epochKey(customer, number);
  const body = seal('epoch', settings.site, settings.signingKey, { customer, number, site, move });
  const lockUntil = new Date(Date.now() + CLAIM_LOCK_DAYS * 24 * 3_600_000);
  if ((await vault.put(key, body, { lockUntil, ...options })) !== 'taken') return null;
  const held = oldestValid<Epoch>('epoch', settings.publicKeys, await vault.versions(key, options), key);
  const document = held?.document ?? { number, site: '?', move: '?' };
  return document.site === site && document.move === move ? null : document;
}

/** The highest epoch that a site has claimed in its vault, under its own signature; null when there is none. */
export async function newestClaim(
  vault: Vault,
  settings: SiteSettings,
  customer: string,
  signal?: AbortSignal,
): Promise<Epoch | null> {
  const number = await highestEpoch(vault, customer, signal);
  if (number === 0) return null;
  const key = epochKey(customer, number);
  const own = new Map([...settings.publicKeys].filter(([site]) => site === vault.site));
  const claim = oldestValid<Epoch & { customer: string }>(
    'epoch',
    own,
    await vault.versions(key, signal ? { signal } : {}),
    key,
  );
  const document = claim?.document;
  if (document?.number !== number || document.customer !== customer || document.site !== vault.site) return null;
  return { number, site: document.site, move: document.move };
}
