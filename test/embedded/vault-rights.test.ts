import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  PutObjectRetentionCommand,
  S3Client,
  type S3ServiceException,
} from '@aws-sdk/client-s3';
import { beforeAll, describe, expect, it } from 'vitest';
import type { VaultAccess } from '../../activities/settings.ts';
import { inspectBucket } from '../../activities/vault/bucket.ts';
import { judgeCleaner, noCleaner } from '../../activities/vault/judge-cleaner.ts';
import { scratchVaults, type ScratchVaults } from '../rig/vaults.ts';

const as = ({ endpoint, region, accessKeyId, secretAccessKey }: VaultAccess): S3Client =>
  new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });

let vaults: ScratchVaults;
let version: string | undefined;
const Key = 'contoso/east/locked';

beforeAll(async () => {
  vaults = await scratchVaults();
  const until = new Date(Date.now() + 3_600_000);
  const put = new PutObjectCommand({
    Bucket: vaults.east.bucket,
    Key,
    Body: 'kept',
    ObjectLockMode: 'COMPLIANCE',
    ObjectLockRetainUntilDate: until,
    ChecksumAlgorithm: 'SHA256',
  });
  version = (await as(vaults.east).send(put)).VersionId;
});

const denied = async (work: Promise<unknown>): Promise<void> => {
  const error = await work.then(
    () => null,
    (e: unknown) => e as S3ServiceException,
  );
  expect(error?.$metadata.httpStatusCode).toBe(403);
};

describe('the peer’s credentials', () => {
  it('cannot write, delete, unlock or change the policy', async () => {
    const s3 = as(vaults.eastReader);
    const Bucket = vaults.east.bucket;
    await denied(s3.send(new PutObjectCommand({ Bucket, Key: 'contoso/east/new', Body: 'x' })));
    await denied(s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x' })));
    await denied(s3.send(new DeleteObjectCommand({ Bucket, Key })));
    await denied(s3.send(new DeleteObjectCommand({ Bucket, Key, VersionId: version })));
    await denied(
      s3.send(
        new PutObjectRetentionCommand({
          Bucket,
          Key,
          VersionId: version,
          Retention: { Mode: 'COMPLIANCE', RetainUntilDate: new Date() },
        }),
      ),
    );
    await denied(s3.send(new PutBucketPolicyCommand({ Bucket, Policy: '{"Version":"2012-10-17","Statement":[]}' })));
  });

  it('can read and list', async () => {
    const s3 = as(vaults.eastReader);
    const got = await s3.send(new GetObjectCommand({ Bucket: vaults.east.bucket, Key, VersionId: version }));
    expect(await got.Body?.transformToString()).toBe('kept');
    const listed = await s3.send(new ListObjectVersionsCommand({ Bucket: vaults.east.bucket }));
    expect(listed.Versions?.map((v) => v.Key)).toEqual([Key]);
  });

  it('are of no use at the other site', async () => {
    const stranger = as({ ...vaults.eastReader, endpoint: vaults.west.endpoint });
    await denied(stranger.send(new ListObjectVersionsCommand({ Bucket: vaults.west.bucket })));
  });
});

describe('the site’s own credentials', () => {
  it('cannot delete a version, shorten a lock or change the policy', async () => {
    const s3 = as(vaults.east);
    const Bucket = vaults.east.bucket;
    await denied(s3.send(new DeleteObjectCommand({ Bucket, Key, VersionId: version })));
    await denied(
      s3.send(
        new PutObjectRetentionCommand({
          Bucket,
          Key,
          VersionId: version,
          Retention: { Mode: 'COMPLIANCE', RetainUntilDate: new Date(Date.now() + 1000) },
        }),
      ),
    );
    await denied(s3.send(new PutBucketPolicyCommand({ Bucket, Policy: '{"Version":"2012-10-17","Statement":[]}' })));
  });
});

describe('the credentials of retention', () => {
  it('cannot write, read, hide, delete what is locked, shorten a lock or change the policy', async () => {
    const s3 = as(vaults.eastCleaner);
    const Bucket = vaults.east.bucket;
    const shorter = { Mode: 'COMPLIANCE', RetainUntilDate: new Date(Date.now() + 1000) } as const;
    const at = { Bucket, Key, VersionId: version };
    await denied(s3.send(new PutObjectCommand({ Bucket, Key: 'contoso/east/new', Body: 'x' })));
    await denied(s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x' })));
    await denied(s3.send(new GetObjectCommand(at)));
    await denied(s3.send(new DeleteObjectCommand({ Bucket, Key })));
    await denied(s3.send(new DeleteObjectCommand(at)));
    await denied(s3.send(new DeleteObjectCommand({ ...at, BypassGovernanceRetention: true })));
    await denied(s3.send(new PutObjectRetentionCommand({ ...at, Retention: shorter })));
    await denied(
      s3.send(new PutObjectRetentionCommand({ ...at, Retention: shorter, BypassGovernanceRetention: true })),
    );
    await denied(s3.send(new PutBucketPolicyCommand({ Bucket, Policy: '{"Version":"2012-10-17","Statement":[]}' })));
    expect((await as(vaults.east).send(new GetObjectCommand(at))).ContentLength).toBe(4);
  });

  it('can delete a version that no lock holds, which neither the writer nor the peer can', async () => {
    const Bucket = vaults.east.bucket;
    const free = 'contoso/east/free';
    const put = new PutObjectCommand({ Bucket, Key: free, Body: 'x', ChecksumAlgorithm: 'SHA256' });
    const { VersionId } = await as(vaults.east).send(put);
    const remove = (): DeleteObjectCommand => new DeleteObjectCommand({ Bucket, Key: free, VersionId });
    await denied(as(vaults.east).send(remove()));
    await denied(as(vaults.eastReader).send(remove()));
    await as(vaults.eastCleaner).send(remove());
    const listed = await as(vaults.eastCleaner).send(new ListObjectVersionsCommand({ Bucket }));
    expect(listed.Versions?.map((v) => v.Key)).toEqual([Key]);
    expect(listed.DeleteMarkers ?? []).toEqual([]);
  });

  it('are fit as they are; those of another are not, and leave nothing when they are tried', async () => {
    expect(judgeCleaner(await inspectBucket(vaults.westCleaner))).toEqual([]);
    const told = judgeCleaner(await inspectBucket(vaults.westReader));
    expect(told).toMatchObject([{ severity: 'error', observed: expect.stringContaining('cannot delete') as string }]);
    const listed = await as(vaults.west).send(new ListObjectVersionsCommand({ Bucket: vaults.west.bucket }));
    expect([listed.Versions ?? [], listed.DeleteMarkers ?? []]).toEqual([[], []]);
    expect(judgeCleaner(await inspectBucket(vaults.westRoot)).map(({ observed }) => observed)).toEqual([
      expect.stringContaining('can put'),
    ]);
    expect(noCleaner(vaults.west)).toMatchObject({ severity: 'warning' });
  });

  it('are of no use at the other site', async () => {
    const stranger = as({ ...vaults.eastCleaner, endpoint: vaults.west.endpoint });
    const Bucket = vaults.west.bucket;
    await denied(stranger.send(new ListObjectVersionsCommand({ Bucket })));
    await denied(stranger.send(new DeleteObjectCommand({ Bucket, Key, VersionId: version })));
  });
});
