import { failure } from '../../workflows/model/failures.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { withPeerVault } from '../probes/peer.ts';
import { openSnapshot, type OpenSnapshot } from '../vault/open.ts';
import type { Vault } from '../vault/port.ts';
import type { UserRecord } from '../vault/record.ts';
import type { OwnSite } from './site.ts';

/** The plan's snapshot, and of it only what the move is about. */
export interface PlannedSnapshot {
  opened: OpenSnapshot;
  /**
   * Records of users whose home is the lost half. Others are passed over: this site may serve them, or nobody any more. So
   * are damaged ones: the restore has named them, and put their users into quarantine.
   */
  records: AsyncGenerator<UserRecord>;
}

/** Opens the snapshot that the plan names, in the vault it names. An older one than was signed is never read. */
export async function withPlannedSnapshot<T>(
  site: OwnSite,
  { decisions, source }: Plan,
  signal: AbortSignal,
  work: (snapshot: PlannedSnapshot) => Promise<T>,
): Promise<T> {
  const customer = site.customer(decisions.customer);
  const open = async (vault: Vault): Promise<T> => {
    const { keys } = customer;
    const { publicKeys } = site.settings;
    const opened = await openSnapshot({
      vault,
      keys,
      publicKeys,
      id: source.snapshot,
      expectManifest: source.manifest,
      signal,
    });
    const { point } = opened.manifest;
    if (Date.parse(point) < Date.parse(decisions.recoveryPoint)) {
      throw failure(
        'no-recovery-point',
        `snapshot ${source.snapshot.seq}: of ${point}, older than ${decisions.recoveryPoint}, which was signed`,
      );
    }
    const homes = await homesOf(site, customer.id, decisions.from);
    return work({
      opened,
      records: ofHalf(
        opened.records(undefined, () => undefined),
        homes,
      ),
    });
  };
  if (source.from === 'own-vault') return open(site.vault);
  const access = site.settings.peerVaults.get(customer.peer);
  if (!access) throw failure('input-invalid', `vault of ${customer.peer}: no credentials for it are configured`);
  return withPeerVault(access, open);
}

async function* ofHalf(records: AsyncGenerator<UserRecord>, homes: ReadonlySet<string>): AsyncGenerator<UserRecord> {
  for await (const record of records) if (homes.has(record.username)) yield record;
}

async function homesOf(site: OwnSite, customer: string, half: string): Promise<Set<string>> {
  const rows = await site
    .database(customer)
    .query<{ username: string }>('select username from tandem.home where site = $1', [half]);
  return new Set(rows.map((r) => r.username));
}
