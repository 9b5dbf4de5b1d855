import { failure } from '../../workflows/model/failures.ts';
import { halvesOf, type Plan } from '../../workflows/model/plan.ts';
import { withPeerVault } from '../probes/peer.ts';
import { openSnapshot, type OpenSnapshot } from '../vault/open.ts';
import type { Vault } from '../vault/port.ts';
import type { UserRecord } from '../vault/record.ts';
import type { OwnSite } from './site.ts';

/** Disks outlive halls: the lost site's vault is read for so long in all (DESIGN 4), however slowly it gives. */
const FETCH_LIMIT_MS = 120_000;

/** The plan's snapshot, and of it only what the move is about. */
export interface PlannedSnapshot {
  opened: OpenSnapshot;
  /**
   * Records of users whose home is the lost half. Others are passed over: this site may serve them, or nobody any more. So
   * are damaged ones: the restore has named them, and put their users into quarantine.
   */
  records: AsyncGenerator<UserRecord>;
  /** Ends whatever is done with them when the snapshot may no longer be read. */
  signal: AbortSignal;
}

/**
 * Opens the snapshot that the plan names, in the vault it names. An older one than was signed is never read. The lost
 * site's vault is read for FETCH_LIMIT_MS: past it `source-unreachable`, once nothing works on it any more.
 */
export async function withPlannedSnapshot<T>(
  site: OwnSite,
  plan: Pick<Plan, 'decisions' | 'source'>,
  signal: AbortSignal,
  work: (snapshot: PlannedSnapshot) => Promise<T>,
): Promise<T> {
  const { decisions, source } = plan;
  if (source.from === 'own-vault') return open(site, plan, site.vault, signal, work);
  const { id, peer } = site.customer(decisions.customer);
  if (source.from === 'standby-copy')
    throw failure('input-invalid', `plan of ${id}: its source is the standby copy, for which no vault is read`);
  const access = site.settings.peerVaults.get(peer);
  if (!access) throw failure('input-invalid', `vault of ${peer}: no credentials for it are configured`);
  const limit = AbortSignal.timeout(FETCH_LIMIT_MS);
  try {
    return await withPeerVault(access, (vault) => open(site, plan, vault, AbortSignal.any([signal, limit]), work));
  } catch (error) {
    if (!limit.aborted || signal.aborted) throw error;
    throw failure('source-unreachable', `vault of ${peer}: not read to the end within ${FETCH_LIMIT_MS / 1000} s`);
  }
}

async function open<T>(
  site: OwnSite,
  { decisions, source }: Pick<Plan, 'decisions' | 'source'>,
  vault: Vault,
  signal: AbortSignal,
  work: (snapshot: PlannedSnapshot) => Promise<T>,
): Promise<T> {
  const { id, keys } = site.customer(decisions.customer);
  const { publicKeys } = site.settings;
  const { snapshot, manifest } = source;
  const opened = await openSnapshot({ vault, keys, publicKeys, id: snapshot, expectManifest: manifest, signal });
  const { point } = opened.manifest;
  if (Date.parse(point) < Date.parse(decisions.recoveryPoint)) {
    throw failure(
      'no-recovery-point',
      `snapshot ${snapshot.seq}: of ${point}, older than ${decisions.recoveryPoint}, which was signed`,
    );
  }
  const homes = await homesOf(site, id, halvesOf(decisions));
  const records = opened.records(undefined, () => undefined);
  return work({ opened, records: ofHalf(records, homes), signal });
}

async function* ofHalf(records: AsyncGenerator<UserRecord>, homes: ReadonlySet<string>): AsyncGenerator<UserRecord> {
  for await (const record of records) if (homes.has(record.username)) yield record;
}

async function homesOf(site: OwnSite, customer: string, halves: readonly string[]): Promise<Set<string>> {
  const rows = await site
    .database(customer)
    .query<{ username: string }>('select username from tandem.home where site = any($1)', [halves]);
  return new Set(rows.map((r) => r.username));
}
