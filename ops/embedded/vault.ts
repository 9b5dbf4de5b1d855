import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateBucketCommand, PutBucketPolicyCommand, PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3';
import { Fault } from '../fault.ts';
import { startProcess } from './processes.ts';
import { untilHealthy } from './until-healthy.ts';
import { vaultUsers, type VaultUser, type VaultUsers } from './secrets.ts';

export const REGION = 'us-east-1';

export const bucketOf = (site: string): string => `tandem-${site}`;

/** Starts a site's S3 server on loopback, with its accounts. */
export async function startVault(folder: string, site: string, port: number, command: string): Promise<void> {
  const { root, writer, cleaner, reader } = await vaultUsers(folder, site);
  await startGateway(folder, { site, port, command, root, users: [writer, cleaner, reader] });
}

interface Gateway {
  site: string;
  port: number;
  command: string;
  root: VaultUser;
  users: VaultUser[];
}

/** Starts an S3 server on loopback that knows these accounts. */
export async function startGateway(folder: string, { site, port, command, root, users }: Gateway): Promise<void> {
  const at = join(folder, 'data', site);
  for (const name of ['vault', 'vault-versions', 'vault-accounts'])
    await mkdir(join(at, name), { recursive: true, mode: 0o700 });
  const account = ({ accessKeyId, secretAccessKey }: VaultUser) => ({
    access: accessKeyId,
    secret: secretAccessKey,
    role: 'user',
    userID: 0,
    groupID: 0,
    projectID: 0,
  });
  const known = users.map((user) => [user.accessKeyId, account(user)]);
  const accounts = { accessAccounts: Object.fromEntries(known) as Record<string, unknown> };
  // Its own file, before it runs: the server's account command would take the secrets as arguments, for all to see.
  await writeFile(join(at, 'vault-accounts', 'users.json'), JSON.stringify(accounts), { mode: 0o600 });
  await startProcess(folder, {
    site,
    name: 'vault',
    command,
    args: [
      '--port',
      `127.0.0.1:${port}`,
      '--health',
      '/health',
      '--iam-dir',
      join(at, 'vault-accounts'),
      // As every S3 does; this one makes a connection for each request unless told.
      '--keep-alive',
      '--quiet',
      'posix',
      '--versioning-dir',
      join(at, 'vault-versions'),
      join(at, 'vault'),
    ],
    env: { ROOT_ACCESS_KEY: root.accessKeyId, ROOT_SECRET_KEY: root.secretAccessKey },
  });
}

/** Waits until it answers, then makes the bucket, with Object Lock and the rights of its accounts. */
export async function prepareVault(folder: string, site: string, port: number): Promise<void> {
  await gatewayAnswers(folder, site, port);
  await makeBucket({
    endpoint: `http://127.0.0.1:${port}`,
    bucket: bucketOf(site),
    ...(await vaultUsers(folder, site)),
  });
}

/** Waits until the S3 server that was started answers. */
export async function gatewayAnswers(folder: string, site: string, port: number): Promise<void> {
  const healthy = (): Promise<boolean> =>
    fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(2000) }).then(
      (r) => r.ok,
      () => false,
    );
  await untilHealthy(folder, site, 'vault', healthy);
}

export interface BucketSpec extends VaultUsers {
  endpoint: string;
  bucket: string;
  /** Object Lock; left out only to see how a vault does without. */
  locks?: boolean;
}

/**
 * A bucket as a vault needs it: versioned, locked, and with least rights. The site's own account may add, but never
 * delete a version or shorten a lock; retention's may delete what no lock holds, but neither read nor write; the peer's
 * may look, and nothing else (VAULT, rule 1).
 */
export async function makeBucket(spec: BucketSpec): Promise<void> {
  const { endpoint, bucket, root, writer, cleaner, reader, locks = true } = spec;
  const objects = `arn:aws:s3:::${bucket}/*`;
  const whole = `arn:aws:s3:::${bucket}`;
  await createBucket({ endpoint, bucket, root, locks }, [
    allow(writer, [...look, 's3:PutObject', 's3:PutObjectRetention'], objects),
    allow(writer, browse, whole),
    allow(cleaner, ['s3:GetObjectRetention', 's3:GetObjectLegalHold', 's3:DeleteObjectVersion'], objects),
    allow(cleaner, browse, whole),
    allow(reader, look, objects),
    allow(reader, browse, whole),
  ]);
}

export const look = ['s3:GetObject', 's3:GetObjectVersion', 's3:GetObjectRetention'];
export const browse = [
  's3:ListBucket',
  's3:ListBucketVersions',
  's3:GetBucketVersioning',
  's3:GetBucketObjectLockConfiguration',
];

interface Statement {
  Effect: 'Allow';
  Principal: { AWS: string };
  Action: string[];
  Resource: string;
}

export const allow = (user: VaultUser, actions: string[], resource: string): Statement => ({
  Effect: 'Allow',
  Principal: { AWS: user.accessKeyId },
  Action: actions,
  Resource: resource,
});

/** A versioned bucket with these rights; one that is there already is given them. */
export async function createBucket(
  { endpoint, bucket, root, locks = true }: Pick<BucketSpec, 'endpoint' | 'bucket' | 'root' | 'locks'>,
  rights: Statement[],
): Promise<void> {
  const s3 = new S3Client({ endpoint, region: REGION, forcePathStyle: true, credentials: root, maxAttempts: 3 });
  const policy = { Version: '2012-10-17', Statement: rights };
  try {
    await s3
      .send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: locks }))
      .catch((error: Error) => {
        if (!['BucketAlreadyOwnedByYou', 'BucketAlreadyExists'].includes(error.name)) throw error;
      });
    const VersioningConfiguration = { Status: 'Enabled' } as const; // Comes with Object Lock, and must without.
    if (!locks) await s3.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration }));
    await s3.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: JSON.stringify(policy) }));
  } catch (error) {
    throw new Fault(
      `vault ${endpoint}/${bucket}: ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`,
      'Look at the log of the vault: `tandem dev status` names it.',
    );
  } finally {
    s3.destroy();
  }
}
