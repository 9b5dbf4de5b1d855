import type { ProbeAccounts, ProbePartner, ProbeTarget } from './port.ts';

/** How the services of one customer are probed. */
export interface ProbeSettings {
  /** Where, by site. */
  targets: ReadonlyMap<string, Omit<ProbeTarget, 'domain'>>;
  /** By home: accounts of one half are probed wherever that half is served. */
  accounts: ReadonlyMap<string, ProbeAccounts>;
  partner: ProbePartner | null;
  /** Of one probe. */
  limitMs: number;
}
