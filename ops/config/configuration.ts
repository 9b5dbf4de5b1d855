import { readFile } from 'node:fs/promises';
import type { FilterPolicy } from '../../activities/filter/policy.ts';
import type { CommandSettings, Operator, Party, ProxyBackend, ProxySettings } from '../../activities/settings.ts';
import type { MoveKind } from '../../workflows/model/acts.ts';
import type { Agreed } from '../../workflows/model/test-due.ts';
import { Fault } from '../fault.ts';
import { faultLine, Source } from '../../runbooks/yaml.ts';
import type { ChannelConfiguration } from './channels.ts';
import type { DirectoryConfiguration } from './directory.ts';
import type { RequestConfiguration } from './outside.ts';
import { parse } from './parse.ts';
import type { ProbeConfiguration } from './probes.ts';
import type { DnsConfiguration } from './traffic.ts';

/** `tandem.yaml`, parsed. Durations in ms. Secrets are references still: they are read for one site, when it needs them. */
export interface Configuration {
  file: string;
  /** Relative files are relative to this. */
  folder: string;
  sites: ReadonlyMap<string, SiteConfiguration>;
  customers: ReadonlyMap<string, CustomerConfiguration>;
  operators: readonly Operator[];
  /** A bucket at neither site; null when there is none. */
  witness: WitnessConfiguration | null;
  /** In its place a URL, which shows a site that it is not cut off, and nothing else; null when there is none. */
  witnessUrl: string | null;
}

export interface WitnessConfiguration {
  endpoint: string;
  region: string;
  bucket: string;
  /** By site. */
  accounts: ReadonlyMap<string, AccountReference>;
}

export interface ServiceConfiguration {
  /** `host:port` at which clients sign in. */
  clients: string;
  api: string | null;
  /** Answers 200 while the client port can be reached from outside; asked of somebody who is outside. */
  outsideCheck: string | null;
  /** ejabberd's API; null: it is not asked, and reads what it obeys by itself. */
  management: ManagementConfiguration | null;
}

export interface ManagementConfiguration {
  url: string;
  /** Of this site's own worker. */
  token: SecretReference;
  /** Of its peer's; null: the peer does not ask. */
  peerToken: SecretReference | null;
  ca: PlacedFile | null;
}

/** Where a secret lies. It is never written in the configuration itself. */
export type SecretReference = ({ file: string } | { env: string }) & { at: string; path: string };

/** A file that the configuration names: no secret, and relative to its folder. */
export interface PlacedFile {
  file: string;
  at: string;
  path: string;
}

export interface SiteConfiguration {
  site: string;
  temporal: { address: string; namespace: string; ui: string };
  listen: string;
  /** The address under which parties outside reach the worker. */
  callbacks: string | null;
  vault: {
    endpoint: string;
    region: string;
    bucket: string;
    writer: AccountReference;
    /** Retention's; null: nothing is ever deleted. */
    cleaner: AccountReference | null;
    reader: AccountReference;
  };
  /** OpenSSH line. */
  publicKey: string;
  privateKey: SecretReference;
  channels: ReadonlyMap<string, ChannelConfiguration>;
  /** Who is paged: names of channels. */
  paging: readonly string[];
  /** What its moves may ask of services that are not ours, by name. */
  requests: ReadonlyMap<string, RequestConfiguration>;
  commands: ReadonlyMap<string, CommandSettings>;
  service: ServiceConfiguration | null;
  proxy: ProxySettings | null;
  /** Users of all customers that it can serve; null when nobody has said. */
  capacityUsers: number | null;
}

export interface AccountReference {
  accessKeyId: SecretReference;
  secretAccessKey: SecretReference;
}

export interface CustomerConfiguration {
  id: string;
  domain: string;
  sites: readonly [string, string];
  databases: ReadonlyMap<string, { url: SecretReference; peerUrl: SecretReference }>;
  currentKey: string;
  keys: ReadonlyMap<string, SecretReference>;
  options: readonly string[];
  objectives: { rpoMs: number; rtoMs: number };
  target: { rpoMs: number; rtoMs: number };
  snapshots: { everyMs: number; betweenMs: number; budgetMs: number; pullBytesPerSecond: number | null };
  continuityTest: Required<Agreed>;
  limits: { contacts: number };
  /** Null: its services are not probed. */
  probes: ProbeConfiguration | null;
  parties: ReadonlyMap<string, Party>;
  /** Null: whoever has a home has an account. */
  directory: DirectoryConfiguration | null;
  filter: FilterPolicy;
  /** Its own, by the kind that each stands for; the shipped ones are the others. */
  runbooks: ReadonlyMap<MoveKind, PlacedFile>;
  /** Bytes per second by site, where somebody has said. */
  links: ReadonlyMap<string, number>;
  /** What all of its traffic takes; null when nobody has said. */
  trafficBytesPerSecond: number | null;
  dns: DnsConfiguration | null;
  backends: readonly ProxyBackend[] | null;
  /** Null: a site that is cut off does not close itself. */
  selfFenceMs: number | null;
}

/** Reads and checks the whole file; one fault tells everything that is wrong with it. */
export async function readConfiguration(file: string): Promise<Configuration> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Fault(
      `configuration ${file}: ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`}`,
      'Name it with `--config FILE`; `tandem dev up` writes one for the embedded stack.',
    );
  }
  const source = new Source(file, text);
  const configuration = source.faults.length === 0 ? parse(source, file) : null;
  if (configuration && source.faults.length === 0) return configuration;
  const list = source.faults.map((f) => `  ${faultLine(f)}`);
  throw new Fault(
    `configuration ${file}: ${list.length} ${list.length === 1 ? 'fault' : 'faults'}\n${list.join('\n')}`,
    '`tandem config check` reads it again; nothing was started.',
  );
}
