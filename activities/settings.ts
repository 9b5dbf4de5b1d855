import type { KeyObject } from 'node:crypto';
import type { MoveKind } from '../workflows/model/acts.ts';
import type { Approver } from '../workflows/model/plan.ts';
import type { Agreed } from '../workflows/model/test-due.ts';
import type { FilterPolicy } from './filter/policy.ts';
import type { ChannelSettings } from './notify/port.ts';
import type { ProbeSettings } from './probes/services/settings.ts';

/** How to reach a bucket, and as whom. */
export interface VaultAccess {
  site: string;
  endpoint: string;
  region: string;
  bucket: string;
  accessKeyId: string;
  secretAccessKey: string;
}

/** The service of a site, as far as it can be looked at from outside. */
export interface ServiceAddresses {
  /** `host:port` at which clients sign in. */
  clients: string;
  /** Any answer of HTTP shows that it is there; null when there is none. */
  api: string | null;
  /** A URL of somebody outside, who answers 200 while he can reach the client port; null when there is none. */
  outsideCheck: string | null;
  /** ejabberd's API as this site may use it; null: it reads what it obeys by itself. */
  management?: ManagementAccess | null;
}

export interface ManagementAccess {
  /** https; http on loopback only. */
  url: string;
  token: string;
  /** PEM; null: the public certificates count. */
  ca: string | null;
}

/** The keys of one customer. New packs are written under `current`; any key of the ring opens old ones. */
export interface Keyring {
  current: string;
  /** 32 bytes each, by key id. */
  ring: ReadonlyMap<string, Buffer>;
}

/** Somebody outside who has to change something when users are served elsewhere. */
export interface Party {
  option: 'third-party-federation' | 'public-im';
  /** The channel of this site by which he is asked. */
  channel: string;
  /** He is asked again after so long, until he has answered. */
  chaseMs: number;
  subject: string | null;
  /** What he is asked to change, in the words of the customer's contract. */
  change: string;
  /** Whom operators turn to; it is shown to them only. */
  contact: string | null;
}

/** How this site asks the customer's LDAP directory, secrets included. */
export interface LdapSettings {
  /** `ldap://host:port` or `ldaps://host:port`. */
  url: string;
  /** `implicit`: from the first byte. `starttls`: before anything is said. `none`: on loopback only. */
  tls: 'implicit' | 'starttls' | 'none';
  /** PEM: trusted instead of the public certificates; null: those are. */
  ca: string | null;
  /** An account that may only read. Its password is never empty: a server would take it for nobody, and say yes. */
  bind: { dn: string; password: string };
  base: string;
  /** RFC 4515: whom to look at, entitled or not. */
  filter: string;
  attributes: {
    username: string;
    /** Whoever has the attribute, with this value when one is named, has an account. */
    entitlement: { name: string; value: string | null };
    home: string | null;
    /** Holds SCRAM keys as RFC 5803 writes them. */
    credentials: string | null;
  };
}

/** Who has an account, by the customer's own word. */
export interface DirectorySettings {
  source: { kind: 'ldap'; ldap: LdapSettings } | { kind: 'table' };
  everyMs: number;
  /** Of the users of the last good answer, 0 to 1: more are not disabled at once without an operator. */
  removalsShare: number;
}

/** A key that DNS messages are signed with (RFC 8945). */
export interface TsigKey {
  name: string;
  algorithm: 'hmac-sha256' | 'hmac-sha384' | 'hmac-sha512';
  secret: Buffer;
}

/** Records by which users find a service, by the site they lead to. Names are absolute, without the last dot. */
export type DnsRecords = { name: string } & (
  | { kind: 'service'; port: number; priority: number; weight: number; targets: ReadonlyMap<string, string> }
  | { kind: 'address'; addresses: ReadonlyMap<string, readonly string[]> }
);

/** The zone of a customer, and this site's right to change it. */
export interface DnsSettings {
  /** `host:port` of its primary server. */
  server: string;
  zone: string;
  key: TsigKey;
  ttlSeconds: number;
  records: readonly DnsRecords[];
  sites: readonly string[];
}

/** A backend of HAProxy, with the name of the server in it that leads to each site. */
export interface ProxyBackend {
  backend: string;
  servers: ReadonlyMap<string, string>;
}

