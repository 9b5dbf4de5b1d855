import { ListObjectVersionsCommand, S3Client } from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { applyStandby } from '../../activities/contacts/standby.ts';
import type { VaultAccess } from '../../activities/settings.ts';
import { Cleaner } from '../../activities/vault/cleaner.ts';
import { deleteExpired, type RetentionRequest } from '../../activities/vault/delete-expired.ts';
import type { GenerationFate, RetentionResult } from '../../workflows/model/retention.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { CUSTOMER, openWorld, otherSite, quiet, type Site, type World } from './world.ts';

export const DAY = 24 * 3_600_000;

/** A world whose vaults are cleaned, at a time that the test chooses. */
export interface Cleaning extends World {
  cleanerOf: (at: Site) => Cleaner;
  /** As in 50 days, unless told: past every keeping, and past the locks if the vaults had any. */
  clean: (at: Site, changes?: Partial<RetentionRequest>) => Promise<RetentionResult>;
  /** Every version and marker of a vault, as its administrator sees them. */
  everything: (at: Site) => Promise<string[]>;
  /** The next snapshot of a site, as a generation of its own. */
  takeBase: (site: Site) => Promise<SnapshotSummary>;
  /** Brings a covered snapshot of east into west's standby copy. */
  apply: (snapshot: SnapshotSummary) => Promise<void>;
  /** As after half a year: three bases of east, each with a delta, covered by west, which holds the newest. Oldest first. */
  oldAndNew: () => Promise<SnapshotSummary[]>;
}

export async function openCleaning({ locks = false } = {}): Promise<Cleaning> {
  const world = await openWorld(20, undefined, { locks });
  const open: Cleaner[] = [];
  const { access } = world;
  const cleanerOf = (at: Site): Cleaner => {
    const cleaner = new Cleaner({ east: access.eastCleaner, west: access.westCleaner }[at]);
    open.push(cleaner);
    return cleaner;
  };
  const takeBase = async (site: Site): Promise<SnapshotSummary> => {
    await world.sql(site, 'delete from tandem.taken');
    return world.take(site);
  };
  const apply = async (snapshot: SnapshotSummary): Promise<void> => {
    const opened = await world.open('west', snapshot);
    await applyStandby({ database: world.databases.west, site: 'west', snapshot: opened, keys: world.keys, ...quiet });
  };
  return {
    ...world,
    cleanerOf,
    takeBase,
    apply,
    clean: (at, changes) =>
      deleteExpired({
        mode: 'delete',
        cleaner: changes?.cleaner ?? cleanerOf(at),
        vault: world.vaults[at],
        peer: world.readers[otherSite(at)],
        database: world.databases[at],
        customer: CUSTOMER,
        site: at,
        sites: ['east', 'west'],
        publicKeys: world.publicKeys,
        now: () => Date.now() + 50 * DAY,
        ...quiet,
        ...changes,
      }),
    async everything(at) {
      const who = { east: access.eastRoot, west: access.westRoot }[at];
      const all = await as(who, (s3) => s3.send(new ListObjectVersionsCommand({ Bucket: who.bucket })));
      expect(all.IsTruncated).toBe(false);
      const entries = [...(all.Versions ?? []), ...(all.DeleteMarkers ?? [])];
      return entries.map(({ Key, VersionId }) => `${Key} ${VersionId}`).toSorted();
    },
    async oldAndNew() {
      const taken: SnapshotSummary[] = [];
      for (const nick of ['one', 'two', 'three']) {
        taken.push(await takeBase('east'));
        await world.sql('east', 'update rosterusers set nick = $1 where jid = (select min(jid) from rosterusers)', [
          nick,
        ]);
        taken.push(await world.take('east', { read: 'changes' }));
        await world.pull('west');
        for (const snapshot of taken.slice(-2)) await world.verify('west', snapshot);
      }
      for (const newest of taken.slice(-1)) await apply(newest);
      return taken;
    },
    async drop() {
      for (const cleaner of open) cleaner.close();
      await world.drop();
    },
  };
}

/** Straight to the server, past all code of ours. */
export async function as<T>(to: VaultAccess, work: (s3: S3Client) => Promise<T>): Promise<T> {
  const { endpoint, region, accessKeyId, secretAccessKey } = to;
  const s3 = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });
  try {
    return await work(s3);
  } finally {
    s3.destroy();
  }
}

/** Newest first. */
export const fatesOf = ({ sources }: RetentionResult, source: Site): [number, GenerationFate['fate']][] =>
  (sources.find(({ site }) => site === source)?.generations ?? []).map(({ gen, fate }) => [gen, fate]);

export const below = (keys: string[], part: string): string[] => keys.filter((key) => key.includes(part));
