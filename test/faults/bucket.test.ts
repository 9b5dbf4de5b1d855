import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { CreateBucketCommand, PutBucketPolicyCommand, PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { VaultAccess } from '../../activities/settings.ts';
import { inspectBucket, judgeBucket } from '../../activities/vault/bucket.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { findServers } from '../../ops/embedded/servers.mjs';
import { FaultProxy } from '../rig/fault-proxy.ts';
import { freePort } from '../rig/ports.ts';
import { scratchVaults, type ScratchVaults } from '../rig/vaults.ts';

const SHORT = { connectMs: 500, requestMs: 400 };

let access: ScratchVaults;
let proxy: FaultProxy;
beforeAll(async () => {
  access = await scratchVaults();
  proxy = await FaultProxy.open(access.east.endpoint);
});
afterEach(() => proxy.set());
afterAll(() => proxy.close());

const through = (to: VaultAccess): VaultAccess => ({ ...to, endpoint: proxy.endpoint });

async function as<T>(to: VaultAccess, work: (s3: S3Client) => Promise<T>): Promise<T> {
  const { endpoint, region, accessKeyId, secretAccessKey } = to;
  const s3 = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });
  try {
    return await work(s3);
  } finally {
    s3.destroy();
  }
}

/** A bucket that the gateway's administrator makes: without versions and without Object Lock, as S3 makes one. */
async function plainBucket(root: VaultAccess, versions: boolean): Promise<VaultAccess> {
  const made = { ...root, bucket: `plain-${randomBytes(6).toString('hex')}` };
  await as(made, async (s3) => {
    await s3.send(new CreateBucketCommand({ Bucket: made.bucket }));
    if (!versions) return;
    const VersioningConfiguration = { Status: 'Enabled' } as const;
    await s3.send(new PutBucketVersioningCommand({ Bucket: made.bucket, VersioningConfiguration }));
  });
  return made;
}

describe('a bucket as the stack makes it', () => {
  it('is fit as a site’s own vault, however often it is inspected, and keeps one probe', async () => {
    for (let round = 0; round < 3; round += 1) {
      const facts = await inspectBucket(access.east);
      expect(facts).toMatchObject({
        reachable: true,
        versioning: true,
        objectLock: true,
        conditionalWrites: true,
        rights: { list: true, get: true, put: true, delete: false },
      });
      expect(judgeBucket(facts, 'own')).toEqual([]);
    }
    const vault = new S3Vault(access.east);
    const keys: string[] = [];
    for await (const { key } of vault.list('')) keys.push(key);
    expect(keys).toEqual(['tandem-probe/condition']);
    expect(await vault.versions('tandem-probe/condition')).toHaveLength(1);
    vault.close();
  });

  it('is fit to be read by the peer, who can neither write nor delete, and leaves nothing', async () => {
    const facts = await inspectBucket(access.westReader);
    expect(facts).toMatchObject({
      versioning: true,
      objectLock: true,
      conditionalWrites: null,
      rights: { list: true, get: true, put: false, delete: false },
    });
    expect(judgeBucket(facts, 'peer')).toEqual([]);
    expect(judgeBucket(facts, 'own')).toMatchObject([
      {
        severity: 'error',
        observed: "the site's own credentials cannot put",
        try: expect.stringContaining('s3:PutObject') as string,
      },
    ]);
    const vault = new S3Vault(access.west);
    expect(await vault.versions('tandem-probe/condition')).toEqual([]);
    // Nor is he taken for one who may write where the site has left its own probe, which refuses everybody.
    await inspectBucket(access.west);
    expect(judgeBucket(await inspectBucket(access.westReader), 'peer')).toEqual([]);
    expect(await vault.versions('tandem-probe/condition')).toHaveLength(1);
    vault.close();
  });

  it('is fit when twenty look at it at once', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => inspectBucket(access.west)));
    expect(all.flatMap((facts) => judgeBucket(facts, 'own'))).toEqual([]);
  });
});

