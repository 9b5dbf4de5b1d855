import { failure, failureText } from '../../workflows/model/failures.ts';
import { damagedSeqs } from '../../workflows/model/checks.ts';
import type { Plan, RecoverySource } from '../../workflows/model/plan.ts';
import { whyShrunk, type SnapshotSummary, type Timestamp } from '../../workflows/model/snapshots.ts';
import { appliedSnapshot } from '../contacts/standby.ts';
import { withPeerVault, within } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import { coveredSnapshots, newestSnapshot, type Shelf } from '../vault/catalog.ts';
import { newestCheck } from '../vault/checks.ts';
import type { OwnSite } from './site.ts';

/** Disks outlive halls: the lost site's vault is asked, for this long. */
const SOURCE_VAULT_LIMIT_MS = 2000;

interface Wanted {
  disruptedAt: Timestamp;
  /** The newest point the declarer allows; null when he leaves it to the plan. */
  recoveryPoint: Timestamp | null;
}

interface Chosen {
  source: RecoverySource;
  notTaken: Plan['notTaken'];
}

/**
 * Where the data comes from, best first: a newer snapshot that the lost site's own vault still gives, else the newest
 * covered one in this vault. Never one from after the disruption: it may hold what the disaster wrote.
 */
export async function chooseSource(
  site: OwnSite,
  customer: CustomerSettings,
  wanted: Wanted,
  signal?: AbortSignal,
): Promise<Chosen> {
  const { disruptedAt, recoveryPoint } = wanted;
  const asked = recoveryPoint === null ? null : Date.parse(recoveryPoint);
  const latest = Math.min(Date.parse(disruptedAt), asked ?? Infinity);
  const limit =
    asked !== null && asked === latest
      ? `the recovery point asked for, ${new Date(latest).toISOString()}`
      : `the disruption at ${disruptedAt}`;
  const notTaken: Plan['notTaken'] = [];
  const own = await newestInOwnVault(site, customer, { latest, limit, notTaken }, signal);
  const better = await newerInSourceVault(site, customer, own, { latest, limit, notTaken }, signal);
  const summary = better ?? own;
  if (!summary) {
    const tried = notTaken.map((n) => `${n.from}: ${n.because}`).join('; ');
    throw failure(
      'no-recovery-point',
      `${customer.id}: no snapshot of ${customer.peer} can be restored here (${tried})`,
    );
  }
  const { gen, seq, point, manifest, counts } = summary;
  const source: RecoverySource = {
    snapshot: { customer: customer.id, site: customer.peer, gen, seq },
    manifest,
    point,
    from: better ? 'source-vault' : 'own-vault',
    users: counts.users,
    applied: await standbyHolds(site, customer, summary),
  };
  return { source, notTaken };
}

interface Search {
  /** In ms. */
  latest: number;
  limit: string;
  notTaken: Plan['notTaken'];
}

async function newestInOwnVault(
  site: OwnSite,
  customer: CustomerSettings,
  { latest, limit, notTaken }: Search,
  signal: AbortSignal | undefined,
): Promise<SnapshotSummary | null> {
  const shelf: Shelf = { ...shelfOf(site, customer), vault: site.vault, ...(signal && { signal }) };
  let later = 0;
  let found: SnapshotSummary | null = null;
  let suspect = 0;
  let damaged = 0;
  const covered = coveredSnapshots(
    shelf,
    site.settings.site,
    () => (suspect += 1),
    () => (damaged += 1),
  );
  for await (const { summary } of covered) {
    if (Date.parse(summary.point) <= latest) {
      found = summary;
      break;
    }
    later += 1;
  }
  if (suspect > 0) notTaken.push({ from: 'own-vault', because: `${suspect} suspect, which nobody has accepted` });
  if (damaged > 0)
    notTaken.push({ from: 'own-vault', because: `${damaged} damaged, by the newest check of this vault` });
  if (later > 0) notTaken.push({ from: 'own-vault', because: `${later} covered, of a time after ${limit}` });
  if (!found) notTaken.push({ from: 'own-vault', because: `none is covered${later > 0 ? ' before that' : ''}` });
  return found;
}

async function newerInSourceVault(
  site: OwnSite,
  customer: CustomerSettings,
  own: SnapshotSummary | null,
  { latest, limit, notTaken }: Search,
  signal: AbortSignal | undefined,
): Promise<SnapshotSummary | null> {
  const access = site.settings.peerVaults.get(customer.peer);
  const pass = (because: string): null => {
    notTaken.unshift({ from: 'source-vault', because });
    return null;
  };
  if (!access) return pass('no credentials for it are configured');
  try {
    const look = (limited: AbortSignal): Promise<{ newest: SnapshotSummary | null; damaged: number }> =>
      withPeerVault(access, async (vault) => {
        const shelf: Shelf = { ...shelfOf(site, customer), vault, signal: limited };
        const damaged = damagedSeqs(await newestCheck(shelf, customer.peer));
        const found = await newestSnapshot(shelf, own?.gen ?? 0, damaged);
        return { newest: found?.summary ?? null, damaged: damaged.size };
      });
    const { newest, damaged } = await within(SOURCE_VAULT_LIMIT_MS, `vault of ${customer.peer}`, look, signal);
    const sound = damaged > 0 ? ` that is whole; ${damaged} damaged, by its own check` : '';
    if (!newest) return pass(`it holds no snapshot${sound}`);
    if (own && newest.seq <= own.seq) return pass(`it holds none newer than this vault${sound}`);
    if (Date.parse(newest.point) > latest) return pass(`its newest, number ${newest.seq}, is of a time after ${limit}`);
    const shrunk = own && whyShrunk(own.counts, newest.counts);
    if (shrunk) return pass(`its newest, number ${newest.seq}, is suspect: ${shrunk} since number ${own.seq}`);
    return newest;
  } catch (error) {
    if (signal?.aborted) throw error;
    return pass(failureText(error)); // Lost is what it was declared to be.
  }
}

const shelfOf = (site: OwnSite, customer: CustomerSettings): Omit<Shelf, 'vault'> => ({
  customer: customer.id,
  site: customer.peer,
  publicKeys: site.settings.publicKeys,
});

/** Whether the dormant copy in this site's database already holds the snapshot whole. */
async function standbyHolds(
  site: OwnSite,
  customer: CustomerSettings,
  { gen, seq }: SnapshotSummary,
): Promise<boolean> {
  const applied = await appliedSnapshot(site.database(customer.id), customer.id, customer.peer);
  return applied !== null && applied.gen === gen && applied.seq === seq;
}
