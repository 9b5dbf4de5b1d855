import { DeleteObjectCommand, PutObjectCommand, S3Client, type S3ServiceException } from '@aws-sdk/client-s3';
import { beforeAll, describe, expect, it } from 'vitest';
import type { VaultAccess } from '../../activities/settings.ts';
import { inspectBucket } from '../../activities/vault/bucket.ts';
import { judgeWitness } from '../../activities/vault/judge-witness.ts';
import { scratchVaults } from '../rig/vaults.ts';

const as = ({ endpoint, region, accessKeyId, secretAccessKey }: VaultAccess): S3Client =>
  new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });
const statusOf = (work: Promise<unknown>): Promise<number | undefined> =>
  work.then(
    () => 200,
    (error: unknown) => (error as S3ServiceException).$metadata.httpStatusCode,
  );

let witness: Awaited<ReturnType<typeof scratchVaults>>['witness'];
beforeAll(async () => {
  ({ witness } = await scratchVaults());
});

describe('a site’s account in the witness', () => {
  it('cannot beat for the other site, write elsewhere, or take a claim away', async () => {
    const [west, Bucket] = [as(witness.west), witness.west.bucket];
    const put = (Key: string, checksum = false) =>
      west.send(new PutObjectCommand({ Bucket, Key, Body: 'x', ...(checksum && { ChecksumAlgorithm: 'SHA256' }) }));
    expect(await statusOf(put('beats/east.json'))).toBe(403);
    expect(await statusOf(put('contoso/east/1'))).toBe(403);
    const { VersionId } = await put('contoso/epochs/7.json', true);
    expect(
      await statusOf(west.send(new DeleteObjectCommand({ Bucket, Key: 'contoso/epochs/7.json', VersionId }))),
    ).toBe(403);
    expect(await statusOf(west.send(new DeleteObjectCommand({ Bucket, Key: 'contoso/epochs/7.json' })))).toBe(403);
  });

  it('can beat for its own, and clear its old beats away', async () => {
    const [west, Bucket, Key] = [as(witness.west), witness.west.bucket, 'beats/west.json'];
    const { VersionId } = await west.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }));
    expect(await statusOf(west.send(new DeleteObjectCommand({ Bucket, Key, VersionId })))).toBe(200);
  });

  it('does what a witness must, by the doctor', async () => {
    expect(judgeWitness(await inspectBucket(witness.west))).toEqual([]);
    const gone = judgeWitness(await inspectBucket({ ...witness.west, endpoint: 'http://127.0.0.1:9' }));
    expect(gone).toEqual([
      expect.objectContaining({ severity: 'error', subject: expect.stringMatching(/^witness, /) as string }),
    ]);
  });
});
