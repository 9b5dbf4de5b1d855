import { DeleteObjectCommand, ListObjectVersionsCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { VaultAccess } from '../../activities/settings.ts';
import type { Vault } from '../../activities/vault/port.ts';

/** What nobody may do to a vault, done by its administrator. */
async function as<T>(access: VaultAccess, work: (s3: S3Client) => Promise<T>): Promise<T> {
  const { endpoint, region, accessKeyId, secretAccessKey } = access;
  const s3 = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });
  try {
    return await work(s3);
  } finally {
    s3.destroy();
  }
}

/** Puts a newer version over a key. */
export async function overwrite(access: VaultAccess, key: string, body: string | Buffer): Promise<void> {
  await as(access, (s3) => s3.send(new PutObjectCommand({ Bucket: access.bucket, Key: key, Body: body })));
}

/** Leaves a delete marker. */
export async function remove(access: VaultAccess, key: string): Promise<void> {
  await as(access, (s3) => s3.send(new DeleteObjectCommand({ Bucket: access.bucket, Key: key })));
}

/** Deletes every version of a key; fails where one is locked. */
export async function removeVersions(access: VaultAccess, key: string): Promise<void> {
  await as(access, async (s3) => {
    const { Versions = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket: access.bucket, Prefix: key }));
    for (const { VersionId } of Versions) {
      await s3.send(new DeleteObjectCommand({ Bucket: access.bucket, Key: key, VersionId }));
    }
  });
}

/** Copies a vault without its locks, each object as `change` makes it; null leaves it out. */
export async function copyVault(
  from: Vault,
  to: Vault,
  change: (key: string, bytes: Buffer) => Buffer | null = (_key, bytes) => bytes,
): Promise<void> {
  for await (const { key } of from.list('')) {
    const [oldest] = await from.versions(key);
    const bytes = oldest && change(key, oldest);
    if (bytes) await to.put(key, bytes);
  }
}

/** The same bytes with one bit flipped; from the end when `at` is negative. */
export function flipped(bytes: Buffer, at: number): Buffer {
  const other = Buffer.from(bytes);
  const place = at < 0 ? other.length + at : at;
  other.writeUInt8(other.readUInt8(place) ^ 4, place);
  return other;
}