describe('credentials of a peer', () => {
  it('that can write, or delete, are an error each', async () => {
    const wide = judgeBucket(await inspectBucket(access.east), 'peer');
    expect(wide).toMatchObject([{ severity: 'error', observed: expect.stringContaining('can put') as string }]);
    const root = judgeBucket(await inspectBucket(access.eastRoot), 'peer');
    expect(root.map((f) => f.observed.split(':')[0])).toEqual([
      "the peer's credentials can put",
      "the peer's credentials can delete",
    ]);
  });

  it('that can only hide by a marker, or only delete versions, are found as well', async () => {
    for (const action of ['s3:DeleteObject', 's3:DeleteObjectVersion']) {
      const { eastRoot, eastReader } = await scratchVaults();
      const Bucket = eastRoot.bucket;
      const allow = (Action: string[], Resource: string) => ({
        Effect: 'Allow',
        Principal: { AWS: eastReader.accessKeyId },
        Action,
        Resource: `arn:aws:s3:::${Resource}`,
      });
      const Statement = [
        allow(['s3:ListBucket', 's3:ListBucketVersions'], Bucket),
        allow(['s3:GetObject', 's3:GetObjectVersion', action], `${Bucket}/*`),
      ];
      const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
      await as(eastRoot, (s3) => s3.send(new PutBucketPolicyCommand({ Bucket, Policy })));
      const facts = await inspectBucket(eastReader);
      // Nor may they ask what the bucket is: that is for its own site to see.
      expect(facts).toMatchObject({ versioning: null, objectLock: null, rights: { put: false, delete: true } });
      expect(judgeBucket(facts, 'peer')).toHaveLength(1);
    }
  });

  it('that may see nothing, or are of nobody, say which', async () => {
    const { bucket } = await plainBucket(access.eastRoot, true);
    const stranger = await inspectBucket({ ...access.eastReader, bucket });
    expect(stranger.rights).toEqual({ list: false, get: false, put: false, delete: false });
    expect(judgeBucket(stranger, 'peer').map((f) => f.severity)).toEqual(['error', 'error']);
    for (const wrong of [{ accessKeyId: 'nobody' }, { secretAccessKey: 'wrong' }, { bucket: 'no-such-bucket' }]) {
      const facts = await inspectBucket({ ...access.east, ...wrong });
      expect(facts).toMatchObject({
        reachable: false,
        because: expect.stringContaining('vault east: inspect') as string,
      });
      expect(judgeBucket(facts, 'own')).toHaveLength(1);
    }
  });
});

describe('a bucket that keeps too little', () => {
  it('without Object Lock is a warning that says what is lost', async () => {
    const facts = await inspectBucket(await plainBucket(access.eastRoot, true));
    expect(facts).toMatchObject({ versioning: true, objectLock: false, conditionalWrites: true });
    expect(judgeBucket(facts, 'own')).toMatchObject([
      { severity: 'warning', observed: expect.stringContaining('can delete its own copies') as string },
    ]);
  });

  it('without versions is an error', async () => {
    const facts = await inspectBucket(await plainBucket(access.eastRoot, false));
    expect(facts).toMatchObject({ versioning: false, objectLock: false });
    expect(judgeBucket(facts, 'own').map((f) => f.severity)).toEqual(['error', 'warning']);
  });

  it('on a server that ignores If-None-Match is an error', async () => {
    proxy.set(() => 'ignore-condition');
    const facts = await inspectBucket(through(access.east));
    expect(facts.conditionalWrites).toBe(false);
    expect(judgeBucket(facts, 'own')).toMatchObject([
      { severity: 'error', observed: expect.stringContaining('If-None-Match') as string },
    ]);
  });
});

