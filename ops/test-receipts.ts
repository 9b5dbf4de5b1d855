import type { CustomerSettings, SiteSettings } from '../activities/settings.ts';
import type { Vault } from '../activities/vault/port.ts';
import {
  receiptKeys,
  testReceipts,
  unlessUnsigned,
  readReceipt,
  type StoredReceipt,
  type TestShelf,
} from '../activities/vault/test-receipts.ts';
import type { Database } from '../activities/contacts/database.ts';
import { S3Vault } from '../activities/vault/s3.ts';
import type { TestReceipt } from '../workflows/model/continuity.ts';
import { failureText } from '../workflows/model/failures.ts';
import type { Timestamp } from '../workflows/model/snapshots.ts';
import { newestPassed, type Passed } from '../workflows/model/test-due.ts';
import type { Configuration, CustomerConfiguration } from './config/configuration.ts';
import { publicKeysOf, vaultAccess } from './config/settings.ts';
import { Fault } from './fault.ts';

/** A lost site's vault is worth no more: its peer's has a copy. */
const LIMITS = { connectMs: 1500, requestMs: 8000, attempts: 2, callMs: 20_000 };

/** A receipt, and whose vault it was read from. */
export interface FoundReceipt extends StoredReceipt {
  from: string;
}

export interface FoundReceipts {
  /** Oldest first; each run once, from the vault of the site that held it when that answers. */
  receipts: FoundReceipt[];
  /** Vaults that did not answer, and why. */
  silent: string[];
}

/**
 * The test receipts of a customer in the vaults of both sites, read with the rights of a peer: no Temporal, no database and
 * no private key is needed, and one vault that answers is enough.
 */
export async function findReceipts(
  configuration: Configuration,
  { id: customer, sites }: CustomerConfiguration,
  signal: AbortSignal,
): Promise<FoundReceipts> {
  const publicKeys = publicKeysOf(configuration);
  const found = await Promise.allSettled(
    sites.map(async (name) => {
      const at = configuration.sites.get(name);
      if (!at) throw new Fault(`site ${name}: not in ${configuration.file}`, '`tandem config check` names the place.');
      const vault = new S3Vault(await vaultAccess(configuration, at, at.vault.reader), LIMITS);
      try {
        const shelves = sites.map((site): TestShelf => ({ vault, customer, site, publicKeys, signal }));
        const all = await Promise.all(shelves.map(testReceipts));
        return all.flat().map((receipt) => ({ ...receipt, from: name }));
      } finally {
        vault.close();
      }
    }),
  );
  const silent = found.flatMap((f) => (f.status === 'rejected' ? [failureText(f.reason)] : []));
  if (silent.length === found.length)
    throw new Fault(
      `vaults of ${customer}: none answers: ${silent.join('; ')}`,
      'Look at the vaults and at the credentials of their readers: `tandem doctor`.',
    );
  const all = found.flatMap((f) => (f.status === 'fulfilled' ? f.value : []));
  const own = ({ from, sealed }: FoundReceipt): number => (from === sealed.document.site ? 1 : 0);
  // Of the same run the later one counts: the site's own.
  const each = new Map(
    all.toSorted((a, b) => own(a) - own(b)).map((r) => [`${r.sealed.document.site}/${r.sealed.document.run}`, r]),
  );
  const ended = (r: FoundReceipt): Timestamp => r.sealed.document.endedAt;
  return { receipts: [...each.values()].toSorted((a, b) => ended(a).localeCompare(ended(b))), silent };
}

/** When a site's database was first prepared for its customer; null while nobody has. */
export async function foundedAt(database: Database): Promise<Timestamp | null> {
  const [row] = await database.query<{ founded_at: Date | null }>('select founded_at from tandem.identity');
  return row?.founded_at?.toISOString() ?? null;
}

/** The receipts of both sites as this site's own vault has them. What was read once is not read again: nothing there changes. */
export class ReceiptsHere {
  private readonly shelves: TestShelf[];
  private readonly known = new Map<string, TestReceipt | null>();

  constructor(vault: Vault, { publicKeys }: Pick<SiteSettings, 'publicKeys'>, { id, sites }: CustomerSettings) {
    this.shelves = sites.map((site) => ({ vault, customer: id, site, publicKeys }));
  }

  async read(): Promise<TestReceipt[]> {
    const found: TestReceipt[] = [];
    for (const shelf of this.shelves) {
      for (const key of await receiptKeys(shelf)) {
        const known = this.known.get(key);
        const receipt =
          known === undefined
            ? ((await unlessUnsigned(() => readReceipt(shelf, key)))?.sealed.document ?? null)
            : known;
        this.known.set(key, receipt);
        if (receipt) found.push(receipt);
      }
    }
    return found;
  }
}

/** A worker that starts, and a command, wait no longer for a vault that is away. */
const SHORT = { connectMs: 1500, requestMs: 4000, attempts: 1, callMs: 5000 };

/** The newest passed test of a customer that counts, as this site's own vault has it; undefined when that cannot be read. */
export async function passedHere(
  settings: SiteSettings,
  customer: CustomerSettings,
): Promise<Passed | null | undefined> {
  const vault = new S3Vault(settings.vault, SHORT);
  try {
    return newestPassed(await new ReceiptsHere(vault, settings, customer).read(), customer.continuityTest.counts);
  } catch {
    return undefined;
  } finally {
    vault.close();
  }
}
