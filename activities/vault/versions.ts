import { HeadObjectCommand, ListObjectVersionsCommand, type S3Client } from '@aws-sdk/client-s3';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import type { VaultAccess } from '../settings.ts';
import { openClient } from './s3-client.ts';
import { vaultFailure } from './s3-errors.ts';

/** All that ever happened to one key of a vault, oldest first. More than one version is somebody's doing. */
export interface KeyHistory {
  versions: { bytes: number; at: Timestamp | null; lockedUntil: Timestamp | null }[];
  /** Delete markers: they hide nothing from us. */
  markers: { at: Timestamp | null }[];
}

/** For a few keys that a person asks about. Fails as a vault does. */
export async function keyHistory(access: VaultAccess, key: string, abortSignal: AbortSignal): Promise<KeyHistory> {
  const s3 = openClient(access);
  try {
    const Bucket = access.bucket;
    // One page: nobody reads a thousand versions.
    const page = await s3.send(new ListObjectVersionsCommand({ Bucket, Prefix: key }), { abortSignal });
    const versions = (page.Versions ?? []).filter(({ Key }) => Key === key).toReversed();
    const markers = (page.DeleteMarkers ?? []).filter(({ Key }) => Key === key).toReversed();
    return {
      versions: await Promise.all(
        versions.map(async ({ VersionId, Size, LastModified }) => ({
          bytes: Size ?? 0,
          at: time(LastModified),
          lockedUntil: await lockedUntil(s3, { Bucket, Key: key, VersionId }, abortSignal),
        })),
      ),
      markers: markers.map(({ LastModified }) => ({ at: time(LastModified) })),
    };
  } catch (error) {
    abortSignal.throwIfAborted();
    throw vaultFailure(access.site, 'look at', key, error);
  } finally {
    s3.destroy();
  }
}

/** Null for a version that is not locked, or whose lock these credentials may not see. */
async function lockedUntil(
  s3: S3Client,
  version: { Bucket: string; Key: string; VersionId: string | undefined },
  abortSignal: AbortSignal,
): Promise<Timestamp | null> {
  return time((await s3.send(new HeadObjectCommand(version), { abortSignal })).ObjectLockRetainUntilDate);
}

const time = (date: Date | undefined): Timestamp | null => date?.toISOString() ?? null;
