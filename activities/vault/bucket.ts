import { createHash } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import {
  DeleteObjectCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { failureKind, failures, failureText } from '../../workflows/model/failures.ts';
import type { VaultAccess } from '../settings.ts';
import { openClient, type VaultLimits } from './s3-client.ts';
import { isConflict, isMissing, isTaken, status, vaultFailure } from './s3-errors.ts';

/** What a bucket does, as these credentials see it; null where the server did not say. */
export interface BucketFacts {
  site: string;
  bucket: string;
  /** False when it gave no answer of any use to these credentials: `because` says why, `next` what to do. */
  reachable: boolean;
  because: string | null;
  next: string | null;
  versioning: boolean | null;
  objectLock: boolean | null;
  /** Whether If-None-Match kept a second write from a key; null when these credentials cannot write. */
  conditionalWrites: boolean | null;
  /** The vault's clock less ours, in ms, to about a second. */
  skewMs: number | null;
  rights: { list: boolean | null; get: boolean | null; put: boolean | null; delete: boolean | null };
}

/** All that an inspection leaves: one small object, and a delete marker where deleting is allowed. */
const PREFIX = 'tandem-probe/';
const CONDITION = `${PREFIX}condition`;
const UNWRITTEN = `${PREFIX}never-written`;
const BODY = Buffer.from('Written once by Tandem, to see that nobody can write it twice.\n');
const CONFLICT_TRIES = 5;
const CONFLICT_WAIT_MS = 50;
/** Further apart, a recovery point is refused (VAULT, rule 6), and a lock ends at another time than it says. */
export const SKEW_LIMIT_MS = 120_000;
/** A dozen small requests: longer than one that hangs may take with its attempts. */
const INSPECT_MS = 90_000;

export interface Finding {
  severity: 'error' | 'warning';
  subject: string;
  observed: string;
  try: string;
}

type Ask = <T>(work: (s3: S3Client, limit: { abortSignal: AbortSignal }) => Promise<T>) => Promise<T>;

/**
 * Tries what a vault must do and what these credentials may do. Nothing of the vault is touched: it writes below
 * `tandem-probe/` only. Throws only when `signal` is aborted: a server that does not answer is a fact.
 */
export async function inspectBucket(
  access: VaultAccess,
  options: { signal?: AbortSignal; limits?: Partial<VaultLimits> } = {},
): Promise<BucketFacts> {
  const s3 = openClient(access, options.limits);
  const facts = unknown(access);
  watchClock(s3, (skewMs) => (facts.skewMs = skewMs));
  const late = AbortSignal.timeout(INSPECT_MS);
  const abortSignal = options.signal ? AbortSignal.any([options.signal, late]) : late;
  try {
    await inspect(access.bucket, facts, (work) => work(s3, { abortSignal }));
  } catch (error) {
    options.signal?.throwIfAborted();
    const failed = vaultFailure(access.site, 'inspect', access.bucket, error);
    const kind = failureKind(failed);
    return { ...facts, reachable: false, because: failureText(failed), next: kind ? failures[kind].try : null };
  } finally {
    s3.destroy();
  }
  return facts;
}

/**
 * What is wrong with a bucket as this site's own vault, or as a peer's to be read. An *error* makes it unfit: what is
 * written there may be lost or replaced, or the credentials are wider than a peer's may be. Nothing: it is fit.
 */
export function judgeBucket(facts: BucketFacts, role: 'own' | 'peer'): Finding[] {
  const subject = `vault ${facts.site}, bucket ${facts.bucket}`;
  const found: Finding[] = [];
  const say = (severity: Finding['severity'], observed: string, next: string): void =>
    void found.push({ severity, subject, observed, try: next });
  if (facts.skewMs !== null && Math.abs(facts.skewMs) > SKEW_LIMIT_MS) {
    const [seconds, side] = [Math.round(Math.abs(facts.skewMs) / 1000), facts.skewMs > 0 ? 'ahead of' : 'behind'];
    say('error', `its clock is ${seconds} s ${side} this machine's, limit 120 s`, failures['clock-wrong'].try);
  }
  if (!facts.reachable) {
    say('error', facts.because ?? 'not reachable', facts.next ?? failures['vault-unreachable'].try);
    return found;
  }
  judgeKeeping(facts, say);
  if (role === 'own') judgeOwn(facts, say);
  else judgePeer(facts, say);
  return found;
}

type Say = (severity: Finding['severity'], observed: string, next: string) => void;

/** What the bucket keeps, whoever looks. What nobody may be told here is for the site whose bucket it is to see. */
function judgeKeeping({ conditionalWrites, versioning, objectLock, rights }: BucketFacts, say: Say): void {
  if (conditionalWrites === false)
    say('error', 'If-None-Match did not stop a second write: two sites could hold one epoch', UNCONDITIONAL);
  if (versioning === false) say('error', 'it keeps no versions: a write over a key destroys it', VERSIONS);
  if (objectLock === false)
    say(
      'warning',
      `no Object Lock: whoever breaks into the site can delete its own copies${rights.delete ? ', with these credentials' : ''}`,
      'Make a bucket with Object Lock where the server has it (it must be on from the start), and name that one.',
    );
}

function judgeOwn({ versioning, objectLock, rights }: BucketFacts, say: Say): void {
  if (versioning === null) say('error', 'these credentials cannot see whether it keeps versions', grant('versioning'));
  if (objectLock === null) say('warning', 'these credentials cannot see whether it has Object Lock', grant('lock'));
  for (const right of ['list', 'get', 'put'] as const)
    if (!rights[right]) say('error', `the site's own credentials cannot ${right}`, grant(right));
}

function judgePeer({ rights }: BucketFacts, say: Say): void {
  for (const right of ['list', 'get'] as const)
    if (!rights[right]) say('error', `the peer's credentials cannot ${right}`, grant(right));
  for (const right of ['put', 'delete'] as const) {
    const observed = `the peer's credentials can ${right}: a break-in at one site would reach the copies of both`;
    if (rights[right]) say('error', observed, 'Leave them the rights to list and to read, and no others.');
    if (rights[right] === null)
      say('warning', `the server did not say whether these credentials can ${right}`, 'Read its policy.');
  }
}

const UNCONDITIONAL =
  'Use a server that honours If-None-Match, for example versitygw, or S3 itself: this one is refused.';
const VERSIONS = failures['vault-unsafe'].try;

/** The rights by the names that policies give them. */
const actions = {
  list: 's3:ListBucket, s3:ListBucketVersions',
  get: 's3:GetObject, s3:GetObjectVersion, s3:GetObjectRetention',
  put: 's3:PutObject, s3:PutObjectRetention',
  versioning: 's3:GetBucketVersioning',
  lock: 's3:GetBucketObjectLockConfiguration',
} as const;
const grant = (right: keyof typeof actions): string => `Allow them ${actions[right]} in the policy of the bucket.`;

function unknown({ site, bucket }: VaultAccess): BucketFacts {
  const rights = { list: null, get: null, put: null, delete: null };
  const nothing = { versioning: null, objectLock: null, conditionalWrites: null, skewMs: null };
  return { site, bucket, reachable: true, because: null, next: null, ...nothing, rights };
}

async function inspect(Bucket: string, facts: BucketFacts, ask: Ask): Promise<void> {
  const { rights } = facts;
  // First what every vault is asked for: an unknown bucket or account ends it here.
  rights.list = await may(() =>
    ask((s3, limit) => s3.send(new ListObjectVersionsCommand({ Bucket, Prefix: PREFIX, MaxKeys: 1 }), limit)),
  );
  const versioning = await told(() => ask((s3, limit) => s3.send(new GetBucketVersioningCommand({ Bucket }), limit)));
  facts.versioning = versioning && versioning.Status === 'Enabled';
  facts.objectLock = await hasLock(Bucket, ask);
  const write = await writeTwice(Bucket, ask);
  rights.put = write !== 'denied';
  facts.conditionalWrites = write === 'denied' ? null : write === 'refused';
  rights.get = await mayGet(Bucket, ask);
  rights.delete = await mayDelete(Bucket, ask);
}

/** 401 and 403 are answers about rights; 405 and 501 about what the server knows. All else is no answer. */
const isDenied = (error: unknown): boolean =>
  (status(error) === 403 || status(error) === 401) && error instanceof Error && error.name === 'AccessDenied';
const isUnknownToServer = (error: unknown): boolean => status(error) === 501 || status(error) === 405;

async function may(work: () => Promise<unknown>): Promise<boolean | null> {
  try {
    await work();
    return true;
  } catch (error) {
    // What is not there was allowed to be asked for.
    if (isMissing(error)) return true;
    if (isDenied(error)) return false;
    if (isUnknownToServer(error)) return null;
    throw error;
  }
}

/** Null when these credentials may not ask, or the server does not know the question. */
async function told<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (isDenied(error) || isUnknownToServer(error)) return null;
    throw error;
  }
}

