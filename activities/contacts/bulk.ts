import { failure } from '../../workflows/model/failures.ts';
import type { CustomerSettings, SiteSettings, VaultAccess } from '../settings.ts';
import type { Vault } from '../vault/port.ts';
import { S3Vault } from '../vault/s3.ts';
import { Database } from './database.ts';

/** A sorted reading of a large customer starts with one long statement; few run at a time. */
const LIMITS = { connections: 4, connectMs: 5000, statementMs: 600_000 };

/** What the activities that move bulk data share at one site: its own vault, and its contact databases. */
export interface Bulk {
  readonly vault: Vault;
  /** A failure `unknown-customer` names those that are known. */
  customer(id: string): CustomerSettings;
  /** Connects when first asked, and keeps its connections for as long as the worker lives. */
  database(customer: string): Database;
  peerVault(settings: SiteSettings, customer: string): VaultAccess;
}

export function openBulk(settings: SiteSettings): Bulk {
  const vault = new S3Vault(settings.vault);
  const databases = new Map<string, Database>();
  const customer = (id: string): CustomerSettings => {
    const found = settings.customers.get(id);
    if (found) return found;
    const known = [...settings.customers.keys()].join(', ') || 'none';
    throw failure('unknown-customer', `customer ${JSON.stringify(id)}: site ${settings.site} serves ${known}`);
  };
  return {
    vault,
    customer,
    database(id) {
      const { databaseUrl } = customer(id);
      const database = databases.get(id) ?? new Database(`database of ${id} at ${settings.site}`, databaseUrl, LIMITS);
      databases.set(id, database);
      return database;
    },
    peerVault({ peerVaults, site }, id) {
      const { peer } = customer(id);
      const access = peerVaults.get(peer);
      if (access) return access;
      throw failure('input-invalid', `site ${site}: there are no credentials for the vault of ${peer}`);
    },
  };
}
