import { openBulk, type Bulk } from '../contacts/bulk.ts';
import type { Database } from '../contacts/database.ts';
import { readUnsalvaged } from '../contacts/salvaged.ts';
import { applyStandby } from '../contacts/standby.ts';
import { whySuspect } from '../contacts/suspect.ts';
import type { ApplyCounts, SalvageSummary, SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Running } from '../running.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import type { PullResult, SnapshotActivities, StandbyActivities } from '../types.ts';
import type { Manifest } from './manifest.ts';
import { openSnapshot } from './open.ts';
import { pullSnapshots } from './pull.ts';
import { RateLimit } from './rate-limit.ts';
import { S3Vault } from './s3.ts';
import type { RestoredFrom } from './open-salvage.ts';
import { salvageHalves } from './salvage.ts';
import { takeSnapshot } from './snapshot.ts';
import type { SnapshotIndex } from './snapshot-index.ts';
import { verifySnapshot } from './verify.ts';

export function createSnapshotActivities(
  settings: SiteSettings,
  running: () => Running,
): Pick<SnapshotActivities, 'take-snapshot'> {
  const { site, signingKey, publicKeys } = settings;
  const bulk = openBulk(settings);
  return {
    async 'take-snapshot'({ customer, read }) {
      const { keys, snapshots } = bulk.customer(customer);
      return takeSnapshot({
        vault: bulk.vault,
        database: bulk.database(customer),
        customer,
        site,
        keys,
        signingKey,
        publicKeys,
        read: read ?? 'all',
        maxAgeMs: snapshots.budgetMs,
        ...running(),
      });
    },
  };
}

const NOTHING_PULLED: PullResult = {
  peer: 'reached',
  because: 'what this site alone has is salvaged first',
  pulled: [],
  unverified: null,
  unapplied: null,
};

/** Share of the budget below which a pull was of a few changes. */
const QUICK = 0.05;
/** Share of the budget after which a pull ends by itself, so that it ends with its cause. */
const OWN_END = 0.9;

/** As of what failovers at this site have restored a half that it served under an epoch. */
type ServedFrom = (database: Database, customer: string, half: string, epoch: number) => Promise<RestoredFrom | null>;

export function createStandbyActivities(
  settings: SiteSettings,
  running: () => Running,
  servedFrom: ServedFrom,
): Omit<StandbyActivities, 'verify-held'> {
  const { site, signingKey, publicKeys } = settings;
  const bulk = openBulk(settings);
  const { vault } = bulk;
  const verify = async (id: SnapshotId): ReturnType<typeof verifySnapshot> => {
    const { keys } = bulk.customer(id.customer);
    const database = bulk.database(id.customer);
    const judge = (manifest: Manifest): Promise<string | null> => whySuspect(database, manifest);
    return verifySnapshot({ vault, database, site, id, keys, signingKey, publicKeys, judge, ...running() });
  };
  const apply = async (id: SnapshotId, index?: SnapshotIndex): Promise<ApplyCounts> => {
    const { keys } = bulk.customer(id.customer);
    const { heartbeat, signal } = running();
    const snapshot = await openSnapshot({ vault, keys, publicKeys, id, signal, ...(index && { index }) });
    return applyStandby({ database: bulk.database(id.customer), site, snapshot, keys, heartbeat, signal });
  };
  return {
    async 'pull-snapshots'({ customer, goOn = false, follow = false }) {
      const { snapshots } = bulk.customer(customer);
      // What this site alone has comes first: its disk came back from wherever it was.
      const due = goOn ? [] : await readUnsalvaged(bulk.database(customer), customer, site);
      if (due.length > 0) return { ...NOTHING_PULLED, unsalvaged: due.flatMap(({ halves }) => halves).length };
      const begun = performance.now();
      const pull = await withPeer(settings, bulk, customer, (peer) =>
        pullSnapshots({
          own: vault,
          peer,
          database: bulk.database(customer),
          site,
          customer,
          publicKeys,
          limit: limitOf(snapshots),
          budgetMs: OWN_END * snapshots.budgetMs,
          ...running(),
        }),
      );
      const quick = performance.now() - begun < QUICK * snapshots.budgetMs;
      const { unverified } = pull;
      return follow && quick && unverified ? followOn(pull, unverified, { verify, apply, ...running() }) : pull;
    },
    'salvage-halves': ({ customer }) => salvage(settings, bulk, { customer, servedFrom }, running()),
    'verify-snapshot': async ({ snapshot }) => (await verify(snapshot)).receipt,
    'apply-standby': ({ snapshot }) => apply(snapshot),
  };
}

/** By the process that pulled it: another one takes a third of a second to begin. */
async function followOn(
  pull: PullResult,
  newest: SnapshotId,
  { verify, apply, signal }: Following & Running,
): Promise<PullResult> {
  try {
    const { receipt, index } = await verify(newest);
    if (receipt.suspect !== undefined) return { ...pull, unverified: null, receipt };
    return { ...pull, unverified: null, unapplied: null, receipt, applied: await apply(receipt.snapshot, index) };
  } catch {
    signal.throwIfAborted();
    return pull; // Whoever does it next finds what was done, and says what is wrong.
  }
}

interface Following {
  verify: (id: SnapshotId) => ReturnType<typeof verifySnapshot>;
  apply: (id: SnapshotId, index: SnapshotIndex) => Promise<ApplyCounts>;
}

function salvage(
  settings: SiteSettings,
  bulk: Bulk,
  { customer, servedFrom }: { customer: string; servedFrom: ServedFrom },
  ongoing: Running,
): Promise<SalvageSummary[]> {
  const { site, signingKey, publicKeys } = settings;
  const { keys, snapshots } = bulk.customer(customer);
  const database = bulk.database(customer);
  const who = { customer, site, keys, signingKey, publicKeys };
  return salvageHalves({
    vault: bulk.vault,
    database,
    ...who,
    maxAgeMs: snapshots.budgetMs,
    restored: (half, epoch) => servedFrom(database, customer, half, epoch),
    ...ongoing,
  });
}

export const limitOf = ({ pullBytesPerSecond }: CustomerSettings['snapshots']): RateLimit | null =>
  pullBytesPerSecond === null ? null : new RateLimit(pullBytesPerSecond);

/** Connections to a peer are made for one pull and closed after it: those that hang hold up nothing else (DESIGN 3). */
export async function withPeer<T>(
  settings: SiteSettings,
  bulk: Bulk,
  customer: string,
  work: (peer: S3Vault) => Promise<T>,
): Promise<T> {
  const peer = new S3Vault(bulk.peerVault(settings, customer));
  try {
    return await work(peer);
  } finally {
    peer.close();
  }
}