/** A site's HAProxy. */
export interface ProxySettings {
  /** Its runtime API: the path of a socket, or `host:port` on loopback. */
  socket: string;
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
  /** When the first one is held, what counts, and when none may be. */
  continuityTest: Agreed;
  limits: { contacts: number };
  /** How its services are probed; left out: they are not. */
  probes?: ProbeSettings;
  parties: ReadonlyMap<string, Party>;
  /** Left out: there is none, and whoever has a home has an account. */
  directory?: DirectorySettings;
  /** What its users may send each other; left out: the default. */
  filter?: FilterPolicy;
  /** Files of its own runbooks; of a kind that is left out, the shipped one is its. */
  runbooks: ReadonlyMap<MoveKind, string>;
  /** What the customer's link to each of its sites carries, where it is known; bytes per second. */
  links?: ReadonlyMap<string, number>;
  /** What all of its traffic takes. */
  trafficBytesPerSecond?: number;
  /** Its zone; left out where Tandem changes none. */
  dns?: DnsSettings;
  /** Its backends in each site's HAProxy; left out where there are none. */
  backends?: readonly ProxyBackend[];
  /** After so long without its peer and the witness this site closes itself; left out: it never does. */
  selfFenceMs?: number;
}

/** A request that a step with `call-http` may make. */
export interface RequestSettings {
  /** https; http on loopback only. */
  url: string;
  method: 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  timeoutMs: number;
  /** PEM: trusted for this request instead of the public certificates; null: those are. */
  ca: string | null;
  /** Statuses that mean done; null: 200 to 299. */
  expects: readonly number[] | null;
  /** What answers to GET with 200 to 299 when the effect stands; null: nothing can tell. */
  check: string | null;
}

/** A command that a step with `run-command` may run. */
export interface CommandSettings {
  /** An absolute path, and what it is called with; no shell reads it. */
  run: readonly string[];
  timeoutMs: number;
  /** It may print so much; more ends it. */
  outputBytes: number;
  /** Variables of the worker's environment that it is given. */
  environment: readonly string[];
  /** What ends with code 0 when the effect stands; null: nothing can tell. */
  check: readonly string[] | null;
}

/** That one operator admitted another, or a change of him: a signature over `admissionText`. */
export interface Admission {
  by: string;
  at: string;
  signature: string;
}

/** An operator as the configuration has him; whether he counts is for each database to say. */
export interface Operator extends Approver {
  admitted?: readonly Admission[];
}

/** Everything that the activities of one site need, secrets included: made by the worker from the configuration. */
export interface SiteSettings {
  site: string;
  /** This site's own vault, with rights to write. */
  vault: VaultAccess;
  /** This site's own vault, with rights to delete what no lock holds, and neither to read nor to write; null: nothing is deleted. */
  cleaner: VaultAccess | null;
  /** A bucket at neither site, by this site's own account: epochs are claimed in it, and sites tell it that they live. Null: there is none. */
  witness: VaultAccess | null;
  /** In its place a URL: an answer of 2xx shows that this site is not cut off, and nothing else. */
  witnessUrl?: string;
  /** The peers' vaults, with rights to read, by site. */
  peerVaults: ReadonlyMap<string, VaultAccess>;
  /** Temporal services of the peers, by site: to nudge and to observe. */
  peerTemporals: ReadonlyMap<string, { address: string; namespace: string }>;
  /** Where users sign in, by site, this one included; a site whose service is not named has none. */
  services: ReadonlyMap<string, ServiceAddresses>;
  signingKey: KeyObject;
  /** Public keys of all sites, this one included. */
  publicKeys: ReadonlyMap<string, KeyObject>;
  customers: ReadonlyMap<string, CustomerSettings>;
  operators: readonly Operator[];
  /** Ways to people and machines outside, by name. */
  channels: ReadonlyMap<string, ChannelSettings>;
  /** The channels by which whoever is on duty here is paged; none: nobody is. */
  paging: readonly string[];
  /** The address under which parties outside reach this site's worker; null: they answer otherwise. */
  callbacks: string | null;
  /** What steps may ask of services that are not ours, by name. Nothing that is not listed here is ever called. */
  requests: ReadonlyMap<string, RequestSettings>;
  commands: ReadonlyMap<string, CommandSettings>;
  /** This site's HAProxy; left out where it has none. */
  proxy?: ProxySettings;
  /** How many users of all customers this site can serve; left out where nobody has said. */
  capacityUsers?: number;
  /** Where reports for people are kept on this site's disk. */
  reportsFolder: string;
}