async function hasLock(Bucket: string, ask: Ask): Promise<boolean | null> {
  try {
    const answer = await told(() =>
      ask((s3, limit) => s3.send(new GetObjectLockConfigurationCommand({ Bucket }), limit)),
    );
    return answer && answer.ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled';
  } catch (error) {
    if (error instanceof Error && error.name === 'ObjectLockConfigurationNotFoundError') return false;
    throw error;
  }
}

/** The first write may find what an earlier inspection left: that it is refused proves as much. */
async function writeTwice(Bucket: string, ask: Ask): Promise<'refused' | 'replaced' | 'denied'> {
  const command = new PutObjectCommand({
    Bucket,
    Key: CONDITION,
    Body: BODY,
    IfNoneMatch: '*',
    // A locked bucket of AWS takes nothing without a checksum.
    ChecksumSHA256: createHash('sha256').update(BODY).digest('base64'),
  });
  let written = 0;
  for (let attempt = 1; written < 2; attempt += 1) {
    try {
      await ask((s3, limit) => s3.send(command, limit));
      written += 1;
    } catch (error) {
      if (isTaken(error)) return 'refused';
      if (isDenied(error)) return 'denied';
      // A server that refuses the header itself does not honour it.
      if (isUnknownToServer(error)) return 'replaced';
      // Another inspection of this bucket writes in the same moment.
      if (!isConflict(error) || attempt >= CONFLICT_TRIES) throw error;
      await wait(CONFLICT_WAIT_MS * attempt);
    }
  }
  return 'replaced';
}

