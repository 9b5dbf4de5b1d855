import type { KeyObject } from 'node:crypto';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { failureKind } from '../../workflows/model/failures.ts';
import type { Undelivered } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import type { VaultAccess } from '../settings.ts';
import { watchClock } from '../vault/bucket.ts';
import { openClient } from '../vault/s3-client.ts';
import { isMissing, vaultFailure } from '../vault/s3-errors.ts';
import { listing } from '../vault/s3-listing.ts';
import { seal, sha256, unseal } from '../vault/signed.ts';

/** Sites beat in the witness: a small signed object each, put again every few seconds, so that their silence can be heard. */
export const BEAT_EVERY_MS = 10_000;
/** Six beats that did not come. */
export const BEAT_FRESH_MS = 60_000;

export interface Beat {
  format: 1;
  site: string;
  /** By the site's own clock; nobody judges by it. */
  at: Timestamp;
  /** One more than that of the beat before, whichever process sent it. */
  sequence: number;
  /** What waits at the site for users who are away, by customer: nobody can ask a site for it when it is lost. */
  undelivered?: Record<string, Undelivered>;
}

/** The newest beat of a site, and its age by the clock of the witness alone: when it came, and when it was read. */
export interface Heard {
  beat: Beat;
  cameAt: Timestamp;
  ageMs: number;
}

interface Version {
  id: string | undefined;
  cameAt: number;
}

/** More lie there only when somebody else has written, or when nobody may clear them away. */
const LOOK_AT = 20;

export const beatKey = (site: string): string => `beats/${site}.json`;

type Ask = <T>(work: (s3: S3Client, limit: { abortSignal: AbortSignal }) => Promise<T>) => Promise<T>;

async function asked<T>(
  access: VaultAccess,
  what: string,
  abortSignal: AbortSignal,
  work: (ask: Ask, clock: () => number | null) => Promise<T>,
): Promise<T> {
  // A site whose clock is off by a quarter of an hour or more is refused once, and signs by the clock of the refusal then: it lives.
  const s3 = openClient(access, { attempts: 2 });
  let skewMs: number | null = null;
  watchClock(s3, (skew) => (skewMs = skew));
  try {
    return await work(
      (call) => call(s3, { abortSignal }),
      () => (skewMs === null ? null : Date.now() + skewMs),
    );
  } catch (error) {
    throw failureKind(error) ? error : vaultFailure(access.site, what, 'beats/', error);
  } finally {
    s3.destroy();
  }
}

/**
 * The newest beat that a site has signed; null when it never beat; `unsigned` when what lies there was signed by nobody who
 * may. The newest is the one with the highest sequence, since it first came: to put an old one again makes nobody live.
 * (versitygw dates a version that was written over by that moment: a site then looks alive for a minute more, never less.)
 */
export async function hearBeat(
  access: VaultAccess,
  site: string,
  publicKeys: ReadonlyMap<string, KeyObject>,
  signal: AbortSignal,
): Promise<Heard | 'unsigned' | null> {
  return asked(access, 'read', signal, async (ask, clock) => {
    const { versions, newest } = await look(access, site, publicKeys, ask);
    if (!newest) return versions.length > 0 ? 'unsigned' : null;
    const now = clock();
    if (now === null) throw new Error('its answers carry no time');
    return { beat: newest.beat, cameAt: new Date(newest.cameAt).toISOString(), ageMs: now - newest.cameAt };
  });
}

/** The newest beat of a site that this process has sent, by bucket. */
const sent = new Map<string, number>();
const sentAs = ({ bucket }: VaultAccess, site: string): string => `${bucket} ${site}`;

/** Whether the witness does not show what this process has put there: then what it shows of others is as old. */
export async function lags(
  access: VaultAccess,
  site: string,
  publicKeys: ReadonlyMap<string, KeyObject>,
  signal: AbortSignal,
): Promise<boolean> {
  const newest = sent.get(sentAs(access, site));
  if (newest === undefined) return false;
  const heard = await hearBeat(access, site, publicKeys, signal);
  return heard === null || heard === 'unsigned' || heard.beat.sequence < newest;
}

