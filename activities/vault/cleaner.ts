import {
  DeleteObjectCommand,
  GetObjectLegalHoldCommand,
  GetObjectRetentionCommand,
  ListObjectVersionsCommand,
  type DeleteMarkerEntry,
  type ListObjectVersionsCommandInput,
  type ListObjectVersionsCommandOutput,
  type S3Client,
} from '@aws-sdk/client-s3';
import { failure } from '../../workflows/model/failures.ts';
import type { VaultAccess } from '../settings.ts';
import { SKEW_LIMIT_MS, watchClock } from './bucket.ts';
import type { Version } from './retention.ts';
import { LIMITS, openClient, SOCKETS, Turns, type VaultLimits } from './s3-client.ts';
import { isMissing, status, vaultFailure } from './s3-errors.ts';
import { listing } from './s3-listing.ts';

/** What holds a version against deleting; `until` null for a legal hold, which has no end. */
export interface Lock {
  until: Date | null;
}

type Work<T> = (limit: { abortSignal: AbortSignal }) => Promise<T>;

/**
 * The one hand that deletes from a vault: single versions, never a key, so that it leaves no delete marker. What Object
 * Lock holds it leaves alone. Opened with the credentials of the writer it can look, and the server refuses the rest.
 */
export class Cleaner {
  readonly site: string;
  private readonly Bucket: string;
  private readonly client: S3Client;
  private readonly callMs: number;
  private readonly turns = new Turns(SOCKETS);
  private skewMs: number | null = null;

  constructor(access: VaultAccess, limits?: Partial<VaultLimits>) {
    this.site = access.site;
    this.Bucket = access.bucket;
    this.callMs = limits?.callMs ?? LIMITS.callMs;
    this.client = openClient(access, limits);
    watchClock(this.client, (skewMs) => (this.skewMs = skewMs));
  }

  /** All versions and delete markers below a prefix, page by page. */
  async *versions(Prefix: string, signal: AbortSignal): AsyncGenerator<Version[]> {
    let from: Pick<ListObjectVersionsCommandInput, 'KeyMarker' | 'VersionIdMarker'> | null = {};
    while (from) {
      const command: ListObjectVersionsCommand = new ListObjectVersionsCommand({
        Bucket: this.Bucket,
        Prefix,
        ...from,
      });
      const page: ListObjectVersionsCommandOutput = await this.call('list', Prefix, signal, (limit) =>
        this.client.send(command, limit).then(listing),
      );
      yield [
        ...(page.Versions ?? []).flatMap((entry) => listed(entry, entry.Size ?? 0, false)),
        ...(page.DeleteMarkers ?? []).flatMap((entry) => listed(entry, 0, true)),
      ];
      from = page.IsTruncated ? { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker } : null;
    }
  }

  /** By its retention; what has none, or is gone, or is a delete marker, is not locked. */
  async lock({ key, id, marker }: Version, signal: AbortSignal, graceMs = 0): Promise<Lock | null> {
    if (marker) return null;
    const command = new GetObjectRetentionCommand({ Bucket: this.Bucket, Key: key, VersionId: id });
    const answer = await this.ask('read the lock of', key, signal, (limit) => this.client.send(command, limit));
    const until = answer?.Retention?.RetainUntilDate;
    return until && until.getTime() > Date.now() - graceMs ? { until } : null;
  }

  /** Null when it is gone, also when it was so before; else what holds it. A missing right is `vault-refused`. */
  async remove(version: Version, signal: AbortSignal): Promise<Lock | null> {
    const { key, id } = version;
    const command = new DeleteObjectCommand({ Bucket: this.Bucket, Key: key, VersionId: id });
    if (id === undefined) throw failure('vault-unsafe', `vault ${this.site}: delete ${key}: it has no version id`);
    try {
      await this.bounded(signal, (limit) => this.client.send(command, limit));
      return null;
    } catch (error) {
      if (isMissing(error)) return null;
      // The vault's own clock decides about its locks, and may be that much behind.
      const held = async (): Promise<Lock | null> =>
        (await this.lock(version, signal, SKEW_LIMIT_MS)) ?? (await this.hold(version, signal));
      const lock = status(error) === 403 ? await held() : null;
      if (lock) return lock;
      throw this.failed('delete', key, error, signal);
    }
  }

  /** Nothing is old by a clock that is wrong: `clock-wrong` when this machine's and the vault's are apart. */
  checkClock(): void {
    const { skewMs } = this;
    if (skewMs === null || Math.abs(skewMs) <= SKEW_LIMIT_MS) return;
    const [seconds, side] = [Math.round(Math.abs(skewMs) / 1000), skewMs > 0 ? 'ahead of' : 'behind'];
    const limit = `limit ${SKEW_LIMIT_MS / 1000} s`;
    throw failure('clock-wrong', `vault ${this.site}: its clock is ${seconds} s ${side} this machine's, ${limit}`);
  }

  close(): void {
    this.client.destroy();
  }

  private async hold({ key, id, marker }: Version, signal: AbortSignal): Promise<Lock | null> {
    if (marker) return null;
    const command = new GetObjectLegalHoldCommand({ Bucket: this.Bucket, Key: key, VersionId: id });
    const answer = await this.ask('read the hold of', key, signal, (limit) =>
      this.client.send(command, limit).catch((error: unknown) => {
        if (status(error) === 403) return null; // Then the refusal to delete is what is told.
        throw error;
      }),
    );
    return answer?.LegalHold?.Status === 'ON' ? { until: null } : null;
  }

  /** Null when there is nothing of the kind: no lock on it, no locks in this bucket, no such version any more. */
  private async ask<T>(what: string, key: string, signal: AbortSignal, work: Work<T>): Promise<T | null> {
    return this.call(what, key, signal, (limit) =>
      work(limit).catch((error: unknown) => {
        if (isMissing(error) || isLockless(error)) return null;
        throw error;
      }),
    );
  }

  private async call<T>(what: string, key: string, signal: AbortSignal, work: Work<T>): Promise<T> {
    try {
      return await this.bounded(signal, work);
    } catch (error) {
      throw this.failed(what, key, error, signal);
    }
  }

  private bounded<T>(signal: AbortSignal, work: Work<T>): Promise<T> {
    return this.turns.run(signal, () =>
      work({ abortSignal: AbortSignal.any([signal, AbortSignal.timeout(this.callMs)]) }),
    );
  }

  private failed(what: string, key: string, error: unknown, signal: AbortSignal): Error {
    signal.throwIfAborted();
    return vaultFailure(this.site, what, key, error);
  }
}

/** What has no date is younger than anything, and so kept. */
function listed({ Key, VersionId, LastModified }: DeleteMarkerEntry, bytes: number, marker: boolean): Version[] {
  const at = LastModified?.getTime() ?? Infinity;
  return Key === undefined ? [] : [{ key: Key, id: VersionId, bytes, at, marker }];
}

/** A version without a lock (AWS 404, versitygw 400), a bucket without Object Lock (400), a server that knows none. */
function isLockless(error: unknown): boolean {
  if (status(error) === 501 || status(error) === 405) return true;
  const names = ['NoSuchObjectLockConfiguration', 'ObjectLockConfigurationNotFoundError', 'InvalidRequest'];
  return error instanceof Error && names.includes(error.name);
}
