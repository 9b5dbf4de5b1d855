import { hash } from 'node:crypto';
import {
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
} from '@aws-sdk/client-s3';
import { failure } from '../../workflows/model/failures.ts';
import type { VaultAccess } from '../settings.ts';
import type { Vault } from './port.ts';
import { LIMITS, openClient, SOCKETS, Turns, type VaultLimits } from './s3-client.ts';
import { countVersions, eachEntry, listing, type Version, type VersionCount } from './s3-listing.ts';
import { isConflict, isMissing, isReset, isTaken, status, vaultFailure } from './s3-errors.ts';

/** Conditional writes that met in the same moment: S3 answers 409 and asks to try again. */
const CONFLICT_TRIES = 5;
const CONFLICT_WAIT_MS = 50;

type Call = { signal?: AbortSignal } | undefined;
type PutOptions = { lockUntil?: Date; signal?: AbortSignal; sha256?: string };
type Limit = { abortSignal: AbortSignal };

/** A bucket on any S3 with versions and conditional writes. Locks are used where the bucket has Object Lock. */
export class S3Vault implements Vault {
  readonly site: string;
  private readonly bucket: string;
  private readonly client: S3Client;
  private readonly callMs: number;
  private readonly turns = new Turns(SOCKETS);
  private locks: Promise<boolean> | undefined;