/** Reads as a vault reads: a version, where one is listed. */
async function mayGet(Bucket: string, ask: Ask): Promise<boolean | null> {
  const listed = await told(() =>
    ask((s3, limit) => s3.send(new ListObjectVersionsCommand({ Bucket, Prefix: CONDITION, MaxKeys: 1 }), limit)),
  );
  const [version] = listed?.Versions ?? [];
  const VersionId = version?.VersionId === 'null' ? undefined : version?.VersionId;
  const command = new GetObjectCommand({ Bucket, Key: CONDITION, VersionId });
  return may(() => ask(async (s3, limit) => (await s3.send(command, limit)).Body?.transformToByteArray()));
}

/**
 * Two rights: to delete a version, which no lock of the rest stands against, and to hide all of a key by a marker.
 * Deleting the version "null" of a key that was never written changes nothing where it is allowed.
 */
async function mayDelete(Bucket: string, ask: Ask): Promise<boolean | null> {
  const without = (VersionId?: string) => () =>
    ask((s3, limit) => s3.send(new DeleteObjectCommand({ Bucket, Key: UNWRITTEN, VersionId }), limit));
  return (await may(without('null'))) || may(without());
}

/** The Date of each answer against the middle of its round trip; refusals have one, too. */
export function watchClock(s3: S3Client, report: (skewMs: number) => void): void {
  s3.middlewareStack.add(
    (next) => async (args) => {
      const sent = Date.now();
      const result = await next(args);
      const { headers } = result.response as { headers?: Record<string, string> };
      // The header has whole seconds, cut off.
      const there = Date.parse(headers?.['date'] ?? '') + 500;
      if (Number.isFinite(there)) report(Math.round(there - (sent + Date.now()) / 2));
      return result;
    },
    { step: 'deserialize', priority: 'low', name: 'tandemClock' },
  );
}
