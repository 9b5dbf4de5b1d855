import type { KeyObject } from 'node:crypto';
import type { TestReceipt } from '../../workflows/model/continuity.ts';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import { EVIDENCE_MS } from '../journal/objects.ts';
import type { SiteSettings } from '../settings.ts';
import { sitePrefix } from './manifest.ts';
import type { Vault } from './port.ts';
import { seal, unseal, type Signed } from './signed.ts';

export const testPrefix = (customer: string, site: string): string => `${sitePrefix(customer, site)}tests/`;

/** `2027-03-10-RUN.json` below the prefix. */
const NAME = /^(\d{4}-\d{2}-\d{2})-([A-Za-z0-9][A-Za-z0-9._-]{0,127})\.json$/;

const keyOf = ({ customer, site, endedAt, run }: TestReceipt): string =>
  `${testPrefix(customer, site)}${endedAt.slice(0, 10)}-${run}.json`;

/** Keeps the receipt of a test in the vault of the site that held it, locked. Once per run, however often it is tried. */
export async function writeTestReceipt(
  vault: Vault,
  settings: SiteSettings,
  receipt: TestReceipt,
): Promise<{ vaultKey: string }> {
  const vaultKey = keyOf({ ...receipt, site: settings.site });
  const body = seal('test-receipt', settings.site, settings.signingKey, receipt);
  const lockUntil = new Date(Date.now() + EVIDENCE_MS);
  if ((await vault.put(vaultKey, body, { lockUntil })) === 'taken') {
    throw failure('vault-refused', `${vaultKey}: another receipt stands there`);
  }
  return { vaultKey };
}

export interface TestShelf {
  vault: Vault;
  customer: string;
  /** Whose receipts. */
  site: string;
  publicKeys: ReadonlyMap<string, KeyObject>;
  signal?: AbortSignal;
}

/** A receipt as it lies in a vault. */
export interface StoredReceipt {
  key: string;
  sealed: Signed<TestReceipt>;
  bytes: Buffer;
}

/** The keys of a site's test receipts in a vault, in the order of their days. What nothing of ours writes is left out. */
export async function receiptKeys({ vault, customer, site, signal }: TestShelf): Promise<string[]> {
  const prefix = testPrefix(customer, site);
  const keys: string[] = [];
  for await (const { key } of vault.list(prefix, signal && { signal }))
    if (NAME.test(key.slice(prefix.length))) keys.push(key);
  return keys;
}

/**
 * What stands under a key, when the very site has signed it for this very key; null when it was never written, else
 * `signature-invalid`: a receipt that nobody signed proves nothing.
 */
export async function readReceipt(
  { vault, customer, site, publicKeys, signal }: TestShelf,
  key: string,
): Promise<StoredReceipt | null> {
  const where = `vault ${vault.site}: ${key}`;
  const own = new Map([...publicKeys].filter(([name]) => name === site));
  let fault: Error | null = null;
  for (const bytes of await vault.versions(key, signal && { signal })) {
    try {
      const sealed = unseal<TestReceipt>('test-receipt', own, bytes, where);
      const { document } = sealed;
      if (document.customer === customer && document.site === site && keyOf(document) === key)
        return { key, sealed, bytes };
      fault = failure('signature-invalid', `${where}: signed for test ${document.run} of ${document.customer}`);
    } catch (error) {
      // What is signed and has another shape than its type says is no better than what is not signed.
      fault =
        error instanceof TypeError ? failure('signature-invalid', `${where}: ${error.message}`) : (error as Error);
    }
  }
  if (fault) throw fault;
  return null;
}

/** The test receipts of one site in a vault, oldest first. One that its site has not signed is left out. */
export async function testReceipts(shelf: TestShelf): Promise<StoredReceipt[]> {
  const receipts: StoredReceipt[] = [];
  for (const key of await receiptKeys(shelf)) {
    const found = await unlessUnsigned(() => readReceipt(shelf, key));
    if (found) receipts.push(found);
  }
  return receipts.toSorted((a, b) => a.sealed.document.endedAt.localeCompare(b.sealed.document.endedAt));
}

/** Null for what nobody has signed, too. */
export async function unlessUnsigned<T>(read: () => Promise<T | null>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (failureKind(error) === 'signature-invalid') return null;
    throw error;
  }
}

/**
 * The receipts of all these sites, each run once: as this site's own vault has them, which holds copies of its peer's, and as
 * the peer's has them as long as that answers.
 */
export async function allReceipts(
  { own, peer }: { own: Vault; peer: Vault | null },
  { publicKeys }: Pick<SiteSettings, 'publicKeys'>,
  customer: string,
  sites: readonly string[],
): Promise<TestReceipt[]> {
  const of = async (vault: Vault): Promise<TestReceipt[]> => {
    const found = await Promise.all(sites.map((site) => testReceipts({ vault, customer, site, publicKeys })));
    return found.flat().map(({ sealed }) => sealed.document);
  };
  const [here, there] = await Promise.all([of(own), peer ? of(peer).catch(noneWhenSilent) : []]);
  return [...new Map([...there, ...here].map((r) => [`${r.site}/${r.run}`, r])).values()];
}

function noneWhenSilent(error: unknown): TestReceipt[] {
  if (failureKind(error) === 'vault-unreachable') return [];
  throw error;
}

export interface TestPull {
  own: Vault;
  /** The peer's vault, with rights to read. */
  peer: Vault;
  customer: string;
  publicKeys: ReadonlyMap<string, KeyObject>;
  alive: () => void;
  signal: AbortSignal;
}

/**
 * Copies the peer's new test receipts into this vault, byte for byte under the same keys, locked. What the peer has not signed
 * for this very key is answered as a fault, and stops nothing else.
 */
export async function pullReceipts({ own, peer, alive, ...rest }: TestPull): Promise<Error[]> {
  const faults: Error[] = [];
  const shelf: TestShelf = { ...rest, vault: peer, site: peer.site };
  const there = await receiptKeys(shelf);
  const held = there.length === 0 ? new Set<string>() : new Set(await receiptKeys({ ...shelf, vault: own }));
  for (const key of there.filter((k) => !held.has(k))) {
    try {
      const found = await readReceipt(shelf, key);
      // Not there a moment ago: what is `taken` was put by another pull, which checked it as this one does.
      if (found)
        await own.put(key, found.bytes, { lockUntil: new Date(Date.now() + EVIDENCE_MS), signal: rest.signal });
    } catch (error) {
      if (failureKind(error) !== 'signature-invalid') throw error;
      faults.push(failure('signature-invalid', failureText(error)));
    }
    alive();
  }
  return faults;
}