  constructor(access: VaultAccess, limits?: Partial<VaultLimits>) {
    this.site = access.site;
    this.bucket = access.bucket;
    this.callMs = limits?.callMs ?? LIMITS.callMs;
    this.client = openClient(access, limits);
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<'stored' | 'present' | 'taken'> {
    const command = new PutObjectCommand({ ...(await this.objectOf(key, body, options)), IfNoneMatch: '*' });
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.bounded(options, (limit) => this.client.send(command, limit));
        return 'stored';
      } catch (error) {
        if (isTaken(error)) return (await this.whatIsThere(key, body, options)) ?? 'taken';
        const there = isReset(error) ? await this.whatIsThere(key, body, options) : null;
        if (there) return there;
        if (!isConflict(error) || attempt === CONFLICT_TRIES) throw this.failed('store', key, error, options);
        await new Promise((done) => setTimeout(done, CONFLICT_WAIT_MS * attempt));
      }
    }
  }

  async mend(key: string, body: Uint8Array, options: PutOptions = {}): Promise<void> {
    const command = new PutObjectCommand(await this.objectOf(key, body, options));
    await this.call('mend', key, options, (limit) => this.client.send(command, limit));
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
  ): AsyncIterable<{ key: string; bytes: number; at: number }> {
    // Versions of one key stand together, newest first: the last one seen of a key is its oldest.
    let oldest: Version | undefined;
    const after = Buffer.from(options.after ?? '');
    for await (const version of this.allVersions(prefix, options)) {
      // Some servers begin with the marker itself.
      if (Buffer.compare(Buffer.from(version.key), after) <= 0) continue;
      if (oldest && oldest.key !== version.key) yield { key: oldest.key, bytes: oldest.bytes, at: oldest.at };
      oldest = version;
    }
    if (oldest) yield { key: oldest.key, bytes: oldest.bytes, at: oldest.at };
  }

  versionCounts(prefix: string, options: { signal?: AbortSignal } = {}): AsyncIterable<VersionCount> {
    return countVersions(this.allEntries(prefix, options));
  }

  close(): void {
    this.client.destroy();
  }

  /**
   * Our own lost answer, or another's bytes: what was written first under the key decides. Asked after a reset as well:
   * versitygw closes the connection when it refuses a key that is taken, and often before a whole pack is sent to it.
   */
  private async whatIsThere(key: string, body: Uint8Array, options: Call): Promise<'present' | 'taken' | null> {
    const there = await this.read(key, undefined, options);
    return there && (there.equals(body) ? 'present' : 'taken');
  }

  private async versionsOf(key: string, options: Call): Promise<Version[]> {
    const found: Version[] = [];
    for await (const version of this.allVersions(key, options ?? {})) {
      if (version.key !== key) break; // Longer keys come after it in byte order.
      found.push(version);
    }
    return found.toReversed();
  }

  private async objectOf(key: string, body: Uint8Array, options: PutOptions): Promise<PutObjectCommandInput> {
    const lock = options.lockUntil && (await this.hasLocks(options));
    return {
      Bucket: this.bucket,
      Key: key,
      Body: body,
      ChecksumSHA256: checksum(body, options.sha256),
      ...(lock && { ObjectLockMode: 'COMPLIANCE' as const, ObjectLockRetainUntilDate: options.lockUntil }),
    };
  }

  private async *allVersions(
    prefix: string,
    options: { after?: string; signal?: AbortSignal },
  ): AsyncGenerator<Version> {
    for await (const entry of this.allEntries(prefix, options)) if (!entry.marker) yield entry;
  }

  private allEntries(prefix: string, options: { after?: string; signal?: AbortSignal }): ReturnType<typeof eachEntry> {
    return eachEntry(options.after, ({ key, version }) => {
      const Bucket = this.bucket;
      const command = new ListObjectVersionsCommand({
        Bucket,
        Prefix: prefix,
        KeyMarker: key,
        VersionIdMarker: version,
      });
      return this.call('list', prefix, options, async (limit) => listing(await this.client.send(command, limit)));
    });
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
    return this.call('read', version.key, options, async (limit) => {
      try {
        const { Body } = await this.client.send(command, limit);
        return Body ? Buffer.from(await Body.transformToByteArray()) : null;
      } catch (error) {
        if (isMissing(error)) return null;
        // Past the end of a truncated object there is nothing: whoever checks the bytes finds them missing.
        if (status(error) === 416) return Buffer.alloc(0);
        if (version.id === 'null' && status(error) === 400) throw this.versionless(version.key);
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
      const command = new GetObjectLockConfigurationCommand({ Bucket: this.bucket });
      const { ObjectLockConfiguration } = await this.bounded(options, (limit) => this.client.send(command, limit));
      return ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled';
    } catch (error) {
      // A bucket without Object Lock answers 404, a server that does not know it 501.
      const name = error instanceof Error ? error.name : '';
      if (name === 'ObjectLockConfigurationNotFoundError' || status(error) === 501) return false;
      throw this.failed('read the lock settings of', this.bucket, error, options);
    }
  }

  private async call<T>(what: string, key: string, options: Call, work: (limit: Limit) => Promise<T>): Promise<T> {
    try {
      return await this.bounded(options, work);
    } catch (error) {
      throw this.failed(what, key, error, options);
    }
  }

  private bounded<T>(options: Call, work: (limit: Limit) => Promise<T>): Promise<T> {
    return this.turns.run(options?.signal, () => this.inTime(options, work));
  }

  /** The client's own limits are on silence: an answer that trickles in would keep to them for ever. */
  private async inTime<T>(options: Call, work: (limit: Limit) => Promise<T>): Promise<T> {
    const limit = new AbortController();
    const leave = (): void => limit.abort();
    const late = new DOMException(`no whole answer after ${this.callMs} ms`, 'TimeoutError');
    const timer = setTimeout(() => limit.abort(late), this.callMs);
    options?.signal?.addEventListener('abort', leave, { once: true });
    try {
      return await work({ abortSignal: limit.signal });
    } catch (error) {
      throw limit.signal.reason === late ? late : error;
    } finally {
      clearTimeout(timer);
      options?.signal?.removeEventListener('abort', leave);
    }
  }

  /** versitygw lists the objects of a bucket without versions as version "null", then refuses to read that one. */
  private versionless(key: string): Error {
    return failure(
      'vault-unsafe',
      `vault ${this.site}: read ${key}: bucket ${this.bucket} keeps no versions (version id "null"), and a vault needs them`,
    );
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
