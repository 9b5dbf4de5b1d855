import type { KeyObject } from 'node:crypto';
import { failure, failureKind } from '../../workflows/model/failures.ts';
import type { Check, VaultCheck } from '../../workflows/model/checks.ts';
import type { Shelf } from './catalog.ts';
import { LOCK_MS } from './generation.ts';
import { sitePrefix } from './manifest.ts';
import type { Vault } from './port.ts';
import { oldestValid, seal } from './signed.ts';

/** A time later than this machine's own by more is not believed (VAULT, rule 6). */
const CLOCK_TOLERANCE_MS = 120_000;

const checkPrefix = (customer: string, signedBy: string, source: string): string =>
  `${sitePrefix(customer, signedBy)}checks/${source}/`;

/** Byte order is the order of time. */
export const checkKey = ({
  customer,
  site,
  of,
  endedAt,
}: Pick<Check, 'customer' | 'site' | 'of' | 'endedAt'>): string =>
  `${checkPrefix(customer, site, of)}${endedAt.replaceAll(/[-:.]/g, '')}.json`;

/** Leaves a check in the vault that it is about. */
export async function keepCheck(vault: Vault, signingKey: KeyObject, check: Check, signal: AbortSignal): Promise<void> {
  const key = checkKey(check);
  const lockUntil = new Date(Date.now() + LOCK_MS);
  const stored = await vault.put(key, seal('check', check.site, signingKey, check), { lockUntil, signal });
  if (stored === 'taken') throw failure('vault-refused', `vault ${vault.site}: ${key}: other bytes stand there`);
}

/**
 * The newest check of a shelf that the site whose vault it is has signed; null when there is none. One that is forged, of
 * another time than its key, or of the future, counts for nothing.
 */
export async function newestCheck(shelf: Shelf, signedBy: string): Promise<Check | null> {
  const { vault, customer, site, signal } = shelf;
  const keys: string[] = [];
  for await (const { key } of vault.list(checkPrefix(customer, signedBy, site), signal && { signal })) keys.push(key);
  for (const key of keys.toReversed()) {
    const check = await readCheck(shelf, signedBy, key);
    if (check) return check;
  }
  return null;
}

async function readCheck(shelf: Shelf, signedBy: string, key: string): Promise<Check | null> {
  const { vault, customer, site, publicKeys, signal } = shelf;
  const own = new Map([...publicKeys].filter(([name]) => name === signedBy));
  const versions = await vault.versions(key, signal && { signal });
  try {
    const check = oldestValid<Check>('check', own, versions, `vault ${vault.site}: ${key}`)?.document;
    if (!check || check.format !== 1) return null;
    const named =
      check.customer === customer && check.site === signedBy && check.of === site && key === checkKey(check);
    return named && Date.parse(check.endedAt) <= Date.now() + CLOCK_TOLERANCE_MS ? check : null;
  } catch (error) {
    if (failureKind(error) === 'signature-invalid') return null;
    throw error;
  }
}

export function summariseCheck(vault: string, check: Check | null): VaultCheck {
  return {
    vault,
    checkedAt: check?.endedAt ?? null,
    damaged: check?.damaged ?? [],
    strays: check?.strays ?? null,
  };
}