describe('a server', () => {
  it('whose clock is three minutes off is an error; one minute is none', async () => {
    for (const [datedMs, observed] of [
      [180_000, /its clock is 1[78]\d s ahead of this machine's, limit 120 s/],
      [-180_000, /its clock is 1[78]\d s behind this machine's, limit 120 s/],
    ] as const) {
      proxy.set(() => ({ datedMs }));
      const found = judgeBucket(await inspectBucket(through(access.east)), 'own');
      expect(found).toMatchObject([{ severity: 'error', observed: expect.stringMatching(observed) as string }]);
    }
    proxy.set(() => ({ datedMs: 60_000 }));
    expect(judgeBucket(await inspectBucket(through(access.east)), 'own')).toEqual([]);
    proxy.set(() => 'clock-skew');
    const refused = await inspectBucket(through(access.east));
    expect(refused).toMatchObject({
      reachable: false,
      because: expect.stringContaining('clock of the vault') as string,
    });
    expect(refused.next).toContain('clocks');
  });

  it('that is twenty minutes ahead of us is an error, although the client gets by', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 1_200_000 });
    try {
      const facts = await inspectBucket(access.east);
      expect(facts).toMatchObject({ reachable: true, conditionalWrites: true });
      expect(
        judgeBucket(facts, 'own')
          .map((f) => f.observed)
          .join(),
      ).toMatch(/^its clock is (1199|1200|1201) s ahead of/);
    } finally {
      vi.useRealTimers();
    }
  });

  it('that hangs, resets or fails is not reachable, and says so within its limits', async () => {
    for (const fault of ['hang', 'reset-before', 'refuse-500'] as const) {
      proxy.set(() => fault);
      const facts = await inspectBucket(through(access.east), { limits: SHORT });
      expect(facts).toMatchObject({ reachable: false, rights: { list: null }, versioning: null });
      expect(judgeBucket(facts, 'own')).toMatchObject([
        { severity: 'error', try: expect.stringContaining('vault') as string },
      ]);
    }
  });

  it('is left at once when the caller gives up', async () => {
    proxy.set(() => 'hang');
    await expect(inspectBucket(through(access.east), { signal: AbortSignal.timeout(300) })).rejects.toThrow(/timeout/);
    expect(proxy.count()).toBe(1);
  });
});

/** A gateway without a folder for versions: it knows no versioning at all, and still claims Object Lock. */
describe('a gateway without versions', () => {
  let folder: string;
  let gateway: ChildProcess;
  let root: VaultAccess;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tandem-versionless-'));
    const port = await freePort();
    const secret = randomBytes(16).toString('hex');
    gateway = spawn(
      findServers().versitygw,
      ['--port', `127.0.0.1:${port}`, '--health', '/health', '--quiet', 'posix', folder],
      {
        env: { ROOT_ACCESS_KEY: 'root', ROOT_SECRET_KEY: secret },
        stdio: 'ignore',
      },
    );
    const endpoint = `http://127.0.0.1:${port}`;
    while (!(await healthy(endpoint))) await wait(50); // The limit is that of the hook.
    root = { ...access.eastRoot, endpoint, bucket: 'locked', accessKeyId: 'root', secretAccessKey: secret };
    await as(root, (s3) => s3.send(new CreateBucketCommand({ Bucket: 'locked', ObjectLockEnabledForBucket: true })));
  });
  afterAll(async () => {
    gateway.kill();
    await once(gateway, 'exit');
    await rm(folder, { recursive: true, force: true });
  });

  it('is found out, although its bucket says that it locks', async () => {
    const facts = await inspectBucket(root);
    expect(facts).toMatchObject({ versioning: false, objectLock: true, conditionalWrites: true });
    expect(judgeBucket(facts, 'own')).toMatchObject([
      { severity: 'error', try: expect.stringContaining('versions') as string },
    ]);
  });

  it('is named by the vault that reads from it, and says what to do', async () => {
    const vault = new S3Vault(root);
    expect(await vault.put('v/1', Buffer.from('x'))).toBe('stored');
    const keys: string[] = [];
    for await (const { key } of vault.list('v/')) keys.push(key);
    expect(keys).toEqual(['v/1']);
    await expect(vault.read('v/1')).rejects.toMatchObject({
      type: 'vault-unsafe',
      nonRetryable: true,
      message: expect.stringContaining('bucket locked keeps no versions') as string,
    });
    vault.close();
  });
});

const healthy = (endpoint: string): Promise<boolean> =>
  fetch(`${endpoint}/health`).then(
    (answer) => answer.ok,
    () => false,
  );
