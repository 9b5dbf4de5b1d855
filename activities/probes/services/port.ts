import { services, type Service } from '../../../workflows/model/acts.ts';

/** Probes of the services that are promised to users: what one is asked, and what it answers. */

/** Services that a client can look at. What only others can bring about (external updates) is not among them. */
export type ProbedService = Exclude<Service, 'third-party-federation' | 'public-im'>;

export const isProbed = (service: Service | undefined): service is ProbedService =>
  service !== undefined && service !== 'third-party-federation' && service !== 'public-im';

export const probedServices: readonly ProbedService[] = services.filter(isProbed);

/** Where users of one domain find one site. */
export interface ProbeTarget {
  domain: string;
  /** `host:port` at which clients sign in: the address that the SRV record or the proxy gives. */
  clients: string;
  /** https: where browsers find `/bosh` and `/ws`; null: nowhere. */
  web: string | null;
  /** The site's own address, to which the host of `web` leads whatever the DNS says of it now; null: the DNS says it. */
  address: string | null;
  /** `address:port` of a name server that leads users to their site, as it says at this moment; null: `clients` does. */
  resolver: string | null;
  /** PEM: trusted instead of the public certificates; null: those are. */
  ca: string | null;
}

export interface ProbeAccount {
  user: string;
  password: string;
}

/** Synthetic accounts of one half. `first` and `second` are contacts of each other; `second` has blocked `third`. */
export const probeAccounts = ['first', 'second', 'third'] as const;
export type ProbeAccounts = Record<(typeof probeAccounts)[number], ProbeAccount>;

/** An account at the server of a trusted partner. */
export interface ProbePartner extends ProbeAccount {
  domain: string;
  clients: string;
}

/** Makes and removes accounts, as the customer's directory does. */
export interface Provisioner {
  /** Where they are known: the client port of the very site, past a proxy that leads to others too. Left out: the target's. */
  clients?: string;
  register(account: ProbeAccount, signal: AbortSignal): Promise<void>;
  /** Also of an account that is not there. */
  unregister(account: Pick<ProbeAccount, 'user'>, signal: AbortSignal): Promise<void>;
}

export interface ProbeQuestion {
  service: ProbedService;
  target: ProbeTarget;
  accounts: ProbeAccounts;
  /** Calls go through the site's relay: what external audio/video has bought. */
  relay: boolean;
  /** Null: there is none, and trusted federation cannot be probed. */
  partner: ProbePartner | null;
  provisioner: Provisioner | null;
  /** It ends within this, however the service behaves. */
  limitMs: number;
  signal: AbortSignal;
}

export type Facts = Record<string, number | boolean>;

export interface ProbeResult {
  ok: boolean;
  /** What the clients took, without the start of their process. */
  ms: number;
  /** What was expected, what was seen, after how long; without names. */
  because: string;
  facts: Facts;
}

/** What the process of a probe is told. Passwords go this way, never through arguments or the environment. */
export type ToProbe = { order: ProbeOrder } | { stop: true };

export interface ProbeOrder extends Pick<ProbeQuestion, 'target' | 'accounts' | 'relay' | 'partner'> {
  what: Exclude<ProbedService, 'provisioning'> | 'provisioned' | 'disabled' | 'known';
  /** Until when its clients may take, in ms by `moment`: the start of their process is of the same limit. */
  endsAt: number;
}

/** Now, ms: the same in all processes of a machine, and set by nobody (CLOCK_MONOTONIC). */
export const moment = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

/** `expects`: what it waits for now, for the case that it can no longer say so itself. */
export type FromProbe = { expects: string } | { result: ProbeResult };
