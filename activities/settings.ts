import type { KeyObject } from 'node:crypto';
import type { Approver } from '../workflows/model/plan.ts';

/** How to reach a bucket, and as whom. */
export interface VaultAccess {
  site: string;
  endpoint: string;
  region: string;
  bucket: string;
  accessKeyId: string;
  secretAccessKey: string;
}

/** The keys of one customer. New packs are written under `current`; any key of the ring opens old ones. */
export interface Keyring {
  current: string;
  /** 32 bytes each, by key id. */
  ring: ReadonlyMap<string, Buffer>;
}

/** One customer as one of its sites knows it. Durations in ms. */
export interface CustomerSettings {
  id: string;
  domain: string;
  sites: readonly [string, string];
  peer: string;
  /** This site's contact database, as the role that owns schema `tandem`. */
  databaseUrl: string;
  /** The peer's contact database, as the role that may only observe and fence. */
  peerDatabaseUrl: string;
  keys: Keyring;
  options: readonly string[];
  objectives: { rpoMs: number; rtoMs: number };
  target: { rpoMs: number; rtoMs: number };
  /** `pullBytesPerSecond`: what a pull may take of the link between the sites; null when it may take all of it. */
  snapshots: { everyMs: number; betweenMs: number; budgetMs: number; pullBytesPerSecond: number | null };
  continuityTest: { month: number; day: number; hour: number };
  limits: { contacts: number };
  /** What the customer's link to each of its sites carries, where it is known; bytes per second. */
  links?: ReadonlyMap<string, number>;
  /** What all of its traffic takes. */
  trafficBytesPerSecond?: number;
}

/** Everything that the activities of one site need, secrets included: made by the worker from the configuration. */
export interface SiteSettings {
  site: string;
  /** This site's own vault, with rights to write. */
  vault: VaultAccess;
  /** This site's own vault, with rights to delete what no lock holds, and neither to read nor to write; null: nothing is deleted. */
  cleaner: VaultAccess | null;
  /** The peers' vaults, with rights to read, by site. */
  peerVaults: ReadonlyMap<string, VaultAccess>;
  /** Temporal services of the peers, by site: to nudge and to observe. */
  peerTemporals: ReadonlyMap<string, { address: string; namespace: string }>;
  signingKey: KeyObject;
  /** Public keys of all sites, this one included. */
  publicKeys: ReadonlyMap<string, KeyObject>;
  customers: ReadonlyMap<string, CustomerSettings>;
  operators: readonly Approver[];
  /** How many users of all customers this site can serve; left out where nobody has said. */
  capacityUsers?: number;
  /** Where reports for people are kept on this site's disk. */
  reportsFolder: string;
}
