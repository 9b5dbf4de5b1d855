import type { TestReceipt } from '../../workflows/model/continuity.ts';
import { failure, failureKind } from '../../workflows/model/failures.ts';
import type { SiteSettings } from '../settings.ts';
import type { Vault } from './port.ts';
import { oldestValid, seal } from './signed.ts';

const prefix = (customer: string, site: string): string => `${customer}/${site}/tests/`;

/** Keeps the receipt of a test in the vault of the site that held it. Once per run, however often it is tried. */
export async function writeTestReceipt(
  vault: Vault,
  settings: SiteSettings,
  receipt: TestReceipt,
): Promise<{ vaultKey: string }> {
  const vaultKey = `${prefix(receipt.customer, settings.site)}${receipt.endedAt.slice(0, 10)}-${receipt.run}.json`;
  const body = seal('test-receipt', settings.site, settings.signingKey, receipt);
  if ((await vault.put(vaultKey, body)) === 'taken') {
    throw failure('vault-refused', `${vaultKey}: another receipt stands there`);
  }
  return { vaultKey };
}

/** The test receipts of one site in a vault, oldest first. One that nobody signed is left out: it proves nothing. */
export async function testReceipts(
  vault: Vault,
  settings: SiteSettings,
  customer: string,
  site: string,
): Promise<TestReceipt[]> {
  const receipts: TestReceipt[] = [];
  for await (const { key } of vault.list(prefix(customer, site))) {
    const signed = await readReceipt(vault, settings, key);
    if (signed?.site === site && signed.document.site === site && signed.document.customer === customer)
      receipts.push(signed.document);
  }
  return receipts.toSorted((a, b) => a.endedAt.localeCompare(b.endedAt));
}

async function readReceipt(
  vault: Vault,
  settings: SiteSettings,
  key: string,
): Promise<{ site: string; document: TestReceipt } | null> {
  try {
    return oldestValid<TestReceipt>('test-receipt', settings.publicKeys, await vault.versions(key), key);
  } catch (error) {
    if (failureKind(error) === 'signature-invalid') return null;
    throw error;
  }
}

/** The newest passed test of either site, as far as this site can see: a silent peer's are unknown and do not count. */
export async function newestPassed(
  vaults: { site: string; vault: Vault }[],
  settings: SiteSettings,
  customer: string,
): Promise<TestReceipt | null> {
  const found = await Promise.all(vaults.map(({ site, vault }) => receiptsOrNone(vault, settings, customer, site)));
  return (
    found
      .flat()
      .filter((r) => r.outcome === 'passed')
      .toSorted((a, b) => a.endedAt.localeCompare(b.endedAt))
      .at(-1) ?? null
  );
}

async function receiptsOrNone(
  vault: Vault,
  settings: SiteSettings,
  customer: string,
  site: string,
): Promise<TestReceipt[]> {
  try {
    return await testReceipts(vault, settings, customer, site);
  } catch (error) {
    if (site !== settings.site && failureKind(error) === 'vault-unreachable') return [];
    throw error;
  }
}
