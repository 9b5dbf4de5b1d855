import { failure } from '../../workflows/model/failures.ts';
import { Database } from '../contacts/database.ts';
import { loadedAt, type LoadedFilter } from '../filter/loaded.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import type { Vault } from '../vault/port.ts';
import { S3Vault } from '../vault/s3.ts';
import { archivingAt, type ArchivingOf } from './archiving.ts';

/** Acts are few at a time; the bulk of a restore brings connections of its own. */
const LIMITS = { connections: 6, connectMs: 5000, statementMs: 60_000 };

/** This site as the acts of a failover see it. Nothing in here reaches the peer. */
export interface OwnSite {
  readonly settings: SiteSettings;
  readonly vault: Vault;
  /** Null when there is none. */
  readonly witness: Vault | null;
  /** The customer as this site knows it; a failure `unknown-customer` names those it knows. */
  customer(id: string): CustomerSettings;
  /** The customer's contact database at this site. */
  database(customer: string): Database;
  /** The message filter that its service has in force. */
  readonly loadedFilter: LoadedFilter;
  /** Whether its service keeps every message. */
  readonly archiving: ArchivingOf;
  close(): Promise<void>;
}

/** Connects when first asked, and keeps the connections for as long as the worker lives. */
export function openSite(settings: SiteSettings): OwnSite {
  const databases = new Map<string, Database>();
  const vault = new S3Vault(settings.vault);
  const witness = settings.witness && new S3Vault(settings.witness);
  const customer = (id: string): CustomerSettings => {
    const found = settings.customers.get(id);
    if (found) return found;
    const known = [...settings.customers.keys()].join(', ') || 'none';
    throw failure('unknown-customer', `customer ${JSON.stringify(id)}: site ${settings.site} serves ${known}`);
  };
  return {
    settings,
    vault,
    witness,
    customer,
    database(id) {
      const { databaseUrl } = customer(id);
      const database = databases.get(id) ?? new Database(`database of ${id} at ${settings.site}`, databaseUrl, LIMITS);
      databases.set(id, database);
      return database;
    },
    loadedFilter: loadedAt(settings),
    archiving: archivingAt(settings),
    async close() {
      vault.close();
      witness?.close();
      await Promise.all([...databases.values()].map((d) => d.close()));
    },
  };
}
