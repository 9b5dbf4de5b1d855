import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import type { SiteSettings } from '../settings.ts';
import type { SiteActivities } from '../types.ts';

/** Activities that move contacts and ACLs, or archived messages, in bulk. Each run has a process to itself; one after the other may have the same. */
export const jobNames = [
  'take-snapshot',
  'pull-snapshots',
  'salvage-halves',
  'verify-snapshot',
  'verify-held',
  'apply-standby',
  'delete-expired',
  'restore-contacts',
  'salvage-contacts',
  'reconcile-contacts',
  'reconcile-archive',
  'probe',
  'restore-scratch',
  'compare-scratch',
] as const satisfies readonly (keyof SiteActivities)[];

export type JobName = (typeof jobNames)[number];

export interface MoverJob {
  settings: PlainSettings;
  job: JobName;
  input: unknown;
  /** The process stays when it has done this job, for one under the same settings. */
  stays?: boolean;
}

/** What the worker sends: one job at a time, and perhaps that it is to end. Secrets go this way, never through arguments. */
export type ToMover = { start: MoverJob } | { cancel: true };

export type FromMover =
  | { heartbeat: Record<string, number> }
  /** `peakBytes`: the most memory the process had. */
  | { result: unknown; peakBytes: number }
  | { failure: PlainFailure };

/** Settings without key objects, which cannot be sent. */
type PlainSettings = Omit<SiteSettings, 'signingKey' | 'publicKeys'> & {
  signingKey: Buffer;
  publicKeys: ReadonlyMap<string, Buffer>;
};

const asPublic = (der: Buffer): KeyObject => createPublicKey({ key: der, format: 'der', type: 'spki' });

export function toPlain(settings: SiteSettings): PlainSettings {
  const { signingKey, publicKeys, ...rest } = settings;
  return {
    ...rest,
    signingKey: signingKey.export({ format: 'der', type: 'pkcs8' }),
    publicKeys: new Map([...publicKeys].map(([site, key]) => [site, key.export({ format: 'der', type: 'spki' })])),
  };
}

export function fromPlain(plain: PlainSettings): SiteSettings {
  const { signingKey, publicKeys, ...rest } = plain;
  return {
    ...rest,
    signingKey: createPrivateKey({ key: Buffer.from(signingKey), format: 'der', type: 'pkcs8' }),
    publicKeys: new Map([...publicKeys].map(([site, der]) => [site, asPublic(Buffer.from(der))])),
  };
}

interface PlainFailure {
  message: string;
  type: string | null;
  nonRetryable: boolean;
  details: unknown[];
}

export function failureToPlain(error: unknown): PlainFailure {
  if (error instanceof ApplicationFailure) {
    const { message, type, nonRetryable, details } = error;
    return { message, type: type ?? null, nonRetryable: nonRetryable === true, details: details ?? [] };
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { message, type: null, nonRetryable: false, details: [] };
}

export function failureFromPlain({ message, type, nonRetryable, details }: PlainFailure): Error {
  return type === null ? new Error(message) : ApplicationFailure.create({ message, type, nonRetryable, details });
}
