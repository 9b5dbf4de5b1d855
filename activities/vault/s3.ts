import { hash } from 'node:crypto';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import {
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import type { VaultAccess } from '../settings.ts';
import type { Vault } from './port.ts';
import { isConflict, isMissing, isTaken, status, vaultFailure } from './s3-errors.ts';

/** Long enough for a busy server, short enough that a dead site costs nobody's step (DESIGN 3). */
const CONNECT_MS = 2000;
/** For one request with its answer: at most a pack of 4 MiB, on a link of 2 Mbit/s or better. */
const REQUEST_MS = 20_000;
const ATTEMPTS = 3;
/** Connections to one site; a site that hangs can use up its own and nobody else's. */
const SOCKETS = 16;
/** Conditional writes that met in the same moment: S3 answers 409 and asks to try again. */
const CONFLICT_TRIES = 5;
const CONFLICT_WAIT_MS = 50;

interface Version {
  key: string;
  id: string | undefined;
  bytes: number;
}

type Call = { signal?: AbortSignal } | undefined;

/** A bucket on any S3 with versions and conditional writes. Locks are used where the bucket has Object Lock. */
export class S3Vault implements Vault {
  readonly site: string;
  private readonly bucket: string;
  private readonly client: S3Client;
  private locks: Promise<boolean> | undefined;

  constructor(access: VaultAccess) {
    this.site = access.site;
    this.bucket = access.bucket;
    this.client = new S3Client({
      endpoint: access.endpoint,
      region: access.region,
      forcePathStyle: true,
      credentials: { accessKeyId: access.accessKeyId, secretAccessKey: access.secretAccessKey },
      maxAttempts: ATTEMPTS,
      // We send a checksum of our own, and every byte is checked by its hash when it is read.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: CONNECT_MS,
        requestTimeout: REQUEST_MS,
        throwOnRequestTimeout: true,
        socketTimeout: REQUEST_MS,
        httpAgent: new HttpAgent({ keepAlive: true, maxSockets: SOCKETS }),
        httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets: SOCKETS }),
      },
    });
  }

  async put(
    key: string,
    body: Uint8Array,
    options: { lockUntil?: Date; signal?: AbortSignal; sha256?: string } = {},
  ): Promise<'stored' | 'present' | 'taken'> {
    const lock = options.lockUntil && (await this.hasLocks(options));
    const command = new PutObjectCommand({
      Bucket: this.bucket,
      Key: key,
      Body: body,
      ChecksumSHA256: checksum(body, options.sha256),
      IfNoneMatch: '*',
      ...(lock && { ObjectLockMode: 'COMPLIANCE' as const, ObjectLockRetainUntilDate: options.lockUntil }),
    });
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.client.send(command, abort(options));
        return 'stored';
      } catch (error) {
        if (isTaken(error)) return this.sameThere(key, body, options);
        if (!isConflict(error) || attempt === CONFLICT_TRIES) throw this.failed('store', key, error, options);
        await new Promise((done) => setTimeout(done, CONFLICT_WAIT_MS * attempt));
      }
    }
  }

  async versions(key: string, options?: Call): Promise<Buffer[]> {
    const found: Buffer[] = [];
    for (const version of await this.versionsOf(key, options)) {
      const bytes = await this.get(version, undefined, options);
      if (bytes) found.push(bytes);
    }
    return found;
  }

  async read(key: string, range?: { offset: number; length: number }, options?: Call): Promise<Buffer | null> {
    const [oldest] = await this.versionsOf(key, options);
    return oldest ? this.get(oldest, range, options) : null;
  }

  async *list(
    prefix: string,
    options: { after?: string; signal?: AbortSignal } = {},
  ): AsyncIterable<{ key: string; bytes: number }> {
    // Versions of one key stand together, newest first: the last one seen of a key is its oldest.
    let oldest: Version | undefined;
    const after = Buffer.from(options.after ?? '');
    for await (const version of this.allVersions(prefix, options)) {
      // Some servers begin with the marker itself.
      if (Buffer.compare(Buffer.from(version.key), after) <= 0) continue;
      if (oldest && oldest.key !== version.key) yield { key: oldest.key, bytes: oldest.bytes };
      oldest = version;
    }
    if (oldest) yield { key: oldest.key, bytes: oldest.bytes };
  }

  close(): void {
    this.client.destroy();
  }

  /** Our own lost answer, or another's bytes: what was written first under the key decides. */
  private async sameThere(key: string, body: Uint8Array, options: Call): Promise<'present' | 'taken'> {
    const there = await this.read(key, undefined, options);
    return there?.equals(body) ? 'present' : 'taken';
  }

  private async versionsOf(key: string, options: Call): Promise<Version[]> {
    const found: Version[] = [];
    for await (const version of this.allVersions(key, options ?? {})) {
      if (version.key !== key) break; // Longer keys come after it in byte order.
      found.push(version);
    }
    return found.toReversed();
  }

  private async *allVersions(
    prefix: string,
    options: { after?: string; signal?: AbortSignal },
  ): AsyncGenerator<Version> {
    let marker: { key: string | undefined; version: string | undefined } | undefined = {
      key: options.after,
      version: undefined,
    };
    while (marker) {
      const page = await this.call('list', prefix, options, () =>
        this.client.send(
          new ListObjectVersionsCommand({
            Bucket: this.bucket,
            Prefix: prefix,
            KeyMarker: marker?.key,
            VersionIdMarker: marker?.version,
          }),
          abort(options),
        ),
      );
      for (const { Key, VersionId, Size } of page.Versions ?? []) {
        if (Key !== undefined) yield { key: Key, id: VersionId, bytes: Size ?? 0 };
      }
      marker = page.IsTruncated ? { key: page.NextKeyMarker, version: page.NextVersionIdMarker } : undefined;
    }
  }

  /** Null when the version has been deleted since it was listed. */
  private async get(
    version: Version,
    range: { offset: number; length: number } | undefined,
    options: Call,
  ): Promise<Buffer | null> {
    const command = new GetObjectCommand({
      Bucket: this.bucket,
      Key: version.key,
      VersionId: version.id,
      Range: range && `bytes=${range.offset}-${range.offset + range.length - 1}`,
    });
    return this.call('read', version.key, options, async () => {
      try {
        const { Body } = await this.client.send(command, abort(options));
        return Body ? Buffer.from(await Body.transformToByteArray()) : null;
      } catch (error) {
        if (isMissing(error)) return null;
        // Past the end of a truncated object there is nothing: whoever checks the bytes finds them missing.
        if (status(error) === 416) return Buffer.alloc(0);
        throw error;
      }
    });
  }

  private async hasLocks(options: Call): Promise<boolean> {
    this.locks ??= this.askLocks(options);
    try {
      return await this.locks;
    } catch (error) {
      this.locks = undefined;
      throw error;
    }
  }

  private async askLocks(options: Call): Promise<boolean> {
    try {
      const { ObjectLockConfiguration } = await this.client.send(
        new GetObjectLockConfigurationCommand({ Bucket: this.bucket }),
        abort(options),
      );
      return ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled';
    } catch (error) {
      // A bucket without Object Lock answers 404, a server that does not know it 501.
      const name = error instanceof Error ? error.name : '';
      if (name === 'ObjectLockConfigurationNotFoundError' || status(error) === 501) return false;
      throw this.failed('read the lock settings of', this.bucket, error, options);
    }
  }

  private async call<T>(what: string, key: string, options: Call, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.failed(what, key, error, options);
    }
  }

  private failed(what: string, key: string, error: unknown, options: Call): Error {
    options?.signal?.throwIfAborted();
    return vaultFailure(this.site, what, key, error);
  }
}

/** As S3 wants it: the server refuses bytes that are not these. */
function checksum(body: Uint8Array, hex: string | undefined): string {
  return hex === undefined ? hash('sha256', body, 'base64') : Buffer.from(hex, 'hex').toString('base64');
}

function abort(options: Call): { abortSignal: AbortSignal } | undefined {
  return options?.signal && { abortSignal: options.signal };
}