/**
 * Puts one beat, and clears away those before it as far as this account may. Two processes of a site may beat at once.
 * Fails as a vault does.
 */
export async function sendBeat(
  access: VaultAccess,
  { site, signingKey, publicKeys }: { site: string; signingKey: KeyObject; publicKeys: ReadonlyMap<string, KeyObject> },
  signal: AbortSignal,
  undelivered: ReadonlyMap<string, Undelivered> = new Map(),
): Promise<Beat> {
  return asked(access, 'beat in', signal, async (ask) => {
    const { versions, newest } = await look(access, site, publicKeys, ask);
    const beat: Beat = {
      format: 1,
      site,
      at: new Date().toISOString(),
      sequence: (newest?.beat.sequence ?? 0) + 1,
      ...(undelivered.size > 0 && { undelivered: Object.fromEntries(undelivered) }),
    };
    const Body = seal('beat', site, signingKey, beat);
    const ChecksumSHA256 = Buffer.from(sha256(Body), 'hex').toString('base64');
    const of = { Bucket: access.bucket, Key: beatKey(site) };
    await ask((s3, limit) => s3.send(new PutObjectCommand({ ...of, Body, ChecksumSHA256 }), limit));
    sent.set(sentAs(access, site), beat.sequence);
    for (const { id } of versions) {
      const gone = await ask((s3, limit) => s3.send(new DeleteObjectCommand({ ...of, VersionId: id }), limit)).catch(
        () => null,
      );
      if (gone === null) break; // It may not: a rule of the bucket's own has to, and readers look at the newest only.
    }
    return beat;
  });
}

/** The newest versions under a site's key, and among them the beat that counts. */
async function look(
  { bucket }: VaultAccess,
  site: string,
  publicKeys: ReadonlyMap<string, KeyObject>,
  ask: Ask,
): Promise<{ versions: Version[]; newest: { beat: Beat; cameAt: number } | null }> {
  const [Bucket, Key] = [bucket, beatKey(site)];
  const page = await ask(async (s3, limit) =>
    listing(await s3.send(new ListObjectVersionsCommand({ Bucket, Prefix: Key, MaxKeys: LOOK_AT }), limit)),
  );
  const versions = (page.Versions ?? [])
    .filter((v) => v.Key === Key)
    .map(({ VersionId, LastModified }) => ({ id: VersionId, cameAt: LastModified?.getTime() ?? 0 }));
  const own = new Map([...publicKeys].filter(([name]) => name === site));
  let newest: { beat: Beat; cameAt: number } | null = null;
  for (const { id, cameAt } of versions) {
    const beat = await ask((s3, limit) => s3.send(new GetObjectCommand({ Bucket, Key, VersionId: id }), limit))
      .then(async ({ Body }) => beatIn(Buffer.from((await Body?.transformToByteArray()) ?? []), site, own))
      .catch((error: unknown) => {
        if (isMissing(error)) return null; // Its own site has cleared it away since.
        throw error;
      });
    if (!beat || (newest && newest.beat.sequence > beat.sequence)) continue;
    // Newest first: of one sequence the last one seen is the one that came first.
    newest = { beat, cameAt };
  }
  return { versions, newest };
}

/** The beat that the bytes are; null when that very site has not signed them as one. */
function beatIn(bytes: Buffer, site: string, own: ReadonlyMap<string, KeyObject>): Beat | null {
  try {
    const { document } = unseal<Beat>('beat', own, bytes, beatKey(site));
    return document.format === 1 && document.site === site && Number.isSafeInteger(document.sequence) ? document : null;
  } catch (error) {
    if (failureKind(error) === 'signature-invalid') return null;
    throw error;
  }
}
